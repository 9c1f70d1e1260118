"""Lean: in short formats, errors do not lean towards the outputs of another temperature.

Rounding to 8 or 11 bits hides a scale that is wrong by a few thousandths in every single output. It does not hide it in
many: roundings go either way, and what a wrong scale adds follows ``t = ∂y/∂log β``. The check fits the errors of a
case by a multiple of t, weighted by the roundings of each output. Its standard error is that of the fit with errors of
unequal size, so that a few outputs alone prove nothing. Source: docs/theory.md §4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.model import Adaptive
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.allowance import allowance_of
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.judging.errors import near_kink
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.judging.slack import rows_of
from kernelproof.verify.records import Call, Contract, Failure, Floats, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.truth.temperature import by_log_beta

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

DTYPES = frozenset({"bfloat16", "float16"})
"""Shorter ones have too few digits for a fit: the errors of a case are not spread evenly."""
LIMIT = 8e-4
"""The slope that is allowed: right implementations in bfloat16 stay below 4e-4, a scale off by 0.002 is above 1e-3."""
CERTAIN = 5.0
"""How many standard errors a slope must be from 0."""
FEWEST = 64
"""Outputs that a fit needs."""
MOVED = 8.0
"""Half ulps by which an output must change as log β changes by 1: its rounding is then as good as random."""
CURVED = 2.0
"""How much more than all allowed roundings an output must change as log β changes by 1: it is then nearly linear."""
FEWEST_SEEN = CERTAIN**2
"""Independent observations that a fit needs, counted by their weight: of fewer, chance alone may give `CERTAIN`."""
MOST = 4096
"""Outputs that a fit uses, those that show most."""


@dataclass(frozen=True)
class Fit:
    """The slope of errors against ``∂y/∂log β``: ``Σ coefficients·(raw − truth)``, its standard error, and the mean.

    Attributes:
        places: (K, 2) the outputs that are used, by row and column.
        coefficients: (K,) of each.
        slope: the fitted change of log β.
        error: its standard error.
        mean: the mean signed error, in ulp.
        mean_error: its standard error.
    """

    places: NDArray[np.intp]
    coefficients: Floats
    slope: float
    error: float
    mean: float
    mean_error: float

    @property
    def leans(self) -> bool:
        """Whether the slope is larger than allowed, beyond doubt."""
        return abs(self.slope) > LIMIT and abs(self.slope) > CERTAIN * self.error


class Lean(Check):
    """Judge the slope of the errors of a case, in formats of at most 16 bits."""

    id = "lean"
    title = "Errors do not lean towards another temperature"
    fatal = False
    rank = 35
    independent = False
    silent = True

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one forward call, in formats that hide errors of single outputs."""
        applies = case.dtype in DTYPES and isinstance(case.inner_rule, Adaptive) and case.family != "special"
        return {"forward": Call(inputs)} if applies else {}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge one slope; cases of few outputs have none."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        fit = fit_of(case, inputs, truth, found[0], contract)
        if fit is None:
            return Judgement()
        message = (
            f"the errors follow ∂y/∂log β with the slope {fit.slope:.3g} ± {fit.error:.2g}, as if the scores were "
            f"multiplied by {1 + fit.slope:.5g}; their mean is {fit.mean:.2g} ± {fit.mean_error:.1g} ulp"
        )
        worst = Failure(message)
        return Judgement(decided=1, failed=int(fit.leans), failures=(worst,) if fit.leans else (), worst=worst)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim the sum of the outputs with the coefficients of the fit."""
        one = seen["forward"]
        raw, truth = one.rows, one.truth
        if raw is None or truth is None or (fit := fit_of(case, one.call.inputs, truth, raw, contract)) is None:
            return
        # Coefficients are shown with 5 digits; those that vanish so are left out, and the claim is of what is shown.
        shown = np.array([float(f"{c:.4e}") for c in fit.coefficients])
        at = tuple(fit.places.T)
        exact = float(shown @ truth.output.head[at])
        # The sum of K products in float64 is off by less than K roundings of the sum of their sizes.
        more = LIMIT + len(shown) * 2.0**-52 * float(np.abs(shown) @ np.abs(truth.output.head[at]))
        rows, keys = (part.tolist() for part in at)
        expression = f"float(np.dot({one.variable}[{rows}, {keys}], {shown.tolist()}))"
        yield Claim(expression, exact, exact - more, exact + more, float(shown @ raw[at]))


def fit_of(case: Case, inputs: Inputs, truth: Truth, raw: Floats, contract: Contract) -> Fit | None:
    """Fit the errors of the outputs `raw` (R, w); None if too few outputs depend on β."""
    if raw.size < FEWEST:
        return None
    precision = precision_of(case.dtype, contract, case.op)
    near = near_kink(truth, precision)
    near = near if near.shape == raw.shape else np.asarray(near.any(axis=1, keepdims=True))
    fixed = allowance_of(truth.output, precision).fixed
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        t = by_log_beta(case, inputs, truth)
        off = (raw - truth.output.head) - truth.output.tail
        used = ~(truth.empty | truth.unsure)[:, None] & ~near & np.isfinite(off) & np.isfinite(t / fixed) & (t != 0)
        # Beyond the format and among its subnormal numbers, errors are not those of rounding a number: 0 for y leans.
        size = np.abs(truth.output.head)
        used &= (size < precision.storage.largest) & (size >= 2.0**precision.storage.emin)
        # Nor are they where β hardly moves y: numbers that all round to one have errors that follow them.
        used &= np.abs(t) >= MOVED * precision.half_ulp(truth.output.head)
        # Nor where stored scores of thousands are rounded by more than their differences: what is left follows t.
        used &= np.abs(t) >= CURVED * fixed
    places = np.argwhere(used)
    if len(places) < FEWEST:
        return None
    t, off, fixed = t[used], off[used], fixed[used]
    power = np.abs(t / fixed)
    if len(places) > MOST:
        best = np.sort(np.argsort(-power, kind="stable")[:MOST])
        places, t, off, fixed, power = places[best], t[best], off[best], fixed[best], power[best]
    # Few outputs, such as those next to a threshold, would outweigh all others and prove nothing by themselves.
    cap = float(np.sort(power)[-FEWEST])
    weight = np.minimum(power / cap, 1.0) ** 2
    total = float(weight.sum())
    coefficients = weight / t / total
    slope = float(coefficients @ off)
    # Outputs of a row share the errors of its scores where those are stored, and equal outputs share their rounding:
    # they count as one observation.
    rows, columns = places.T
    keys = truth.output.head[rows, 0 if np.any(truth.output.stored) else columns]
    groups = np.unique(keys, return_inverse=True)[1].reshape(-1)
    share = np.bincount(groups, weights=weight / total)
    if 1.0 / float((share**2).sum()) < FEWEST_SEEN:
        return None
    spread = float(np.sqrt((np.bincount(groups, weights=coefficients * (off - slope * t)) ** 2).sum()))
    # Errors that are all 0 or equal say nothing of their spread: each is known to half an ulp at best.
    least = float(np.sqrt(((coefficients * fixed) ** 2).sum())) / 3
    ulps = off / fixed / 2
    return Fit(
        places,
        coefficients,
        slope,
        max(spread, least),
        float(ulps.mean()),
        float(ulps.std() / np.sqrt(len(ulps))),
    )


CHECK = Lean()
