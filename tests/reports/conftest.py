"""A record as a run makes it: one target that passes, one that fails in many ways, one that crashes, one not here."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from kernelproof.verify.judging.grades import grade_of
from kernelproof.verify.record.schema import Accuracy, Check, Coverage, Results, Table, Target, Verdict, Worst

ORDERS = ("1/16", "1/2", "1", "3/2", "2", "3", "8", "64", "10000", "100000000", "inf")
DTYPES = ("float64", "float32", "float16", "bfloat16")
FAMILIES = (
    "kink",
    "lengths",
    "masks",
    "near ties",
    "offsets",
    "one-hot",
    "planted",
    "random",
    "real",
    "scales",
    "ties",
)
OPS = {"entmax": "weights", "weights": "weights", "regression": "y", "attention": "y"}
CHECKS = {
    "accuracy": "Accuracy",
    "simplex": "Weights on the simplex",
    "support": "Exact support",
    "kkt": "KKT residual",
    "monotone": "Monotone in the logits",
    "translation": "Unchanged by translation",
    "permutation": "Equivariant to permutation",
    "gradients": "Gradients",
    "determinism": "Same bits again",
    "untouched": "Input untouched",
    "dtype": "Dtype kept",
    "special": "Special values",
    "empty": "Empty rows",
}


def worst(kappa: float | None, message: str = "weight 3 of row 0 is off by 1.2 ulp", **more: object) -> Worst:
    case = "entmax order=3/2 rule=adaptive:1 dtype=float32 family=ties shape=4x64 feature=3 seed=0"
    return Worst.model_validate(
        {
            "case": case,
            "reproduce": f"kernelproof verify numba --case '{case}'",
            "message": message,
            "index": [0, 3],
            "got": "0x1.5555560000000p-2",
            "expected": "0x1.5555540000000p-2",
            "ulp": 1.2,
            "absolute": 3.1e-8,
            "kappa": kappa,
            **more,
        }
    )


def accuracy(bad: dict[tuple[str, str], float], dtypes: tuple[str, ...] = DTYPES) -> list[Accuracy]:
    generator = np.random.default_rng(7)
    rows = []
    for (op, output), dtype, order in product(OPS.items(), dtypes, ORDERS):
        for name in (output, "gradient q" if output == "y" else "gradient z"):
            kappa = bad.get((dtype, order), float(generator.lognormal(-0.3, 0.5)))
            rows.append(
                Accuracy(
                    op=op,
                    rule="adaptive:1",
                    order=order,
                    dtype=dtype,
                    output=name,
                    compared=int(generator.integers(1000, 90000)),
                    ulp_max=kappa * 1.3,
                    ulp_mean=kappa / 9,
                    ulp_signed_mean=-kappa / 90,
                    ulp_p999=kappa,
                    absolute_max=kappa * 6e-8,
                    kappa_max=kappa,
                    grade=grade_of(kappa),
                )
            )
    return rows


def coverage(dtypes: tuple[str, ...] = DTYPES, *, gradients: bool = True) -> list[Coverage]:
    generator = np.random.default_rng(11)
    cells = []
    for op, order, dtype, family in product(OPS, ORDERS, dtypes, FAMILIES):
        decided = int(10 ** generator.uniform(0.5, 5))
        cell = {"op": op, "order": order, "dtype": dtype, "family": family, "cases": 6, "decided": decided}
        undecided = 0
        if family == "kink" and order in {"1/16", "1/2"}:
            cell |= {"decided": 0}
            undecided = 48
        elif family == "ties" and order == "1":
            undecided = 12
        if op == "attention" and family in {"planted", "kink"}:
            cell |= {"cases": 0, "decided": 0, "not_tried": "this family makes rows of logits; attention has none"}
        if dtype == "bfloat16" and order == "inf" and not gradients:
            cell |= {"cases": 0, "decided": 0, "not_tried": "the target does not take bfloat16 at order inf"}
        cells.append(Coverage.model_validate({**cell, "undecided": undecided}))
    return cells


def checks(**verdicts: Check) -> list[Check]:
    generator = np.random.default_rng(3)
    return [
        verdicts.get(
            id_,
            Check(
                id=id_,
                title=title,
                verdict=Verdict.PASS,
                decided=int(generator.integers(500, 2_000_000)),
                undecided=int(generator.integers(0, 40)),
                worst=worst(float(generator.uniform(0.3, 3.4)))
                if id_ in {"accuracy", "gradients", "simplex"}
                else None,
                statistics={"rows": 1234.0, "rows at a kink": 17.0},
            ),
        )
        for id_, title in CHECKS.items()
    ]


def studies() -> list[Table]:
    layers, heads = (0, 2, 5), range(12)
    generator = np.random.default_rng(1)
    return [
        Table(
            id="key-norms",
            title="How far key norms are from constant",
            caption="Attention by q·k is kernel regression with one bandwidth only if all keys have one norm.",
            columns=["layer", "head", "mean of ‖k‖", "std of ‖k‖", "spread"],
            rows=[[layer, head, 6.4, 1.2, float(generator.uniform(0.1, 0.4))] for layer in layers for head in heads],
        ),
        Table(
            id="key-norm-term",
            title="What dropping the ‖k‖² term costs",
            caption="Mean total variation between weights with and without it.",
            columns=["layer", "head", "order", "rows", "total variation"],
            rows=[
                [layer, head, order, 3, float(generator.beta(4, 4))]
                for layer in layers
                for order in ("1", "2", "inf")
                for head in heads
            ],
        ),
        Table(
            id="sparsity",
            title="How sparse each order is",
            caption="Mean number of keys with a weight above 0, decided exactly.",
            columns=["layer", "order", "rows", "keys", "mean support", "effective keys"],
            rows=[
                [layer, order, 32, 128, min(128.0, (layer + 2) * 1.5**at + at**2.2), 2.0 + at]
                for layer in layers
                for at, order in enumerate(("1/2", "1", "2", "3", "8", "64", "inf"))
            ],
        ),
        Table(
            id="softmax-distance",
            title="How n → ∞ closes on softmax",
            caption="Mean total variation and KL divergence, in nats.",
            columns=["layer", "order", "rows", "total variation", "KL divergence"],
            rows=[
                [layer, 2**k, 4, (layer + 1) / (2**k + 2), (layer + 1) / (2**k + 2) ** 2]
                for layer in layers
                for k in range(21)
            ],
        ),
        Table(
            id="softmax-slopes",
            title="Slopes and constants of that limit",
            caption="Fitted, beside those of theory.",
            columns=["layer", "distance", "slope", "slope of theory"],
            rows=[[0, "total variation", -0.9998, -1], [0, "KL divergence", math.nan, -2]],
        ),
    ]


def target(name: str, verdict: Verdict = Verdict.PASS, **more: object) -> Target:
    base = {"name": name, "device": "cpu", "grade": "A", "promised": "A", "passed": verdict is Verdict.PASS}
    return Target.model_validate({**base, "verdict": verdict, **more})


def broken_checks() -> list[Check]:
    undecided = worst(None, "two keys at the threshold: no Jacobian", got=None, expected=None, ulp=None, absolute=None)
    failures = [
        worst(math.inf, "the weight is NaN where the truth is 0.0625", got="nan", expected="0x1p-4", ulp=math.inf),
        worst(812.5, "weight 3 of row 0 is off by 2.1e-4"),
    ]
    return checks(
        accuracy=Check(
            id="accuracy",
            title="Accuracy",
            verdict=Verdict.FAIL,
            decided=912_345,
            failed=17,
            worst=failures[0],
            failures=failures,
            statistics={"renormalized kappa": math.nan, "rows": 812.0},
        ),
        gradients=Check(
            id="gradients",
            title="Gradients",
            verdict=Verdict.UNDECIDED,
            undecided=96,
            worst=undecided,
        ),
        special=Check(
            id="special",
            title="Special values",
            verdict=Verdict.CRASH,
            decided=3,
            failed=1,
            failures=[
                worst(
                    None,
                    "the worker was killed: 4 GiB exceeded",
                    index=None,
                    got=None,
                    expected=None,
                    ulp=None,
                    absolute=None,
                )
            ],
        ),
        permutation=Check(id="permutation", title="Equivariant to permutation", verdict=Verdict.UNSUPPORTED),
    )


@pytest.fixture(scope="session")
def make_results() -> Callable[..., Results]:
    """Builds the record of a run with four targets; keywords replace fields."""

    def build(**changes: object) -> Results:
        poor = {(dtype, "100000000"): 3.2e4 for dtype in ("float16", "bfloat16")}
        bad = {("float32", "3/2"): math.inf, ("float32", "64"): 812.5, ("float64", "1/16"): 45.0, **poor}
        fields = {
            "passed": False,
            "suite": "standard",
            "seed": 0,
            "command": "kernelproof verify numpy numba mylib.ops:entmax torch --suite standard --out report",
            "started": "2026-03-04T05:06:07+00:00",
            "seconds": 83.4,
            "environment": {
                "kernelproof": "0.1.0",
                "python": "3.11.7",
                "packages": {"numpy": "2.4.6", "numba": "0.61", "python-flint": "0.7.1"},
                "cpu": {"model": "a processor with a rather long name, revision 3 @ 2.40 GHz", "cores": 2},
                "gpu": None,
                "torch": {"tf32": False, "matmul precision": "highest", "deterministic": True},
                "threads": {"OMP_NUM_THREADS": "1", "numba": 2},
                "flush to zero": False,
                "commit": "0123456789abcdef0123456789abcdef01234567",
            },
            "skipped": [
                "torch on cuda: no CUDA device on this machine",
                "jax: not installed; pip install 'kernelproof[jax]'",
            ],
            "targets": [
                target("numpy", checks=checks(), accuracy=accuracy({}), coverage=coverage()),
                target(
                    "mylib.ops:entmax",
                    Verdict.FAIL,
                    grade="F",
                    promised="C",
                    checks=broken_checks(),
                    accuracy=accuracy(bad),
                    coverage=coverage(gradients=False),
                    note="order bound to the parameter n; alpha is not supported",
                ),
                target("numba", Verdict.CRASH, grade="F", note="the worker died on import: ImportError: no llvmlite"),
                target("torch", Verdict.UNAVAILABLE, grade="–", device="cuda", note="no CUDA device here"),
            ],
            "studies": studies(),
        }
        return Results.model_validate({**fields, **changes})

    return build


@pytest.fixture(scope="session")
def results(make_results: Callable[..., Results]) -> Results:
    """The record of a run in which not everything passed."""
    return make_results()


@pytest.fixture(scope="session")
def small_results(results: Results) -> Results:
    """The same record with fewer rows of accuracy and coverage, for tests that change every cell."""
    few = {"accuracy": slice(0, None, 9), "coverage": slice(0, None, 41)}
    targets = [
        one.model_copy(update={part: getattr(one, part)[rows] for part, rows in few.items()}) for one in results.targets
    ]
    return results.model_copy(update={"targets": targets})


@pytest.fixture(scope="session")
def clean_results(make_results: Callable[..., Results]) -> Results:
    """The record of a run in which everything passed."""
    good = target("numpy", checks=checks(), accuracy=accuracy({}), coverage=coverage())
    return make_results(passed=True, targets=[good], skipped=[])


HOSTILE = (
    "<script>alert(1)</script>]]>|`a`{{ 7*7 }}\"'&--> $x$ \x1b[31m\x00\u202e\ufffe\r\n# h\n```\n<img src=x onerror=y>"
)


def _everywhere(value: object, text: str | None, number: float | None) -> object:
    if isinstance(value, str) and text is not None:
        return text
    if isinstance(value, float) and number is not None:
        return number
    if isinstance(value, dict):
        return {
            key if key in KEPT_KEYS else str(_everywhere(key, text, None)): item
            if key in {"schema", "verdict"}
            else _everywhere(item, text, number)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_everywhere(item, text, number) for item in value]
    return value


KEPT_KEYS = {
    name
    for model in (Results, Target, Check, Worst, Accuracy, Coverage, Table)
    for name in (*model.model_fields, "schema")
}


@pytest.fixture(scope="session", params=["names", "all but ids"])
def hostile_results(request: pytest.FixtureRequest, small_results: Results) -> Results:
    """The record with markup of every format in every string; once with the ids that choose a figure kept."""
    found = small_results.model_dump(by_alias=True)
    hostile = _everywhere(found, HOSTILE, None)
    assert isinstance(hostile, dict)
    if request.param == "all but ids":
        for mine, theirs in zip(hostile["studies"], found["studies"], strict=True):
            mine |= {"id": theirs["id"], "columns": theirs["columns"]}
        for mine, theirs in zip(hostile["targets"], found["targets"], strict=True):
            for part in ("accuracy", "coverage"):
                for cell, true in zip(mine[part], theirs[part], strict=True):
                    cell |= {"order": true["order"] + HOSTILE, "dtype": true["dtype"] + HOSTILE}
    return Results.model_validate(hostile)


@pytest.fixture(scope="session", params=[math.nan, math.inf, -math.inf, 0.0, 5e-324, 1.7e308])
def extreme_results(request: pytest.FixtureRequest, small_results: Results) -> Results:
    """The record with every float replaced by one extreme value."""
    return Results.model_validate(_everywhere(small_results.model_dump(by_alias=True), None, request.param))


@pytest.fixture(scope="session")
def empty_results(make_results: Callable[..., Results]) -> Results:
    """The record of a run with nothing in it."""
    return make_results(targets=[], studies=[], environment={}, skipped=[], command="", started="", seconds=math.nan)
