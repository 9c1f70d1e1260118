"""Numbers for each row: a row with an order, α, β, γ or h of its own is what it is alone with that number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.reference.variant.definition import Variant
from kernelproof.reference.weighting import PARAMETERS
from kernelproof.verify.cases.builders import WITHOUT_INFINITY
from kernelproof.verify.checks import Check
from kernelproof.verify.checks.accuracy import CHECK as ACCURACY
from kernelproof.verify.checks.gradients import CHECK as GRADIENTS
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.judging.errors import broken
from kernelproof.verify.judging.pairs import merged
from kernelproof.verify.judging.row_gradients import SCORES
from kernelproof.verify.records import Array, Call, Contract, Failure, Inputs, Judgement, Outcome, Truth
from kernelproof.verify.truth.lookup import truth_for

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

ORDERS = {
    "orders from 2": ("2", "4"),
    "orders from 1": ("1", "2", "4"),
    "finite orders": ("2", "1", "4", "1/2"),
    "both sides": ("1", "inf", "-2", "2", "-4", "1/2"),
}
"""Name of a call -> its orders. A target is asked the calls whose orders it takes: powers of two, exact in every dtype,
as their α is."""
TIMES = (1.0, 2.0, 0.5, 1.5)
"""What the parameter of the rule is multiplied by."""
ROWS, KEYS = 24, 64
"""The most rows and keys of a case: every number needs a truth of its own."""


class PerRow(Check):
    """Call with several orders, then with several parameters of the rule, and judge each row at its own number.

    The numbers change along the last of the leading axes and are shared along the others, over which their gradients
    have to be summed.
    """

    id = "per_row"
    title = "A row with numbers of its own is what it is alone"
    fatal = False
    rank = 13
    independent = True
    declared = True

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for calls with each kind of numbers, and their vector-Jacobian products where there is a cotangent."""
        array = next(iter(inputs.arrays.values()))
        applies = case.op in {"entmax", "weights"} and case.family == "random" and inputs.rows is None
        if not applies or array.ndim < 2 or not array.size or array.shape[-1] > KEYS:
            return {}
        if array.size > ROWS * array.shape[-1] or array.shape[-2] < 2 or inputs.options:
            return {}
        found = {}
        for name, numbers in self._numbers(case, array).items():
            found[name] = Call(inputs, per_row=numbers)
            if inputs.cotangent is not None:
                found[f"{name}, differentiated"] = Call(inputs, "vjp", per_row=numbers)
        return found

    def _numbers(self, case: Case, array: Array) -> dict[str, dict[str, Array]]:
        """The numbers of each call, by name."""
        shape = (*(1 for _ in array.shape[:-2]), array.shape[-2], 1)
        found = {}
        for name, words in ORDERS.items():
            # float8_e4m3fn has no ∞.
            values = np.array([resolved(word) for word in words if word != "inf" or case.dtype not in WITHOUT_INFINITY])
            found[name] = {"order": np.resize(values, shape).astype(array.dtype)}
        rule = case.inner_rule
        if case.op == "weights" and not isinstance(rule, Variant):
            name = PARAMETERS[type(rule)]
            exact = float(rule.exact)
            held = np.resize(np.array(TIMES) * exact, shape)
            kept = np.array_equal(held.astype(array.dtype).astype(np.float64), held)
            found |= {name: {name: held.astype(array.dtype)}} if kept else {}
        return found

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge the rows of each number by its truth, and each entry of the gradient in the numbers."""
        if truth is None:
            return Judgement()
        parts = []
        for name, call in self.calls(case, inputs).items():
            if name in outcomes:
                given = None if truth.gradients is None else frozenset(truth.gradients)
                parts += list(_judged(case, call, outcomes[name], given, contract))
        return merged(parts)

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim nothing: the script runs the case again."""
        return iter(())


def resolved(word: str) -> float:
    """The order that `word` stands for."""
    numerator, _, denominator = word.partition("/")
    return float(numerator) / float(denominator or 1)


def _judged(
    case: Case, call: Call, outcome: Outcome, given: frozenset[str] | None, contract: Contract
) -> Iterator[Judgement]:
    (role, numbers), name = next(iter(call.per_row.items())), next(iter(call.inputs.arrays))
    scores = call.inputs.arrays[name]
    if (fault := broken(outcome)) is not None:
        yield _told(fault, f"with {role} for each row")
        return
    wanted = {"output": scores.shape} if call.mode == "forward" else {name: scores.shape, role: numbers.shape}
    if given is not None and role not in given:
        wanted.pop(role, None)
    for key, shape in wanted.items():
        got = outcome.arrays.get(key)
        if got is None or got.shape != shape:
            what = "the output" if key == "output" else f"the gradient in {key}"
            message = (
                f"with {role} for each row, {what} has the shape {None if got is None else got.shape}, not {shape}"
            )
            failure = Failure(message=message, kappa=float("inf"))
            yield Judgement(decided=1, failed=1, failures=(failure,), worst=failure)
            return
    size = scores.shape[-1]
    entry = np.broadcast_to(np.arange(numbers.size).reshape(numbers.shape), (*scores.shape[:-1], 1)).reshape(-1)
    for at, number in enumerate(numbers.astype(np.float64).ravel().tolist()):
        rows = np.flatnonzero(entry == at)
        own = _with(case, role, number, (len(rows), size))
        picked = {key: _rows(array, rows, size) for key, array in outcome.arrays.items() if array.shape == scores.shape}
        cotangent = call.inputs.cotangent
        inputs = replace(
            call.inputs,
            arrays={name: _rows(scores, rows, size)},
            cotangent=None if call.mode == "forward" or cotangent is None else _rows(cotangent, rows, size),
        )
        truth, _ = truth_for(own, inputs, contract)
        if truth is None:
            continue
        where = f"with {role} for each row, {number:g} in the rows {rows.tolist()}"
        if call.mode == "forward":
            yield _told(ACCURACY.judge(own, inputs, truth, {"forward": Outcome(picked)}, contract), where)
            continue
        kept = {key: each for key, each in (truth.gradients or {}).items() if key in wanted and key in {*SCORES, role}}
        if role in kept and role in outcome.arrays:
            picked[role] = outcome.arrays[role].reshape(-1)[at]
        told = GRADIENTS.judge(own, inputs, replace(truth, gradients=kept), {"vjp": Outcome(picked)}, contract)
        yield _told(told, where)


def _with(case: Case, role: str, number: float, shape: tuple[int, int]) -> Case:
    """The case of rows that share `number`."""
    text = "inf" if number == float("inf") else repr(number)
    if role == "order":
        return replace(case.at_order(text), shape=shape)
    *kept, _ = case.rule.split(":")
    return replace(case, rule=":".join([*kept, text]), shape=shape)


def _rows(array: Array, rows: Any, size: int) -> Array:
    return np.ascontiguousarray(array.reshape(-1, size)[rows])


def _told(judgement: Judgement, where: str) -> Judgement:
    """`judgement`, whose failures say `where`."""
    failures = tuple(replace(each, message=f"{where}: {each.message}") for each in judgement.failures)
    return replace(judgement, failures=failures, worst=failures[0] if failures else judgement.worst, errors={})


CHECK = PerRow()
