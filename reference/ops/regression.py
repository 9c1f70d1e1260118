"""`regression`: Nadaraya–Watson kernel regression with certified outputs and gradients."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from kernelproof.reference.enclosure import Enclosure
from kernelproof.reference.errors import DomainError
from kernelproof.reference.model import Kernel, Rule, Student, check_mechanism
from kernelproof.reference.rows import float_array
from kernelproof.reference.solved_rows import Weighting, collect
from kernelproof.reference.solver import PRECISION, Solver, checked_precision, choose
from kernelproof.reference.weighted_means import Floats, WeightedMeans


@dataclass(frozen=True)
class Regression:
    """What is proved about a regression.

    Attributes:
        y: (..., T, e).
        weighting: the weights (..., T, m), with the threshold and the support.
    """

    y: Enclosure
    weighting: Weighting


def regression(
    q: Any,
    k: Any,
    v: Any,
    kernel: Kernel | Student,
    rule: Rule,
    *,
    arithmetic: str = "arb",
    precision: int = PRECISION,
    empty: str = "nan",
) -> Regression:
    """Kernel regression ``ŷ(q) = Σ w_i v_i`` with scores ``−‖q − k_i‖²/2``.

    Args:
        q: (..., T, d) finite floats, taken as exact.
        k: (..., m, d).
        v: (..., m, e).
        kernel: its order n in (−∞, ∞], or a `Student`.
        rule: the bandwidth rule.
        arithmetic: "arb" or "mpmath".
        precision: bits of the first solve, from 2 to 2**20.
        empty: as in `weights`, for a query whose ball is empty.

    Raises:
        DomainError: shapes that do not match (the message names them), values that are not finite.

    Source: Nadaraya 1964; Watson 1964; arXiv:2601.22766, section 2.

    >>> from kernelproof.reference import Fixed, Kernel
    >>> regression([[0.0]], [[0.0], [1.0]], [[1.0], [3.0]], Kernel(1), Fixed(2)).y.round("float32").tolist()
    [[1.8571428060531616]]
    """
    precision = checked_precision(precision)
    problem, lead = _problem(q, k, v)
    mechanism = check_mechanism(kernel, rule, problem.q.shape[2])
    solver = Solver(mechanism, choose(arithmetic, mechanism), empty)
    queries, width = problem.q.shape[1], problem.v.shape[2]
    y = problem.output(solver, precision, (*lead, queries, width))
    rows = [row for head in problem.rows for row in head]
    return Regression(y, collect(rows, solver, precision, (*lead, *problem.bias.shape[1:])))


def regression_vjp(
    q: Any,
    k: Any,
    v: Any,
    cotangent: Any,
    kernel: Kernel | Student,
    rule: Rule,
    *,
    arithmetic: str = "arb",
    precision: int = PRECISION,
) -> dict[str, Enclosure]:
    """The vector-Jacobian product of `regression`: by "q", "k", "v", "order" and the rule's parameter.

    Args:
        q: (..., T, d).
        k: (..., m, d).
        v: (..., m, e).
        cotangent: (..., T, e), finite.
        kernel: the kernel.
        rule: the rule.
        arithmetic: "arb" or "mpmath".
        precision: bits of the first solve, from 2 to 2**20.

    Raises:
        DomainError: as in `regression`; a cotangent of another shape.

    Source: docs/theory.md §3, G3.
    """
    precision = checked_precision(precision)
    problem, lead = _problem(q, k, v)
    mechanism = check_mechanism(kernel, rule, problem.q.shape[2])
    upstream = upstream_of(cotangent, (*lead, problem.q.shape[1], problem.v.shape[2]))
    shapes = {name: float_array(array, name).shape for name, array in (("q", q), ("k", k), ("v", v))}
    flat = upstream.reshape(len(problem.q), *upstream.shape[-2:])
    return problem.gradients(flat, mechanism, arithmetic, precision, shapes)


def upstream_of(cotangent: Any, shape: tuple[int, ...]) -> Floats:
    """The cotangent as float64.

    Raises:
        DomainError: not of `shape`, or not finite.
    """
    upstream = float_array(cotangent, "cotangent", finite=True)
    if upstream.shape != shape:
        msg = f"cotangent must have the shape of the output {shape}; got {upstream.shape}"
        raise DomainError(msg)
    return upstream


def _problem(q: Any, k: Any, v: Any) -> tuple[WeightedMeans, tuple[int, ...]]:
    arrays = {name: float_array(array, name, finite=True) for name, array in (("q", q), ("k", k), ("v", v))}
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    queries, keys, values = arrays.values()
    fits = (
        min(queries.ndim, keys.ndim, values.ndim) >= 2
        and queries.shape[:-2] == keys.shape[:-2] == values.shape[:-2]
        and queries.shape[-1] == keys.shape[-1]
        and keys.shape[-2] == values.shape[-2]
    )
    if not fits:
        msg = f"regression needs q (..., T, d), k (..., m, d), v (..., m, e); got {shapes}"
        raise DomainError(msg)
    lead = queries.shape[:-2]
    heads = int(np.prod(lead, dtype=np.int64))
    flat_q, flat_k, flat_v = (array.reshape(heads, *array.shape[-2:]) for array in (queries, keys, values))
    bias = np.zeros((heads, queries.shape[-2], keys.shape[-2]))
    return WeightedMeans(flat_q, flat_k, flat_v, np.arange(heads, dtype=np.intp), bias, Fraction(1), True), lead
