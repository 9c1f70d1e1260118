"""The records that pass between cases, targets, truth and checks.

The data flow of one case: a `Family` builds `Inputs` from a recipe; the truth of the case is computed once
(`Truth`); every check names the `Call`s that it needs, and each target answers each call with an `Outcome`;
the check judges the outcomes against the truth. A check never calls a target itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


Floats = NDArray[np.float64]


Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Inputs:
    """The arrays of one case, in the dtype of the case.

    Attributes:
        arrays: by argument name: z for entmax, scores for weights, q, k and v otherwise.
        options: mask, causal, lengths, scale, key_norm_term, empty; passed on as keywords.
        cotangent: upstream gradient for a vector-Jacobian product, in the shape of the output; None for no gradients.
        rows: flat indices of the output rows that are checked; None means all.
        diagonal: the meaning of a causal mask: query t sees the keys 0 to t + diagonal. None without a causal mask, and
            until `kernelproof.verify.cases.inputs.resolve` has set it from the contract of a target.
    """

    arrays: dict[str, Array]
    options: dict[str, Any] = field(default_factory=dict)
    cotangent: Array | None = None
    rows: NDArray[np.intp] | None = None
    diagonal: int | None = None

    @property
    def causal_keys(self) -> Flags | None:
        """(T, S) the keys that the causal mask lets each query see; None without a causal mask.

        Raises:
            ValueError: the options ask for a causal mask whose diagonal was not resolved.
        """
        if self.diagonal is None:
            if self.options.get("causal"):
                msg = "inputs with a causal mask must go through cases.inputs.resolve; their diagonal is None"
                raise ValueError(msg)
            return None
        return np.tri(self.arrays["q"].shape[-2], self.arrays["k"].shape[-2], self.diagonal, dtype=bool)


@dataclass(frozen=True)
class Values:
    """Exact numbers as ``head + tail`` (float64 each), off by at most `radius`, and their condition.

    Attributes:
        head: the numbers rounded to float64.
        tail: what `head` leaves.
        radius: a bound on the error of both together.
        unit: the condition unit of docs/theory.md §4: κ counts errors of ``u_c·unit``, u_c of the compute dtype.
        stored: R of docs/theory.md §4: the error that the storage roundings of the contract may cause, once and not
            times κ. 0 until `kernelproof.verify.truth.roundings` has added it for a contract.
    """

    head: Floats
    tail: Floats
    radius: Floats
    unit: Floats
    stored: Floats | float = 0.0


@dataclass(frozen=True)
class Truth:
    """What is proved about one case. Rows are flat: (R, m) or (R, e) for the checked rows.

    Attributes:
        output: weights (R, m), or y (R, e) for regression and attention.
        support: (R, m) keys of positive weight, decided exactly.
        boundary: (R, m) keys that lie exactly at the threshold: weight 0, and a kink.
        empty: (R,) rows with nothing to attend to, or an empty ball.
        unsure: (R,) rows where more than one output is admissible (tied k-th key, kink at order 0).
        kink: (R,) rows whose Jacobian is not unique or not bounded.
        margin: (R, m) γ − d in the unit of scores; +inf at order ∞; negative off the support; −inf where masked.
        margin_unit: (R, m) how far an input error of one unit roundoff moves `margin`, over u.
        weights: (R, m) the weights in float64; they set the size of allowed errors and decide nothing.
        gradients: by argument or parameter name, in the shape of the argument; None without a cotangent.
    """

    output: Values
    support: Flags
    boundary: Flags
    empty: Flags
    unsure: Flags
    kink: Flags
    margin: Floats
    margin_unit: Floats
    weights: Floats
    gradients: dict[str, Values] | None = None


@dataclass(frozen=True)
class Call:
    """One call of a target: an op, or the vector-Jacobian product of one, on these inputs.

    Attributes:
        inputs: the arrays and options.
        mode: the op itself, or its vector-Jacobian product.
        order: another order than that of the case, as text; None for that of the case.
        axis: the axis of the logits along which the keys lie; other than −1 only if entmax has a parameter for it.
        equivalent: other inputs that must give the same result, so that their truth is the truth of this call; None
            if `inputs` have their own truth.
        per_row: numbers that differ from row to row, in place of those of the case: by "order", "h", "beta" or "gamma"
            an array that broadcasts to the shape of the scores with 1 in the place of the keys.
    """

    inputs: Inputs
    mode: Literal["forward", "vjp"] = "forward"
    order: str | None = None
    axis: int = -1
    equivalent: Inputs | None = None
    per_row: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a target did with a call: arrays (keyed "output", or by gradient name), or how it failed.

    Attributes:
        arrays: NumPy arrays (ml_dtypes for bfloat16 and float8) with the dtype, shape and bits that the target gave.
        error: None, or "ErrorType: first line" if it raised.
        crash: None, or how the worker ended (killed, timed out, died).
        modified: names of the inputs that the call changed.
        changed: the parts of the process state that the call changed, such as "the working directory".
        replaced: the functions of NumPy, PyTorch and JAX that the import of the target has replaced.
        overwritten: the names of what the first call of this mode returned, of the calls made together, that this call
            or one before it has changed; None if no returned object was kept.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    error: str | None = None
    crash: str | None = None
    modified: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    overwritten: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Contract:
    """What a target promises; the built-in backends promise grade A.

    Attributes:
        grade: the worst grade that still passes, A to E.
        nan: a row with a NaN logit: "nan" (whole row), "raise" (the call raises) or "any".
        posinf: a row with +inf: "nan", "limit", "raise" or "any".
        empty_row: a row with nothing to attend to: "zeros", "nan", "raise" or "any".
        flush_to_zero: subnormal results may be 0.
        scores: how ``−‖q − k‖²/2`` is computed: from "differences", or from "dots", which cancel where q and k are
            far from 0; it sets the unit of errors of regression and of attention with the key norm term.
        same: whether two equivalent calls give the same "bits", or results that each are within the "grade".
        causal: where the numbers of queries and keys differ, the last query sees every key ("bottom-right", as the op
            is defined), or the first query sees only the first key ("top-left").
        compute: the dtype in which the target computes; None for float32 where the dtype of the arrays has at most 16
            bits, and for that dtype otherwise. Errors are counted in units of its roundoff.
        roundings: the intermediate results, of `ROUNDINGS`, that the target stores in the dtype of the arrays; None
            for those that are usual for the op (docs/theory.md §4).
        deterministic: whether a repeated call gives the same bits; if not, each of several must be within the grade.
        reuses_output: a call may return the array that an earlier call returned, overwritten.
        masked_nonfinite: whether NaN and ∞ behind a mask, and numbers whose scores overflow there, must be "ignored",
            as finite ones must, or may do "any" thing.
    """

    grade: str = "C"
    nan: str = "nan"
    posinf: str = "any"
    empty_row: str = "any"
    flush_to_zero: bool = False
    scores: str = "dots"
    same: str = "grade"
    causal: str = "bottom-right"
    deterministic: bool = True
    reuses_output: bool = False
    masked_nonfinite: str = "any"
    compute: str | None = None
    roundings: tuple[str, ...] | None = None


ROUNDINGS = (
    "weights",
    "scores",
    "scaled_scores",
    "queries",
    "keys",
    "probabilities",
    "exponentials",
    "denominator",
    "unnormalized_output",
)
"""Intermediate results that a target may store in the dtype of the arrays (docs/theory.md §4)."""


CONTRACT_WORDS: Mapping[str, tuple[str, ...]] = {
    "grade": ("A", "B", "C", "D", "E"),
    "nan": ("nan", "raise", "any"),
    "posinf": ("nan", "limit", "raise", "any"),
    "empty_row": ("zeros", "nan", "raise", "any"),
    "scores": ("differences", "dots"),
    "same": ("grade", "bits"),
    "causal": ("bottom-right", "top-left"),
    "masked_nonfinite": ("ignored", "any"),
}
"""Field of `Contract` -> the words that it may be."""


@dataclass(frozen=True)
class Failure:
    """One comparison that failed, or the worst one that passed."""

    message: str
    index: tuple[int, ...] | None = None
    got: str | None = None
    expected: str | None = None
    ulp: float | None = None
    absolute: float | None = None
    kappa: float | None = None


@dataclass(frozen=True)
class Errors:
    """Errors of one output of one case, with one entry for each comparison that was made.

    Attributes:
        ulp: signed, in ulps of the dtype of the arrays.
        absolute: their size.
        kappa: condition-normalized.
        vacuous: the comparisons that decide nothing.
        resolution: the relative error that the comparison would have seen: what the promised grade allows, over the
            larger of the truth and the root mean square of its row.
        forced: the part of `resolution` that half an ulp and the declared roundings force.
    """

    ulp: Floats
    absolute: Floats
    kappa: Floats
    vacuous: Flags = field(default_factory=lambda: np.zeros(0, dtype=bool))
    resolution: Floats = field(default_factory=lambda: np.zeros(0))
    forced: Floats = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Judgement:
    """The result of one check for one case and target.

    Attributes:
        decided: the number of comparisons that were decided, passed or failed.
        undecided: the number of comparisons that could not be decided (kinks, admissible choices).
        vacuous: the number of comparisons that passed and decide nothing, because 0 would have passed as well.
        failures: the decided comparisons that failed, worst first, at most 5.
        failed: the number of all comparisons that failed.
        worst: the worst comparison, failed or not.
        errors: by output name, for the accuracy table.
        remarks: what the user should know although the contract allows it.
    """

    decided: int = 0
    undecided: int = 0
    vacuous: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()
    worst: Failure | None = None
    errors: dict[str, Errors] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


OPS = ("entmax", "weights", "regression", "attention")


RANKS: Mapping[str, int] = {"entmax": 1, "weights": 1, "regression": 4, "attention": 6}
"""The least number of sizes in the shape of a case of each op; see `Case.shape`."""


CRASH = "crash"
"""The id under which reports list, beside the checks, that a call ended the process of a target."""


ACCURACY = "accuracy"
"""The id of the check from which the accuracy table, and with it the grade, is made."""
