"""What a target takes few shapes of is asked in those."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kernelproof.api import verify
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families import families
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.plan import plan, union
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.record.schema import Verdict
from kernelproof.verify.records import OPS
from kernelproof.verify.targets.declaration import Shapes
from kernelproof.verify.targets.refitting import fitted_case, with_fitted
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.shapes import fitted, refused_shape, shapes_of
from kernelproof.verify.targets.target import Target, describe, find
from kernelproof.verify.workers.runner import COLD_SECONDS, compiles, with_patience

KERNEL = Shapes(
    square=True, grouped_heads=False, equal_widths=True, head_sizes=(16, 32), length_multiple=64, least_keys=64
)
LIMITS = [
    KERNEL,
    Shapes(),
    Shapes(least_keys=3, most_keys=8, length_multiple=2),
    Shapes(least_rank=3, most_rank=3),
    Shapes(least_keys=3, most_keys=40, length_power=True),
    Shapes(length_power=True, length_multiple=16, square=True),
    Shapes(least_rank=4, most_rank=4, head_multiple=8),
    Shapes(most_rank=2, most_rows=5),
    Shapes(least_rank=2, equal_widths=True, grouped_heads=False),
]
CAUSAL = '''
import numpy as np

def attention(q, k, v, causal=False):
    """Softmax attention of squares of multiples of 64, causal always."""
    assert causal and q.shape[-2] == k.shape[-2] and q.shape[-2] % 64 == 0 and q.shape[-1] in (16, 32)
    wide = [each.astype(np.float64) for each in (q, k, v)]
    scores = wide[0] @ np.swapaxes(wide[1], -1, -2) / np.sqrt(q.shape[-1])
    scores = np.where(np.tri(q.shape[-2], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True) @ wide[2]).astype(q.dtype)

attention.KERNELPROOF = {
    "op": "attention", "order": "inf", "rule": "adaptive:1", "dtypes": ["float32"], "options": ["causal"],
    "requires": ["causal"], "square": True, "grouped_heads": False, "equal_widths": True, "head_sizes": [16, 32],
    "length_multiple": 64,
}
'''


def target_of(name: str) -> Target:
    found = describe(find(name))
    assert not isinstance(found, str)
    return found[0]


def cases() -> list[Case]:
    return list(plan(Selection("standard", dtypes=("float32",))))


@pytest.mark.parametrize("limits", LIMITS)
def test_a_fitted_shape_is_taken_and_one_that_is_taken_stays(limits: Shapes) -> None:
    tried = 0
    for op, shape in {(case.op, case.shape): None for case in cases()}:
        parts = {"entmax": 0, "weights": 0, "regression": 2, "attention": 3}[op]
        if limits.most_rank is not None and limits.most_rank < max(parts, 1):
            continue
        case = Case(op, "1", None, "adaptive:1", "float32", "random", shape, "1")
        found = fitted(op, limits, shape)
        changed = shapes_of(Case(op, "1", None, "adaptive:1", "float32", "random", found, "1"))
        assert refused_shape(limits, changed) is None, (shape, found)
        if refused_shape(limits, shapes_of(case)) is None:
            assert found == shape
        tried += 1
    assert tried > 20


def test_what_compiles_for_a_gpu_has_more_time() -> None:
    mine = replace(target_of("numpy"), device="cuda")
    assert not compiles(mine)
    foreign = replace(mine, place=replace(mine.place, module="mine"))
    assert compiles(foreign)
    assert compiles(replace(mine, place=find("numba"), device="cpu"))
    assert not compiles(replace(foreign, device="cpu"))
    assert with_patience(Limits(seconds=10.0)).seconds == COLD_SECONDS
    assert with_patience(Limits(seconds=1e4)).seconds == 1e4


@pytest.mark.parametrize("op", OPS)
def test_every_family_builds_what_is_fitted_or_says_that_it_does_not(op: str) -> None:
    target = replace(target_of("numpy"), scopes=(Scope(op, dtypes=("float32",), shapes=KERNEL),))
    built = set()
    for case in (case for case in cases() if case.op == op):
        changed = fitted_case(target, case)
        if changed is not None:
            built.add(changed.family)
            assert target.refuses(changed) is None
            inputs_of(changed)
    assert len(built) > len({name for name in families() if list(families()[name].recipes("standard", op))}) // 2


def test_others_are_asked_what_they_were_asked(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CAUSAL, encoding="utf-8")
    narrow, wide = target_of(f"{tmp_path / 'mine.py'}:attention"), target_of("numpy")
    told = union(each for target in (narrow, wide) for each in target.selections(Selection("quick")))
    assert with_fitted([wide], told) == told
    more = with_fitted([narrow, wide], told)
    assert more[: len(told)] == told
    assert len(more) == len(set(more)) > len(told)


@pytest.mark.parametrize(("planted", "verdict"), [("", Verdict.PASS), ("np.exp(scores", Verdict.FAIL)])
def test_a_kernel_of_few_shapes_is_verified(tmp_path: Path, planted: str, verdict: Verdict) -> None:
    text = CAUSAL.replace(planted, "np.exp(1.001 * scores") if planted else CAUSAL
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    (target,) = verify(f"{tmp_path / 'mine.py'}:attention", suite="quick").targets
    said = {check.id: check.verdict for check in target.checks}
    assert said["accuracy"] is verdict
    assert sum(check.decided for check in target.checks) > 1000
