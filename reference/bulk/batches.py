"""Batches: the compiled filter takes rows in chunks on all cores, and arb takes what it leaves open.

The kernel releases the GIL, so threads share the rows; each thread needs memory for its chunk only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk import given_bandwidth, rows
from kernelproof.reference.bulk.double_word import Word, two_prod
from kernelproof.reference.bulk.mass_terms import LARGE, LEAST, POWER, REAL, SOFTMAX, Order
from kernelproof.reference.bulk.row_certificate import DECIDED
from kernelproof.reference.bulk.tally import FilterTally
from kernelproof.reference.model import Adaptive, Anchored, Fixed, Mechanism, Nearest

Floats = NDArray[np.float64]
Filter = Callable[..., int]
"""(rows (R, m), lo, hi, near (R, m), status (R,)) -> fills the last four."""

CHUNK = 1 << 16
"""Elements per call of the kernel."""

LEAST_ORDER, LARGEST_ORDER = Fraction(1, 2**10), Fraction(2**900)
"""The filter takes orders between these; others go to arb."""

LEAST_PARAMETER = Fraction(1, 2**90)
"""The filter takes parameters of rules between this and its inverse."""


class Open(NamedTuple):
    """The filter's results on a chunk of rows: (rows, m) each, and the status of every row."""

    lo: Floats
    hi: Floats
    near: Floats
    status: NDArray[np.uint8]


def order_of(order: Fraction | float, scale: Fraction | int = 1) -> Order | None:
    """The order for a kernel, with the factor of the scores; None if either is out of the filter's range.

    >>> order_of(Fraction(3, 2)).head
    1.5
    """
    if not LEAST_PARAMETER < scale < 1 / LEAST_PARAMETER:
        return None
    scaled, (scale_head, scale_tail) = scale != 1, word_of(Fraction(scale))
    if not isinstance(order, Fraction):
        return Order(SOFTMAX, 0, 1.0, 0.0, 1.0, 0.0, False, 1.0, LEAST, scaled, scale_head, scale_tail)
    if not LEAST_ORDER <= order <= LARGEST_ORDER:
        return None
    whole = int(order) if order.denominator == 1 and order <= 64 else 0
    form = POWER if whole else LARGE if order >= 2**20 else REAL
    head, tail = word_of(order)
    exact = Fraction(head) + Fraction(tail) == order
    inverse_head, inverse_tail = word_of(1 / order)
    return Order(form, whole, head, tail, inverse_head, inverse_tail, exact, 1.0, LEAST, scaled, scale_head, scale_tail)


def word_of(value: Fraction) -> Word:
    """The double word nearest to `value`, within a relative 2^-106."""
    head = float(value)
    return head, float(value - Fraction(head))


def filter_of(mechanism: Mechanism) -> Filter | None:
    """The compiled filter for a mechanism; None for `Nearest`, order 0, argmax, and orders out of range.

    A bandwidth must be a float64 whose square is far from underflow and overflow, so that h² is exact.
    """
    kernel, rule = mechanism
    if isinstance(rule, Nearest) or kernel.order == 0:
        return None
    if isinstance(rule, Adaptive):
        order = order_of(kernel.order, rule.exact)
        return None if order is None else partial(rows.solve_rows, order)
    if not isinstance(kernel.order, Fraction):
        order = order_of(kernel.order, 1 / rule.exact**2) if isinstance(rule, Fixed) else None
        return None if order is None else partial(rows.solve_rows, order)
    order = order_of(kernel.order) if kernel.order < 2**20 else None
    point = point_of(rule)
    return None if order is None or point is None else partial(given_bandwidth.weigh_rows, order, *point)


def point_of(rule: Fixed | Anchored) -> tuple[bool, float, float] | None:
    """(whether γ counts from the largest score, head, tail) of γ or h²/2; None unless that is exactly a double word."""
    if Fraction(float(rule.exact)) != rule.exact or not LEAST_PARAMETER < rule.exact < 1 / LEAST_PARAMETER:
        return None
    value = float(rule.exact)
    if isinstance(rule, Anchored):
        return True, value, 0.0
    head, tail = two_prod(value, value)
    return False, 0.5 * head, 0.5 * tail


def chunks(array: Floats, solve: Filter, workers: int | None = None) -> Iterator[tuple[slice, Open]]:
    """The filter's results on the rows of `array` (R, m), chunk by chunk, on `workers` threads (None: all cores)."""
    count, size = array.shape
    step = max(1, CHUNK // max(size, 1))
    parts = [slice(start, min(start + step, count)) for start in range(0, count, step)]

    def work(part: slice) -> tuple[slice, Open]:
        block = np.ascontiguousarray(array[part])
        lo, hi, near = np.empty((3, *block.shape))
        out = Open(lo, hi, near, np.empty(len(block), dtype=np.uint8))
        solve(block, *out)
        return part, out

    threads = min(workers or os.cpu_count() or 1, len(parts))
    if threads <= 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        # Only a few chunks ahead of the consumer, so that memory does not grow with the batch.
        waiting = [pool.submit(work, part) for part in parts[: 2 * threads]]
        for following in range(len(waiting), len(parts) + len(waiting)):
            yield waiting.pop(0).result()
            if following < len(parts):
                waiting.append(pool.submit(work, parts[following]))


def settle(
    array: Floats,
    solve: Filter,
    outputs: tuple[NDArray[Any], ...],
    decide: Callable[[Open], tuple[tuple[NDArray[Any], ...], NDArray[np.bool_]]],
    exactly: Callable[[Floats], tuple[NDArray[Any], ...]],
    workers: int | None = None,
) -> FilterTally:
    """Fill `outputs` (R, m) by the filter, and rows with an open element by arb.

    Args:
        array: (R, m).
        solve: the filter.
        outputs: filled.
        decide: (results of the filter) -> (values for `outputs`, which elements are open).
        exactly: (rows) -> values for `outputs`, proved by arb.
        workers: threads; None: one a core.
    """
    tally = FilterTally(elements=array.size, rows=len(array))
    for part, found in chunks(array, solve, workers):
        values, open_ = decide(found)
        failed = found.status != DECIDED
        for status, count in zip(*np.unique(found.status[failed], return_counts=True), strict=True):
            tally.reasons[int(status)] = tally.reasons.get(int(status), 0) + int(count)
        open_[failed] = True
        for output, value in zip(outputs, values, strict=True):
            output[part] = value
        again = np.flatnonzero(open_.any(axis=1))
        if len(again):
            tally.undecided_rows += len(again)
            tally.undecided_elements += int(open_.sum())
            wanted = open_[again]
            for output, value in zip(outputs, exactly(array[part][again]), strict=True):
                block = output[part]
                block[again] = np.where(wanted, value, block[again])
    return tally


def wide(found: Open) -> NDArray[np.bool_]:
    """Elements known less precisely than to two units in the last place: near a kink, or below 2^-900."""
    return found.hi - found.lo > 2.0**-50 * found.lo + 2.0 * LEAST
