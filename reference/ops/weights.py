"""`weights`: kernel weights of rows of scores under any rule, with their vector-Jacobian product."""

from __future__ import annotations

import math
from typing import Any

from kernelproof.reference.bulk.lazy_weights import solve_array
from kernelproof.reference.enclosure import Enclosure
from kernelproof.reference.model import Kernel, Rule, check_mechanism
from kernelproof.reference.rows import score_array
from kernelproof.reference.several import several_of
from kernelproof.reference.solved_rows import Weighting, collect_several, vjp_array
from kernelproof.reference.solver import PRECISION, Solver, checked_precision, choose


def weights(
    scores: Any,
    kernel: Kernel,
    rule: Rule,
    *,
    arithmetic: str = "arb",
    precision: int = PRECISION,
    empty: str = "nan",
    progress: bool = False,
) -> Weighting:
    """The weights ``w_i ∝ [1 − d_i/γ]₊^n`` of every row of `scores`, with γ from the rule.

    Args:
        scores: (..., m) floats, −∞ = masked; taken as the exact numbers they are.
        kernel: its order n in (−∞, ∞], or an array of them with one for each row.
        rule: Fixed, Anchored, Adaptive or Nearest; its parameter may be such an array, (..., 1).
        arithmetic: "arb" (certified) or "mpmath" (independent, not certified).
        precision: bits of the first solve, from 2 to 2**20.
        empty: what a row with nothing to attend to gets. "raise" an error, "zeros" 0, "nan" NaN; where there are keys
            but none in the ball of `Fixed`, "uniform" an equal share for each of them and "nearest" for those of the
            largest score. Without a key (all masked) there is nothing to share: NaN under "uniform" and "nearest".
        progress: show how far a large batch is, on standard error.

    Raises:
        DomainError: NaN or +∞ (the message names the index), a 0-d array, a mechanism that is not defined, or an empty
            row under "raise".
        UndecidedError: a support that no exact test decides.

    Source: arXiv:2601.22766, sections 2 to 4.

    >>> from kernelproof.reference import Anchored, Kernel
    >>> weights([0.0, 1.0, 3.0], Kernel(1), Anchored(4)).weights.round("float64").tolist()
    [0.14285714285714285, 0.2857142857142857, 0.5714285714285714]
    """
    precision = checked_precision(precision)
    array = score_array(scores, "scores")
    if (several := several_of(kernel, rule, array.shape)) is not None:
        flat = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
        return collect_several(flat, several, arithmetic, precision, array.shape, empty)
    mechanism = check_mechanism(kernel, rule)
    solver = Solver(mechanism, choose(arithmetic, mechanism), empty)
    return solve_array(array, solver, precision, progress=progress)


def weights_vjp(
    scores: Any, cotangent: Any, kernel: Kernel, rule: Rule, *, arithmetic: str = "arb", precision: int = PRECISION
) -> dict[str, Enclosure]:
    """The vector-Jacobian product of `weights`: by "scores", "order" and the rule's parameter (h, gamma or beta).

    Args:
        scores: (..., m), as in `weights`.
        cotangent: (..., m), finite.
        kernel: the kernel.
        rule: the rule.
        arithmetic: "arb" or "mpmath".
        precision: bits of the first solve, from 2 to 2**20.

    Masked keys, keys off the support and empty rows have gradient 0. At a kink (`Weighting.kink`) the value is
    that of the Jacobian which leaves boundary keys out. Scalars are summed over the rows.

    Raises:
        DomainError: as in `weights`; shapes that differ; a cotangent that is not finite.

    Source: docs/theory.md §3, G1 to G3.

    >>> from kernelproof.reference import Adaptive, Kernel
    >>> weights_vjp([0.0, 0.5], [1.0, 0.0], Kernel(1), Adaptive())["scores"].round("float64").tolist()
    [0.5, -0.5]
    """
    precision = checked_precision(precision)
    array = score_array(scores, "scores")
    mechanism = several_of(kernel, rule, array.shape) or check_mechanism(kernel, rule)
    return vjp_array(array, cotangent, mechanism, arithmetic, precision, "scores")
