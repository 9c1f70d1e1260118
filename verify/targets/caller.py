"""Call a loaded target: a call becomes an outcome, and so does an exception of the target."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from kernelproof.reference.errors import TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.importing import first_line
from kernelproof.verify.records import Array, Call, Outcome
from kernelproof.verify.targets.arrays import give, picked, same_bits, take
from kernelproof.verify.targets.declaration import PARAMETERS
from kernelproof.verify.targets.loading import PROGRAM, load
from kernelproof.verify.targets.program import ProgramCaller
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.targets.target import Target, bindings_of

CARRIES_NONE = "the output carries no gradient"
_Arrays = dict[str, Any]


class Calling(Protocol):
    """A loaded target that a worker can call."""

    target: Target

    def __call__(self, case: Case, call: Call) -> Outcome:
        """What the target does with `call`."""


def caller(target: Target) -> Calling:
    """Load `target` for calls in a worker.

    Raises:
        TargetError: it cannot be loaded, bound or found.
    """
    return ProgramCaller(target) if target.place.name.startswith(PROGRAM) else Caller(target)


class Caller:
    """A loaded target.

    Raises:
        TargetError: it cannot be loaded or bound.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.found, module = load(target.place)
        self.bound = bindings_of(self.found, module, target.place)

    def __call__(self, case: Case, call: Call) -> Outcome:
        """What the target does with `call`."""
        target, case = self.target, case_of(case, call)
        inputs = {name: give(array, target.array_library, target.device) for name, array in call.inputs.arrays.items()}
        options = {name: self._option(value) for name, value in call.inputs.options.items()}
        # A check asks for gradients only where there is a cotangent.
        wanted = call.inputs.cotangent if call.mode == "vjp" else None
        upstream = None if wanted is None else give(wanted, target.array_library, target.device)
        given = {**inputs, **{name: value for name, value in options.items() if hasattr(value, "dtype")}}
        if upstream is not None:
            given["cotangent"] = upstream
        try:
            if call.mode == "vjp":
                found = self._vjp(case, inputs, options, upstream)
                # A copy: a target may return the same buffer from its next call.
                # Names of any type would have no order.
                arrays = {str(name): take(value, target.array_library).copy() for name, value in found.items()}
                arrays |= _other_number(case, arrays)
            else:
                output = self._forward(case, inputs, options, axis=call.axis)
                arrays = {"output": take(output, target.array_library).copy()}
        except MemoryError as error:
            return Outcome(crash=f"out of memory ({first_line(error)})")
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a target raises is a result)
            if type(error).__name__ == "OutOfMemoryError":
                return Outcome(crash=f"out of memory ({first_line(error)})")
            return Outcome(error=first_line(error), modified=self._modified(given, call))
        return Outcome(arrays=arrays, modified=self._modified(given, call))

    def _option(self, value: Any) -> Any:
        return give(value, self.target.array_library, self.target.device) if hasattr(value, "dtype") else value

    def _modified(self, given: _Arrays, call: Call) -> tuple[str, ...]:
        """Names of the arrays, including options and the cotangent, whose content the call has changed."""
        before = {**call.inputs.arrays, **call.inputs.options, "cotangent": call.inputs.cotangent}
        return tuple(
            name for name, now in given.items() if not same_bits(take(now, self.target.array_library), before[name])
        )

    def _forward(
        self,
        case: Case,
        inputs: _Arrays,
        options: _Arrays,
        numbers: Mapping[str, Any] | None = None,
        axis: int = -1,
    ) -> Any:
        """Call the function and return its output; `numbers` replace the numbers of the case, by role."""
        function, binding, said = self.bound[case.op]
        called = binding.call(case, inputs, options, numbers, axis)
        assert called is not None  # `Scope.refuses` has seen to it
        positional, keywords = called
        return picked(function(*positional, **keywords), said.output)

    def _vjp(self, case: Case, inputs: _Arrays, options: _Arrays, cotangent: Any) -> _Arrays:
        if callable(getattr(self.found, "vjp", None)):
            binding = self.bound[case.op][1]
            called = binding.call(case, inputs, options)
            assert called is not None  # `Scope.refuses` has seen to it
            return dict(self.found.vjp(case.op, cotangent, *called[0], **called[1]))
        scope = self.target.scope(case.op)
        wanted = () if scope is None or scope.gradients is None else scope.gradients
        leaves = {name: array for name, array in inputs.items() if name in wanted}
        numbers = {
            role: _as_array(value, next(iter(inputs.values())), self.target.array_library)
            for role, value in self.bound[case.op][1].numbers(case).items()
            if role in wanted
        }
        differentiate = _by_torch if self.target.array_library == "torch" else _by_jax
        return differentiate(
            lambda held, told: self._forward(case, {**inputs, **held}, options, told), leaves, numbers, cotangent
        )


def _as_array(value: float, like: Any, kind: str) -> Any:
    """A number as a differentiable 0-d array in the dtype of `like`; with torch in float64 if that does not hold it."""
    if kind == "torch":
        torch = import_module("torch")
        narrow = torch.tensor(float(value), dtype=like.dtype, device=like.device)
        exact = float(narrow) == float(value)
        return narrow if exact else torch.tensor(float(value), dtype=torch.float64, device=like.device)
    return import_module("jax.numpy").asarray(float(value), dtype=like.dtype)


def _by_torch(function: Any, leaves: _Arrays, numbers: _Arrays, cotangent: Any) -> _Arrays:
    held = {name: leaf.requires_grad_(True) for name, leaf in {**leaves, **numbers}.items()}
    output = function({name: held[name] for name in leaves}, {name: held[name] for name in numbers})
    if not getattr(output, "requires_grad", False):
        msg = f"{CARRIES_NONE}; a target that gives none declares gradients = []"
        raise TargetError(msg)
    output.backward(cotangent)
    return {name: leaf.grad for name, leaf in held.items() if leaf.grad is not None}


def _by_jax(function: Any, leaves: _Arrays, numbers: _Arrays, cotangent: Any) -> _Arrays:
    jax = import_module("jax")
    _, pull = jax.vjp(function, leaves, numbers)
    arrays, scalars = pull(cotangent)
    return {**arrays, **scalars}


def _other_number(case: Case, found: Mapping[str, Array]) -> dict[str, Array]:
    """Convert between the gradients in the order and in α by ``dα/dn = −1/n²``, which is 0 at order ∞."""
    wanted = "order" if case.alpha is None else "alpha"
    order = float(case.kernel.order)
    if wanted in found or not set(found) & set(PARAMETERS[:2]) or order == 0 or (order, wanted) == (np.inf, "alpha"):
        return {}
    other = np.asarray(found["alpha" if wanted == "order" else "order"], dtype=np.float64)
    return {wanted: np.asarray(-other / order**2 if wanted == "order" else -other * order**2)}
