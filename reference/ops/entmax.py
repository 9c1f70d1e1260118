"""`entmax`: α-entmax of rows of logits, the kernel of order n = 1/(α − 1) under the adaptive rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.bulk.lazy_weights import solve_array
from kernelproof.reference.enclosure import Enclosure
from kernelproof.reference.errors import DomainError
from kernelproof.reference.exact_numbers import exact_index
from kernelproof.reference.model import Adaptive, Kernel, check_mechanism, resolve_kernel
from kernelproof.reference.rows import float_array, score_array
from kernelproof.reference.several import Several, several_of
from kernelproof.reference.solved_rows import Weighting, collect_several, vjp_array
from kernelproof.reference.solver import PRECISION, Solver, checked_precision, choose


def entmax(
    z: Any,
    order: Any = None,
    *,
    alpha: Any = None,
    dim: int | None = None,
    axis: int | None = None,
    arithmetic: str = "arb",
    precision: int = PRECISION,
    progress: bool = False,
) -> Weighting:
    """α-entmax along `dim`: ``p_i = [z_i/n − τ]₊^n`` with ``Σ p_i = 1``; sparsemax at n = 1, softmax at n = ∞.

    Args:
        z: logits of any shape with at least one axis; −∞ = masked; taken as the exact numbers they are.
        order: n in (0, ∞] or below −1; a number, Fraction or string such as "3/2", or an array with one for each row:
            of the shape of z with size 1 along `dim`, or one that broadcasts to it.
        alpha: ``1 + 1/n`` instead; neither means softmax.
        dim: the axis that sums to 1; the last one if nothing is said.
        axis: another name for `dim`.
        arithmetic: "arb" (certified) or "mpmath" (independent, by bisection; not certified).
        precision: bits of the first solve, from 2 to 2**20; rounding refines it as needed.
        progress: show how far a large batch is, on standard error.

    Raises:
        DomainError: NaN or +∞ (the message names the index), a scalar, order 0 or negative, an axis that is not there.
        UndecidedError: a support that no exact test decides.

    Source: Peters, Niculae & Martins, Sparse sequence-to-sequence models, ACL 2019; arXiv:2601.22766, section 3.

    >>> result = entmax([0.0, 2.0, 1.0], order=2)
    >>> result.weights.round("float32").tolist(), result.support.tolist()
    ([0.0, 0.8307189345359802, 0.16928108036518097], [False, True, True])
    """
    kernel = resolve_kernel(order, alpha)
    precision = checked_precision(precision)
    array, place = _move(z, dim, axis)
    if (several := _several(kernel, array, place, alpha)) is not None:
        flat = array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])
        return _restore(collect_several(flat, several, arithmetic, precision, array.shape), place)
    mechanism = check_mechanism(kernel, Adaptive(1))
    solver = Solver(mechanism, choose(arithmetic, mechanism))
    return _restore(solve_array(array, solver, precision, progress=progress), place)


def entmax_vjp(
    z: Any,
    cotangent: Any,
    order: Any = None,
    *,
    alpha: Any = None,
    dim: int | None = None,
    axis: int | None = None,
    arithmetic: str = "arb",
    precision: int = PRECISION,
) -> dict[str, Enclosure]:
    """The vector-Jacobian product of `entmax`: by "z", and by "alpha" if that was passed, else by "order".

    Args:
        z: logits, as in `entmax`.
        cotangent: of the shape of z, finite.
        order: n; see `entmax`.
        alpha: see `entmax`; its gradient at α = 1 is ``Σ g_i p_i(E − ℓ_i²)/2``.
        dim: the axis that sums to 1; the last one if nothing is said.
        axis: another name for `dim`.
        arithmetic: "arb" or "mpmath".
        precision: bits of the first solve, from 2 to 2**20.

    Raises:
        DomainError: as in `entmax`; shapes that differ; a cotangent that is not finite.

    Source: docs/theory.md §3, G1 and G2.

    >>> entmax_vjp([0.0, 1.0], [0.0, 1.0])["z"].round("float32").tolist()
    [-0.1966119259595871, 0.1966119259595871]
    """
    kernel = resolve_kernel(order, alpha)
    precision = checked_precision(precision)
    array, place = _move(z, dim, axis)
    mechanism = _several(kernel, array, place, alpha) or check_mechanism(kernel, Adaptive(1))
    upstream = float_array(cotangent, "cotangent", finite=True)
    if upstream.shape != float_array(z, "z").shape:
        msg = f"cotangent must have the shape of z {np.shape(z)}; got {upstream.shape}"
        raise DomainError(msg)
    found = vjp_array(array, np.moveaxis(upstream, place, -1), mechanism, arithmetic, precision, "z")
    key = "order" if alpha is None else "alpha"
    return {"z": _turn(found["z"], place), key: found[key]}


def _several(kernel: Kernel, array: NDArray[np.float64], place: int, alpha: Any) -> Several | None:
    """The mechanisms of the rows of `array`, whose keys were moved from the axis `place` to the end; None if one."""
    shape = (*array.shape[:place], array.shape[-1], *array.shape[place:-1])
    return several_of(kernel, Adaptive(1), shape, place, "order" if alpha is None else "alpha")


def _move(z: Any, dim: int | None, axis: int | None) -> tuple[NDArray[np.float64], int]:
    """The logits with the axis that `dim`, `axis` or both name as the last one, and where it was."""
    array = score_array(z, "z")
    named = {name: value for name, value in (("dim", dim), ("axis", axis)) if value is not None}
    places = {exact_index(value, name, -array.ndim, array.ndim - 1) % array.ndim for name, value in named.items()}
    if len(places) > 1:
        msg = f"dim and axis name one axis; pass one of them; got dim={dim!r}, axis={axis!r}"
        raise DomainError(msg)
    place = places.pop() if places else array.ndim - 1
    return np.moveaxis(array, place, -1), place


def _turn(enclosure: Enclosure, axis: int) -> Enclosure:
    """The enclosure with its last axis moved to `axis`."""
    last = len(enclosure.shape) - 1
    if axis == last:
        return enclosure
    shape = list(enclosure.shape[:-1])
    shape.insert(axis, enclosure.shape[-1])
    flat = np.moveaxis(np.arange(enclosure.size, dtype=np.intp).reshape(shape), axis, -1).ravel()
    return enclosure.moved(flat, tuple(shape))


def _restore(found: Weighting, axis: int) -> Weighting:
    if axis == len(found.weights.shape) - 1:
        return found
    return replace(
        found,
        weights=_turn(found.weights, axis),
        support=np.moveaxis(found.support, -1, axis),
        boundary=np.moveaxis(found.boundary, -1, axis),
        margin=np.moveaxis(found.margin, -1, axis),
    )
