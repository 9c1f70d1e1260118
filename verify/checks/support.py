"""Support: a weight is positive exactly where that is proved, except for keys that rounding may move across."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.model import Nearest
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.claims import Claim, Seen, rounded
from kernelproof.verify.judging.precision import Precision, precision_of
from kernelproof.verify.judging.slack import Bounds, bounds_of, forward_of_weights, judge_flags, rows_of
from kernelproof.verify.records import Call, Contract, Flags, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class Support(Check):
    """Judge which weights are positive.

    A key is undecided in the rounding band, where the margin is at most κ·u·margin_unit for the κ of `band_of`,
    and where its weight is positive but below what that κ allows as an error, so that 0 is admissible. What is
    negative or not finite is neither in a support nor out of it: no rounding excuses that, in the band or outside.
    Where keys are tied at the last one that `Nearest` keeps, any of them may stay, but no more than it keeps, and no
    fewer than have weights here: tied keys have equal weights, so another choice has as many.
    """

    id = "support"
    title = "The support is the proved one, outside the rounding band"
    fatal = True
    rank = 40
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for one forward call, for ops that return weights."""
        return forward_of_weights(case, inputs)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every key."""
        if truth is None:
            return Judgement()
        found = rows_of(outcomes, ("forward",), truth, inputs, contract)
        if isinstance(found, Judgement):
            return found
        raw = found[0]
        bounds = bounds_of(case, truth, contract)
        clear = _clear(truth, bounds, precision_of(case.dtype, contract, case.op))
        decided = clear & bounds.rows[:, None]
        no_weight = ~np.isfinite(raw) | (raw < 0)
        decided |= no_weight & bounds.rows[:, None]
        wrong = no_weight | ((raw > 0) != truth.support)
        most = _most(case)
        crowded = _crowded(raw, most)
        lacking = _lacking(raw, truth, clear, most)
        wrong |= crowded | lacking
        decided |= crowded | lacking

        def describe(index: tuple[int, ...]) -> str:
            if no_weight[index]:
                return f"weight{list(index)} is {float(raw[index])!r}: a weight is positive or 0, and finite"
            if crowded[index]:
                count = int((raw[index[0]] > 0).sum())
                return f"row {index[0]} has {count} positive weights, but the rule keeps {most} keys, however many tie"
            if lacking[index] and not bounds.rows[index[0]]:
                count, least = int((raw[index[0]] > 0).sum()), int((truth.support & clear)[index[0]].sum())
                return (
                    f"row {index[0]} has {count} positive weights, but {least} keys are kept whichever tied ones stay"
                )
            side = "in" if truth.support[index] else "not in"
            return f"weight{list(index)} is {float(raw[index])!r}, but the key is {side} the support"

        return judge_flags(wrong, decided, describe)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim that every weight is 0 or positive, as proved; one that is not decided may be either."""
        one, precision = seen["forward"], precision_of(case.dtype, contract, case.op)
        raw, truth = one.rows, one.truth
        if raw is None or truth is None:
            return
        most = _most(case)
        for row in np.flatnonzero(_crowded(raw, most).any(axis=1)):
            assert most is not None  # otherwise no row is crowded
            count = float((raw[row] > 0).sum())
            yield Claim(f"({one.variable}[{row}] > 0).sum()", float(most), 0.0, float(most), count)
        bounds = bounds_of(case, truth, contract)
        target = precision.storage
        clear = _clear(truth, bounds, precision)
        for row in np.flatnonzero(_lacking(raw, truth, clear, most).any(axis=1) & ~bounds.rows):
            least, count = float((truth.support & clear)[row].sum()), float((raw[row] > 0).sum())
            yield Claim(f"({one.variable}[{row}] > 0).sum()", least, least, float(raw.shape[1]), count)
        for row, key in np.argwhere((clear | ~np.isfinite(raw) | (raw < 0)) & bounds.rows[:, None]):
            inside, decided = bool(truth.support[row, key]), bool(clear[row, key])
            low = float(target.smallest) if decided and inside else 0.0
            high = 0.0 if decided and not inside else target.largest
            expected = rounded(float(truth.output.head[row, key]), float(truth.output.tail[row, key]), target)
            yield Claim(f"{one.variable}[{row}, {key}]", expected, low, high, float(raw[row, key]))


def _most(case: Case) -> int | None:
    """The number of keys that the rule keeps at most; None if it sets none."""
    rule = case.parsed_rule
    return rule.k if isinstance(rule, Nearest) else None


def _crowded(raw: Floats, most: int | None) -> Flags:
    """(R, m) the positive weights of rows that have more than `most` of them: which of tied keys stay is free."""
    positive = raw > 0
    crowded = np.zeros(len(raw), dtype=bool) if most is None else positive.sum(axis=1) > most
    return np.asarray(positive & crowded[:, None])


def _lacking(raw: Floats, truth: Truth, clear: Flags, most: int | None) -> Flags:
    """(R, m) keys without weight in rows with ties at the last kept key that have fewer positive weights than proved.

    The choice of tied keys permutes equal weights, so the number of those that no rounding makes 0 is that of any.
    """
    inside = truth.support & clear
    few = (raw > 0).sum(axis=1) < inside.sum(axis=1)
    short = few & truth.unsure & ~truth.empty if most is not None else np.zeros(len(raw), dtype=bool)
    return np.asarray(inside & ~(raw > 0) & short[:, None])


def _clear(truth: Truth, bounds: Bounds, precision: Precision) -> Flags:
    """(R, m) keys whose weight no rounding can move into the support or out of it."""
    with np.errstate(invalid="ignore", over="ignore"):
        band = bounds.width * precision.unit * truth.margin_unit
        clear = (np.abs(truth.margin) > band) | np.isinf(truth.margin)
    vanishing = truth.support & (truth.output.head <= bounds.band)
    return np.asarray(clear & ~truth.boundary & ~vanishing)


CHECK = Support()
