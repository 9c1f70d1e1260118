"""The reference in bulk: kernel weights of many rows, certified by double-word arithmetic or, failing that, by arb.

The filter either proves an enclosure of every weight of a row or gives the row up; arb solves the rows given up, and
those whose enclosure does not decide a rounding. The result is therefore exactly that of
`kernelproof.reference.weights`, only sooner. The proofs are in the docstrings: `double_word` (operations),
`elementary_functions` (exp, log), `mass_terms` (the terms of the mass equation), `row_certificate` (root, support,
weights), `sparsemax` (order 1 in integers), `given_bandwidth` (rules whose γ is given). The compiled code is loaded on
first use, and not at all for small inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.lazy_weights import certified_weights
from kernelproof.reference.bulk.tally import FilterTally
from kernelproof.reference.exact_numbers import exact_index
from kernelproof.reference.formats import Format, format_of
from kernelproof.reference.model import Adaptive, Kernel, Mechanism, Rule, check_mechanism, resolve_kernel
from kernelproof.reference.rows import score_array

if TYPE_CHECKING:
    from kernelproof.reference.bulk.batches import Open

Floats = NDArray[np.float64]

SMALL = 1 << 12
"""Inputs of fewer elements go directly to arb, which takes less time than loading or compiling the filter."""

ENCLOSING = 200
"""Bits of arb for elements that the filter encloses too widely: enough for the smallest weight of a row near a kink."""

_REASONS = {1: "unusual values", 2: "support", 3: "root"}


@dataclass(frozen=True)
class Statistics:
    """How the elements of a batch were decided.

    Attributes:
        elements: number of elements in the batch.
        rows: number of rows in the batch.
        arb_rows: rows solved by arb.
        arb_elements: elements that the filter left open.
        ambiguous: elements for which even arb leaves two neighbours; the lower one is returned.
        reasons: how many rows the filter gave up for which reason; the other `arb_rows` had open roundings.
    """

    elements: int
    rows: int
    arb_rows: int
    arb_elements: int
    ambiguous: int
    reasons: dict[str, int]


@dataclass(frozen=True)
class Rounded:
    """Weights correctly rounded, and how they were decided."""

    values: NDArray[Any]
    statistics: Statistics


@dataclass(frozen=True)
class Enclosed:
    """float64 bounds of weights, and how they were decided."""

    lo: Floats
    hi: Floats
    statistics: Statistics


def entmax_rounded(z: Any, order: Any = None, dtype: Any = "float32", *, alpha: Any = None, dim: int = -1) -> Any:
    """α-entmax along `dim`, every weight correctly rounded to `dtype`, as `entmax(...).weights.round(dtype)`.

    Args:
        z: logits (..., m, ...), −∞ = masked; taken as the exact numbers they are.
        order: n in (0, ∞] or below −1; a number, Fraction or string such as "3/2".
        dtype: float64, float32, float16, bfloat16, float8_e4m3fn or float8_e5m2.
        alpha: ``1 + 1/n`` instead; neither means softmax.
        dim: the axis that sums to 1.

    Raises:
        DomainError: as `entmax`; another dtype.
        UndecidedError: as `entmax` and `Enclosure.round`.

    Source: A. Ziv, ACM TOMS 17(3), 1991.

    >>> entmax_rounded([[0.0, 2.0, 1.0]], 2).tolist()
    [[0.0, 0.8307189345359802, 0.16928108036518097]]
    """
    return round_entmax(z, order, dtype, alpha=alpha, dim=dim).values


def entmax_enclosed(z: Any, order: Any = None, *, alpha: Any = None, dim: int = -1) -> tuple[Floats, Floats]:
    """Proved float64 bounds (lo, hi) of α-entmax along `dim`, a few units in the last place apart.

    Args:
        z: logits, as in `entmax_rounded`.
        order: n.
        alpha: ``1 + 1/n`` instead.
        dim: the axis that sums to 1.

    A weight that is a float64 at order 1 has equal bounds; rows without a key are NaN.

    Raises:
        DomainError: as `entmax`.
        UndecidedError: a support that no exact test decides.

    Source: R. E. Moore, Interval Analysis, 1966.

    >>> lo, hi = entmax_enclosed([0.0, 1.0], 1)
    >>> lo.tolist(), hi.tolist()
    ([0.0, 1.0], [0.0, 1.0])
    """
    found = enclose_entmax(z, order, alpha=alpha, dim=dim)
    return found.lo, found.hi


def round_entmax(
    z: Any,
    order: Any = None,
    dtype: Any = "float32",
    *,
    alpha: Any = None,
    dim: int = -1,
    workers: int | None = None,
    small: int = SMALL,
) -> Rounded:
    """`entmax_rounded` with statistics.

    Args:
        z: logits.
        order: n.
        dtype: the format.
        alpha: ``1 + 1/n`` instead.
        dim: the axis that sums to 1.
        workers: threads; None: one a core.
        small: inputs of fewer elements go to arb outright.

    Raises:
        DomainError: as `entmax_rounded`.
        UndecidedError: as `entmax_rounded`.
    """
    kernel = resolve_kernel(order, alpha)
    return round_weights(z, kernel, Adaptive(), dtype, dim=dim, workers=workers, small=small)


def enclose_entmax(
    z: Any, order: Any = None, *, alpha: Any = None, dim: int = -1, workers: int | None = None, small: int = SMALL
) -> Enclosed:
    """`entmax_enclosed` with statistics.

    Args:
        z: logits.
        order: n.
        alpha: ``1 + 1/n`` instead.
        dim: the axis that sums to 1.
        workers: threads; None: one a core.
        small: inputs of fewer elements go to arb outright.

    Raises:
        DomainError: as `entmax_enclosed`.
        UndecidedError: as `entmax_enclosed`.
    """
    return enclose_weights(z, resolve_kernel(order, alpha), Adaptive(), dim=dim, workers=workers, small=small)


def round_weights(
    scores: Any,
    kernel: Kernel,
    rule: Rule,
    dtype: Any = "float32",
    *,
    dim: int = -1,
    workers: int | None = None,
    small: int = SMALL,
) -> Rounded:
    """Kernel weights along `dim` under any rule, each correctly rounded to `dtype`.

    Args:
        scores: (..., m, ...), −∞ = masked.
        kernel: its order n.
        rule: `batches.filter_of` takes some of them; the others go to arb.
        dtype: the format.
        dim: the axis that sums to 1.
        workers: threads; None: one a core.
        small: inputs of fewer elements go to arb outright.

    Raises:
        DomainError: as `weights`; another dtype.
        UndecidedError: as `weights` and `Enclosure.round`.

    >>> from kernelproof.reference import Anchored
    >>> round_weights([0.0, 1.0, 3.0], Kernel(1), Anchored(4)).values.tolist()
    [0.1428571492433548, 0.2857142984867096, 0.5714285969734192]
    """
    target = format_of(dtype)
    unsure = [0]

    def exactly(block: Floats) -> tuple[NDArray[Any], ...]:
        rounding = certified_weights(block, mechanism).weights.rounding(target.name)
        unsure[0] += int(rounding.ambiguous.sum())
        return (rounding.values,)

    def decide(found: Open) -> tuple[tuple[NDArray[Any], ...], NDArray[np.bool_]]:
        if target.precision == 53:
            return (found.near,), np.isnan(found.near)
        low, high = _narrowed(found.lo, target), _narrowed(found.hi, target)
        return (low,), low != high

    mechanism = check_mechanism(kernel, rule)
    (values,), tally = _settled(scores, mechanism, dim, (target.dtype,), decide, exactly, workers, small)
    return Rounded(values, _statistics(tally, unsure[0]))


def enclose_weights(
    scores: Any, kernel: Kernel, rule: Rule, *, dim: int = -1, workers: int | None = None, small: int = SMALL
) -> Enclosed:
    """float64 bounds of kernel weights along `dim` under any rule, as `entmax_enclosed` gives them.

    Args:
        scores: (..., m, ...), −∞ = masked.
        kernel: its order n.
        rule: as in `round_weights`.
        dim: the axis that sums to 1.
        workers: threads; None: one a core.
        small: inputs of fewer elements go to arb outright.

    Raises:
        DomainError: as `weights`.
        UndecidedError: as `weights`.
    """

    def exactly(block: Floats) -> tuple[NDArray[Any], ...]:
        found = certified_weights(block, mechanism, ENCLOSING).weights
        # A weight lies in [0, 1], even if its ball is wider.
        return np.maximum(found.lo, 0.0), np.minimum(found.hi, 1.0)

    def decide(found: Open) -> tuple[tuple[NDArray[Any], ...], NDArray[np.bool_]]:
        from kernelproof.reference.bulk.batches import wide  # noqa: PLC0415 (loads numba)

        return (found.lo, found.hi), wide(found)

    kinds = (np.dtype(np.float64), np.dtype(np.float64))
    mechanism = check_mechanism(kernel, rule)
    (lo, hi), tally = _settled(scores, mechanism, dim, kinds, decide, exactly, workers, small)
    return Enclosed(lo, hi, _statistics(tally, 0))


def _settled(
    scores: Any,
    mechanism: Mechanism,
    dim: int,
    kinds: tuple[np.dtype[Any], ...],
    decide: Callable[[Open], tuple[tuple[NDArray[Any], ...], NDArray[np.bool_]]],
    exactly: Callable[[Floats], tuple[NDArray[Any], ...]],
    workers: int | None,
    small: int,
) -> tuple[list[NDArray[Any]], FilterTally]:
    """Arrays of these dtypes and of the shape of the scores, by the filter where it applies; and the statistics."""
    array = score_array(scores, "scores")
    axis = exact_index(dim, "dim", -array.ndim, array.ndim - 1) % array.ndim
    moved = np.moveaxis(array, axis, -1)
    flat = moved.reshape(-1, moved.shape[-1]) if array.size else np.empty((0, moved.shape[-1]))
    outputs = tuple(np.zeros(flat.shape, dtype=kind) for kind in kinds)
    tally = FilterTally(flat.size, len(flat), len(flat), flat.size)
    solve = None
    if array.size >= max(small, 1):
        from kernelproof.reference.bulk import batches  # noqa: PLC0415 (loads numba)

        solve = batches.filter_of(mechanism)
        if solve is not None:
            tally = batches.settle(flat, solve, outputs, decide, exactly, workers)
    if solve is None:
        # An empty input is also passed to `weights`, which raises the errors.
        outputs = exactly(flat)
    return [np.moveaxis(output.reshape(moved.shape), -1, axis) for output in outputs], tally


def _narrowed(values: Floats, target: Format) -> NDArray[Any]:
    """Round float64 to a narrower format; NumPy's own conversion to float32 rounds to nearest, ties to even."""
    return values.astype(np.float32) if target.name == "float32" else target.round_floats(values).astype(target.dtype)


def _statistics(tally: FilterTally, unsure: int) -> Statistics:
    reasons = {_REASONS[status]: count for status, count in sorted(tally.reasons.items())}
    return Statistics(tally.elements, tally.rows, tally.undecided_rows, tally.undecided_elements, unsure, reasons)
