"""Dtype and shape kept: outputs and gradients have the dtype of the inputs, and the shape that the op defines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.judging.slack import forward_and_vjp, judge_flags
from kernelproof.verify.records import Array, Call, Contract, Inputs, Judgement, Outcome, Truth

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


class DtypeKept:
    """One comparison an array that came; gradients of parameters are 0-d and of any floating dtype."""

    id = "dtype_kept"
    title = "Outputs and gradients keep dtype and shape"

    def calls(self, case: Case, inputs: Inputs) -> dict[str, Call]:
        """The base call, and the vector-Jacobian product where there is one."""
        return forward_and_vjp(inputs)

    def judge(
        self, case: Case, inputs: Inputs, truth: Truth | None, outcomes: dict[str, Outcome], contract: Contract
    ) -> Judgement:
        """Dtype and shape."""
        messages: list[str] = []
        wrong: list[bool] = []
        undecided = 0

        def compare(label: str, array: Array, dtype: str | None, shape: tuple[int, ...]) -> None:
            wrong.append(array.shape != shape or (dtype is not None and array.dtype.name != dtype))
            messages.append(f"{label} is {array.dtype.name}{list(array.shape)}, not {dtype or 'floating'}{list(shape)}")

        for call, outcome in outcomes.items():
            if outcome.error is not None:
                # Whether a call may raise is for other checks to judge.
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


CHECK = DtypeKept()
