"""Reshape cases for targets that accept few shapes, such as a kernel for multiples of 64 keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from kernelproof.reference.errors import DomainError
from kernelproof.verify.cases.axes import PAIRS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.families import keys_of
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.targets.declaration import Shapes
from kernelproof.verify.targets.shapes import fitted
from kernelproof.verify.targets.target import Target


def fitted_case(target: Target, case: Case) -> Case | None:
    """Reshape `case` to the nearest shape that `target` takes; None if the target or the family refuses the result."""
    scope = target.scope(case.op)
    # Combinations are planned in shapes that fit, for each target.
    if scope is None or scope.shapes == Shapes() or case.family == PAIRS:
        return None
    changed = replace(case, shape=fitted(case.op, scope.shapes, case.shape))
    least, most = keys_of(case.family)
    if changed == case or not least <= changed.size <= most:
        return None
    try:
        inputs_of(changed)
    except DomainError:  # the family accepts other shapes only
        return None
    return changed if target.refuses(changed) is None else None


def with_fitted(targets: Iterable[Target], cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """Add to `cases` a reshaped copy of each that a target refuses for its shape, without repetition."""
    return tuple(dict.fromkeys((*cases, *_refitted(targets, cases))))


def _refitted(targets: Iterable[Target], cases: tuple[Case, ...]) -> Iterator[Case]:
    for target in targets:
        for case in cases:
            changed = None if target.refuses(case) is None else fitted_case(target, case)
            if changed is not None:
                yield changed
