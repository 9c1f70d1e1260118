from __future__ import annotations

import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flint import ctx

from kernelproof.api import verify
from kernelproof.reference import DomainError
from kernelproof.reference.variant import Constant, Root, Variant, mass
from kernelproof.reference.variant.jets import ball
from kernelproof.reference.variant.ops import solve_rows
from kernelproof.reference.variant.row_solver import solve, vjp
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.variant_names import variant_at
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.records import Contract
from kernelproof.verify.truth.box import box_kappa
from kernelproof.verify.truth.variants import box_decides, slopes_of

EXAMPLES = Path(__file__).parents[3] / "examples" / "variants"


def effective(x: Any, terms: list[Any], k: Any) -> Any:
    total = x.total(terms)
    return total * total / x.total([each * each for each in terms]) - k


VARIANTS = [
    Variant("ratio, given", lambda x, t: x.cos(x.pi * t / 2) ** 2, Constant(), order=2, parameters={"gamma": 2}),
    Variant("ratio, mass", lambda x, t: x.cos(x.pi * t / 2) ** 2, mass(3), order=2),
    Variant("shift, mass", lambda x, t: x.log1p(x.exp(-t)), mass(1, (-64, 64)), geometry="shift", edge=None),
    Variant("ratio, root", lambda x, t: x.exp(-t), Root(effective, (2.0**-9, 2.0**9)), edge=None, parameters={"k": 3}),
]
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each.name)
STEP = Fraction(1, 2**40)


@every_variant
def test_first_and_second_order_are_quotients_of_differences(variant: Variant) -> None:
    rng = np.random.default_rng(0)
    row = solve_rows(variant, rng.normal(size=(1, 8)), 128)[0]
    assert row.found is not None
    slopes, size = slopes_of(variant, row), row.found.size
    g = rng.normal(size=size)
    pull = (g - slopes.value / slopes.total @ g) / slopes.total
    second = slopes._second_order(pull, float(pull @ (slopes.first * slopes.by_gamma)), g)
    cotangent = [Fraction(value) for value in g.tolist()]
    with ctx.workprec(200):
        here = solve(variant, row.gaps, 160)
        pulled = vjp(variant, here, cotangent)
        for k in range(1, size):
            gaps = [gap + STEP if i == k else gap for i, gap in enumerate(row.gaps)]
            there = solve(variant, gaps, 160)
            first = [float((b - a) / ball(STEP)) for a, b in zip(here.weights, there.weights, strict=True)]
            again = vjp(variant, there, cotangent)
            bent = [float((b - a) / ball(STEP)) for a, b in zip(pulled.by_gap, again.by_gap, strict=True)]
            # A one-sided quotient over 2^-40 is off by that times the next derivative, below 2^8 here.
            assert np.abs(slopes.jacobian[:, k] - first).max() < 2.0**-32
            assert np.abs(second[:, k] - bent).max() < 2.0**-32


def test_the_box_holds_what_a_moved_input_gives_and_nothing_far(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from kernelproof.variant import *\n"
        "V = Variant('v', lambda x, t: (1 - t) ** 2, Constant(), order=2, parameters={'gamma': 2})\n"
    )
    case = Case("weights", "2", None, f"variant:{tmp_path / 'mine.py'}:V", "float32", "random", (1, 3), "1", 0)
    precision = precision_of("float32", Contract())
    scores = np.array([0.0, -1.999, -1.0])
    moved = scores * (1 + 3 * precision.unit)
    weights = 1 - (scores.max() - moved) / 2
    near = float(weights[1] ** 2 / (weights**2).sum())
    assert box_kappa(case, scores, 1, near, precision) <= 4
    assert box_kappa(case, scores, 1, 2 * near, precision) > 1e3
    assert box_decides(case.parsed_rule)
    assert not box_decides(VARIANTS[3])


def test_a_case_of_a_variant_is_a_line_and_travels() -> None:
    place = f"{EXAMPLES / 'softplus.py'}:SOFTPLUS"
    case = Case.parse(f"weights order=inf rule=variant:{place} dtype=float32 family=random shape=2x5 feature=1 seed=0")
    assert case.inner_rule is variant_at(place)
    assert pickle.loads(pickle.dumps(case)) == case  # noqa: S301 (our own bytes)
    with pytest.raises(DomainError, match="at its order inf"):
        replace(case, order="1")
    with pytest.raises(DomainError, match="entmax has the rule"):
        replace(case, op="entmax")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.py:V", "cannot be loaded"),
        ("plain", "a variant is"),
        ("math:pi", "must be a kernelproof.variant.Variant"),
    ],
)
def test_what_is_no_variant_is_one_line(text: str, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        variant_at(text)


def verified(name: str, **options: Any) -> Any:
    return verify(f"{EXAMPLES / name}", serial=True, suite="quick", seed=3, **options)


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parents[1])


@pytest.mark.torch
def test_the_cosine_of_the_examples_passes_with_its_gradients() -> None:
    pytest.importorskip("torch")
    results = verified("cosine.py:cosine", dtype="float32", device="cpu")
    assert results.passed
    decided = {check.id: check.decided for check in results.targets[0].checks}
    assert decided["gradients"] > 0
    assert decided["accuracy"] > 0
    assert decided["support"] > 0


def test_the_softplus_of_the_examples_passes() -> None:
    assert verified("softplus.py:softplus_attention", dtype="float64").passed


def test_the_bug_of_the_examples_is_found_and_its_twin_passes() -> None:
    case = (
        "weights order=inf rule=variant:examples/variants/effective_keys.py:EFFECTIVE_KEYS dtype=float64 "
        "family=scales shape=2x12 feature=3 seed=0"
    )
    assert verified("effective_keys.py:effective_keys", case=case).passed
    wrong = verified("effective_keys.py:effective_keys_with_a_bug", case=case)
    assert [check.id for check in wrong.targets[0].checks if check.verdict == "FAIL" and check.id == "accuracy"]


WRONG = """
import numpy as np
import kernelproof
from kernelproof import variant

V = variant.Variant(
    "v", lambda x, t: x.cos(x.pi * t / 2) ** 2, variant.Constant(), order=2, parameters={"gamma": 2}
)
HERE = __file__ + ":V"


@kernelproof.declare(variant=HERE)
def wrong(scores, gamma):
    left = np.maximum(gamma - (scores.max(-1, keepdims=True) - scores), 0) / gamma
    terms = np.sin(EXPRESSION) ** 2
    return terms / terms.sum(-1, keepdims=True)
"""


@pytest.mark.parametrize(
    ("expression", "passes"),
    [("np.pi / 2 * left", True), ("1.5707 * left", False), ("np.pi / 2 * left ** 1.001", False)],
)
def test_the_spec_is_the_truth(tmp_path: Path, expression: str, passes: bool) -> None:
    path = tmp_path / "mine.py"
    path.write_text(WRONG.replace("EXPRESSION", expression))
    found = verify(f"{path}:wrong", serial=True, suite="quick", dtype="float64")
    assert found.passed is passes


def test_a_profile_that_raises_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(WRONG.replace("x.cos(x.pi * t / 2) ** 2", "1 / 0").replace("EXPRESSION", "left"))
    with pytest.raises(DomainError, match="the profile of v raised ZeroDivisionError: division by zero"):
        verify(f"{path}:wrong", serial=True, suite="quick", dtype="float64")


def test_a_profile_that_raises_at_some_rows_alone_is_undecided(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    late = "(1 - t) ** 2 if t.value >= 0.5 else 1 / 0"
    path.write_text(WRONG.replace("x.cos(x.pi * t / 2) ** 2", late).replace("EXPRESSION", "left"))
    assert not verify(f"{path}:wrong", serial=True, suite="quick", dtype="float64").passed


def test_a_profile_beyond_floats_has_units(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    # K(t) = exp(1000 − d): softmax, by terms that no float64 holds.
    path.write_text(
        "import numpy as np\nimport kernelproof\nfrom kernelproof import variant\n"
        "V = variant.Variant('v', lambda x, t: x.exp(-t), variant.Constant(), 'shift', None, 1, {'gamma': 1000})\n"
        "@kernelproof.declare(variant=__file__ + ':V')\n"
        "def right(scores, gamma):\n"
        "    terms = np.exp(scores - scores.max(-1, keepdims=True))\n"
        "    return terms / terms.sum(-1, keepdims=True)\n"
    )
    assert verify(f"{path}:right", serial=True, suite="quick", dtype="float64").passed


MASS = """
import numpy as np
import kernelproof
from kernelproof import variant

V = variant.Variant("v", lambda x, t: 1 - t, variant.mass(1.5))


@kernelproof.declare(variant=__file__ + ":V")
def mass(scores):
    d = np.sort((scores.max(-1, keepdims=True) - scores).astype(np.float64), -1)
    k = np.arange(1, d.shape[-1] + 1)
    with np.errstate(all="ignore"):
        gamma = np.cumsum(d, -1) / (k - TOTAL)
        after = np.concatenate([d[..., 1:], np.full(d[..., :1].shape, np.inf)], -1)
        at = ((k > TOTAL) & (d < gamma) & (after >= gamma)).argmax(-1)[..., None]
        terms = np.maximum(1 - (scores.max(-1, keepdims=True) - scores) / np.take_along_axis(gamma, at, -1), 0)
        return (terms / terms.sum(-1, keepdims=True)).astype(scores.dtype)
"""


@pytest.mark.parametrize(("total", "passes"), [("1.5", True), ("1.50001", False)])
def test_rows_that_have_no_bandwidth_are_held_against_nobody(tmp_path: Path, total: str, passes: bool) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MASS.replace("TOTAL", total))
    found = verify(f"{path}:mass", serial=True, suite="quick", dtype="float64").targets[0]
    failed = {check.id for check in found.checks if check.verdict == "FAIL"}
    assert "simplex" not in failed
    assert ("accuracy" not in failed) is passes
