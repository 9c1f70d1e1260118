"""Dtype and shape kept: outputs and gradients have the dtype of the inputs, and the shape that the op defines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.checks import Check
from kernelproof.verify.judging.claims import Claim, Evidence, Raises, Seen, flag
from kernelproof.verify.judging.slack import forward_and_vjp, judge_flags
from kernelproof.verify.records import Array, Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class DtypeKept(Check):
    """Compare every array that came with what it must be; gradients in parameters are 0-d, of any floating dtype."""

    id = "dtype_kept"
    title = "Outputs and gradients keep dtype and shape"
    fatal = False
    rank = 70
    independent = False
    evidence = Evidence.ARRAYS

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """Ask for the base call, and for the vector-Jacobian product where there is one."""
        return forward_and_vjp(inputs)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Judge the dtype and the shape of every array."""
        messages: list[str] = []
        wrong: list[bool] = []
        undecided = 0

        def compare(label: str, array: Array, dtype: str | None, shape: tuple[int, ...]) -> None:
            wrong.append(array.shape != shape or (dtype is not None and array.dtype.name != dtype))
            messages.append(f"{label} is {array.dtype.name}{list(array.shape)}, not {dtype or 'floating'}{list(shape)}")

        for call, outcome in outcomes.items():
            if outcome.error is not None:
                undecided += 1
                continue
            if call == "forward":
                compare("the output", outcome.arrays["output"], case.dtype, output_shape(case, inputs))
                continue
            for name, array in outcome.arrays.items():
                known = inputs.arrays.get(name)
                shape = () if known is None else known.shape
                compare(f"the gradient of {name}", array, None if known is None else case.dtype, shape)
        flags = np.array(wrong, dtype=bool)
        said = judge_flags(flags, np.ones_like(flags), lambda index: messages[index[0]])
        return replace(said, undecided=undecided)

    def raises(self, name: str, call: Call, contract: Contract) -> Raises:
        """Leave it to other checks whether a call may raise."""
        return Raises.MAY

    def claims(self, case: Case, seen: Mapping[str, Seen], contract: Contract) -> Iterator[Claim]:
        """Claim the shape and the dtype of everything that came."""
        for one in seen.values():
            output = output_shape(case, one.call.inputs)
            for name, array in one.outcome.arrays.items():
                known = one.call.inputs.arrays.get(name)
                shape = output if one.call.mode == "forward" else () if known is None else known.shape
                held = f"{one.variable}_raw"
                if one.call.mode == "vjp":
                    # A correct target need not return gradients in parameters.
                    held += f'.get("{name}", 0.0)' if known is None else f'["{name}"]'
                yield flag(f"tuple(np.shape({held})) == {shape!r}", came=array.shape == shape)
                if one.call.mode == "forward" or known is not None:
                    named = f'str(getattr({held}, "dtype", type({held}))).removeprefix("torch.") == "{case.dtype}"'
                    yield flag(named, came=array.dtype.name == case.dtype)


CHECK = DtypeKept()
