"""Special values: a row with NaN or +∞ is what the contract says, and affects no other row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import INFINITY
from kernelproof.verify.checks import Check
from kernelproof.verify.checks._claims import special_raises
from kernelproof.verify.judging.allowance import rounded_weights
from kernelproof.verify.judging.claims import Claim, Raises, Seen, elements
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.judging.grades import band_of
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.judging.slack import bounds_of, judge_flags
from kernelproof.verify.records import Array, Call, Contract, Flags, Floats, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


def _rows(array: Array, inputs: Inputs) -> Floats:
    flat: Floats = array.astype(np.float64).reshape(-1, array.shape[-1] if array.ndim and array.size else 1)
    return flat if inputs.rows is None or len(flat) <= inputs.rows.max(initial=-1) else flat[inputs.rows]


class SpecialValues(Check):
    """Judge rows with a special value, and compare the others with the call that has 0 in every special row.

    Both calls may be off by the slack of their grade. There is no truth here, so the condition of a weight is
    bounded by what came: p + w·2·(the largest gap of its row), with w = p^{1 − 1/n} (docs/theory.md §4). For y, where
    that needs the weights, equal bits pass, NaN fails, and other numbers are undecided.
    """

    id = "special_values"
    title = "NaN and +∞ stay in their row"
    fatal = True
    rank = 10
    independent = False

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call, and for one with 0 in the special rows."""
        if case.family != "special":
            return {}
        name, array = next(iter(inputs.arrays.items()))
        values = array.astype(np.float64)
        special = (np.isnan(values) | np.isposinf(values)).any(axis=-1, keepdims=True)
        clean = np.where(special, np.zeros((), array.dtype), array)
        arrays = {**inputs.arrays, name: clean}
        return {"forward": Call(inputs), "clean": Call(replace(inputs, arrays=arrays, cotangent=None))}

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge every element."""
        if (fault := broken(outcomes["clean"])) is not None:
            return fault
        raises = special_raises(inputs, contract)
        if raises is Raises.MUST and outcomes["forward"].error is None:
            return judge_flags(np.ones(1, bool), np.ones(1, bool), lambda _: "a row with NaN or +inf must raise")
        if raises in {Raises.MUST, Raises.MAY} and outcomes["forward"].error is not None:
            # As the contract has it, and the call without these rows does not raise.
            return Judgement(decided=1)
        if (fault := broken(outcomes["forward"])) is not None:
            return fault
        source = _rows(next(iter(inputs.arrays.values())), inputs)
        raw, clean = (_rows(outcomes[name].arrays["output"], inputs) for name in ("forward", "clean"))
        if raw.shape != clean.shape or len(raw) != len(source):
            return judge_flags(np.ones(1, bool), np.ones(1, bool), lambda _: f"the output has shape {raw.shape}")
        nan = np.asarray(np.isnan(source).any(axis=1))
        posinf = np.asarray(np.isposinf(source).any(axis=1) & ~nan)
        wrong, decided = np.zeros(raw.shape, dtype=bool), np.ones(raw.shape, dtype=bool)
        wrong[nan] = ~np.isnan(raw[nan])
        decided[nan] = contract.nan == "nan"
        wrong[posinf] = ~np.isnan(raw[posinf])
        decided[posinf] = contract.posinf == "nan"
        if contract.posinf == "limit" and raw.shape == source.shape:
            top = np.isposinf(source[posinf])
            wrong[posinf] = raw[posinf] != top / np.maximum(top.sum(axis=1, keepdims=True), 1)
            decided[posinf] = True
        other = np.asarray(~(nan | posinf))
        wrong[other], decided[other] = self._others(case, source[other], raw[other], clean[other], contract)

        def describe(index: tuple[int, ...]) -> str:
            row = index[0]
            kind = "holds NaN" if nan[row] else "holds +inf" if posinf[row] else "is next to a special row"
            return (
                f"output{list(index)} is {float(raw[index])!r}; its row {kind}, and alone it is {float(clean[index])!r}"
            )

        return judge_flags(wrong, decided, describe)

    def raises(self, name: str, call: Call, contract: Contract) -> Raises:
        """Go by the contract and the special values that the call has."""
        return special_raises(call.inputs, contract)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim the special rows as the contract has them, and the others by what the grade allows."""
        one, truth = seen["forward"], seen["clean"].truth
        raw = replace(one, truth=truth).rows
        if raw is None or truth is None:
            return
        source = np.asarray(next(iter(one.call.inputs.arrays.values()))).astype(np.float64)
        source = source.reshape(-1, source.shape[-1])
        for row in range(min(len(raw), len(source))):
            nan, posinf = bool(np.isnan(source[row]).any()), bool(np.isposinf(source[row]).any())
            top = np.isposinf(source[row])
            for key in range(raw.shape[1]):
                name, came = f"{one.variable}[{row}, {key}]", float(raw[row, key])
                if (nan and contract.nan == "nan") or (posinf and not nan and contract.posinf == "nan"):
                    yield Claim(name, math.nan, math.nan, math.nan, came)
                elif posinf and not nan and contract.posinf == "limit":
                    limit = float(top[key] / top.sum())
                    yield Claim(name, limit, limit, limit, came)
        bounds = bounds_of(case, truth, contract)
        other = np.asarray((np.isfinite(source) | np.isneginf(source)).all(axis=1))
        if len(other) == len(bounds.rows):
            decided = (bounds.rows & ~bounds.loose & other)[:, None]
            yield from elements(one.variable, raw, truth.output, bounds.slack, decided, FORMATS[case.dtype])

    def _others(
        self, case: Case, source: Floats, raw: Floats, clean: Floats, contract: Contract
    ) -> tuple[Flags, Flags]:
        equal = (raw == clean) & np.isfinite(raw)
        if case.op not in {"entmax", "weights"}:
            return ~np.isfinite(raw) & np.isfinite(clean), equal | ~np.isfinite(raw)
        order = float(case.kernel.order)
        precision = precision_of(case.dtype, contract, case.op)
        width = band_of(contract.grade, precision.unit)
        finite = np.where(np.isfinite(source), source, np.nan)
        reach = np.nanmax(finite, axis=1, keepdims=True) - np.nanmin(finite, axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            power = 1.0 if order == INFINITY else 1.0 - 1.0 / order if order else 0.0
            steep = np.where(clean > 0, clean**power, 0.0)
            unit = clean + 2.0 * steep * reach
            stored = rounded_weights(clean, precision)
            each = precision.half_ulp(np.where(np.isfinite(clean), clean, 0.0) + stored) + stored + precision.flushed
            slack = 2.0 * (width * precision.unit * unit + each)
            # A weight against none is at the threshold: there p is at most (κu·gap/n)^n, for each of the two calls.
            edge = (raw == 0) != (clean == 0)
            within = 4.0 * width * precision.unit * reach
            slack = np.where(edge & (0 < order < INFINITY), slack + (within / max(order, 1e-300)) ** order, slack)
            near = np.abs(raw - clean) <= slack
        return np.asarray(~(equal | near)), np.ones(raw.shape, dtype=bool)


CHECK = SpecialValues()
