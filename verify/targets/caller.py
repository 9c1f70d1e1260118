"""Call a loaded target: a call becomes an outcome, and so does an exception of the target."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import each_once
from kernelproof.verify.importing import first_line
from kernelproof.verify.records import Array, Call, Outcome
from kernelproof.verify.targets.arrays import HALF, as_leaf, differentiated, give, picked, same_bits, take, transposed
from kernelproof.verify.targets.declaration import BHTD, PARAMETERS
from kernelproof.verify.targets.kept import Kept
from kernelproof.verify.targets.loading import PROGRAM, load
from kernelproof.verify.targets.program import ProgramCaller
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.targets.target import Target, bindings_of

_Arrays = dict[str, Any]


class Calling(Protocol):
    """A loaded target that a worker can call."""

    target: Target

    def __call__(self, case: Case, call: Call) -> Outcome:
        """What the target does with `call`."""

    def keep(self, *, together: bool) -> None:
        """Say that the next calls are made `together`, or that those that were are done."""


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
        self._kept: Kept | None = None

    def keep(self, *, together: bool) -> None:
        """See `Calling`: what is returned is kept from the first to the last of these calls, and no longer."""
        self._kept = Kept(self.target.array_library) if together else None

    def __call__(self, case: Case, call: Call) -> Outcome:
        """What the target does with `call`."""
        outcome = self._made(case, call)
        return outcome if self._kept is None else replace(outcome, overwritten=self._kept.overwritten(call.mode))

    def _made(self, case: Case, call: Call) -> Outcome:
        target, case = self.target, case_of(case, call)
        layout = target.layout(case.op)
        call = laid(call, layout)
        copied = partial(give, kind=target.array_library, device=target.device)
        # Keys that are the queries are passed as one array, unless both need gradients of their own.
        held = call.inputs.arrays
        inputs = {name: copied(held[name]) for name in held} if call.mode == "vjp" else each_once(copied, held)
        options = {name: self._option(value) for name, value in call.inputs.options.items()}
        # A check asks for gradients only where there is a cotangent.
        wanted = call.inputs.cotangent if call.mode == "vjp" else None
        upstream = None if wanted is None else give(wanted, target.array_library, target.device)
        given = {**inputs, **{name: value for name, value in options.items() if hasattr(value, "dtype")}}
        if upstream is not None:
            given["cotangent"] = upstream
        each = {role: copied(array) for role, array in self._each(case.op, call).items()}
        try:
            if call.mode == "vjp":
                # Names of any type would have no order.
                found = {str(name): value for name, value in self._vjp(case, inputs, options, upstream, each).items()}
            else:
                found = {"output": self._forward(case, inputs, options, axis=call.axis, each=each)}
            # A copy: a target may return the same buffer from its next call.
            arrays = {name: take(value, target.array_library).copy() for name, value in found.items()}
            if self._kept is not None:
                self._kept.keep(call.mode, found, dict(arrays))
            if call.mode == "vjp":
                arrays |= _other_number(case, arrays) if "order" not in call.per_row else _orders(call, arrays)
        except MemoryError as error:
            return Outcome(crash=f"out of memory ({first_line(error)})")
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a target raises is a result)
            if type(error).__name__ == "OutOfMemoryError":
                return Outcome(crash=f"out of memory ({first_line(error)})")
            return Outcome(error=first_line(error), modified=self._modified(given, call))
        turned = {*call.inputs.arrays, "output"}
        arrays = {name: transposed(array, layout) if name in turned else array for name, array in arrays.items()}
        return Outcome(arrays=arrays, modified=self._modified(given, call))

    def _each(self, op: str, call: Call) -> dict[str, Array]:
        """The numbers for each row by the role of the parameter that takes them: an order may be passed as α."""
        found = dict(call.per_row)
        roles = self.bound[op][1].roles
        if "order" in found and not {"order", "kernel"} & roles:
            order = found.pop("order")
            found["alpha"] = (1 + 1 / order.astype(np.float64)).astype(order.dtype)
        return found

    def _option(self, value: Any) -> Any:
        return give(value, self.target.array_library, self.target.device) if hasattr(value, "dtype") else value

    def _modified(self, given: _Arrays, call: Call) -> tuple[str, ...]:
        """Names of the arrays, including options and the cotangent, whose content the call has changed."""
        before = {**call.inputs.arrays, **call.inputs.options, "cotangent": call.inputs.cotangent}
        kind = self.target.array_library
        return tuple(
            name for name, now in given.items() if not same_bits(take(now, kind), _as_given(before[name], kind))
        )

    def _forward(
        self,
        case: Case,
        inputs: _Arrays,
        options: _Arrays,
        numbers: Mapping[str, Any] | None = None,
        axis: int = -1,
        each: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function and return its output; `numbers`, and `each` for each row, replace those of the case."""
        function, binding, said = self.bound[case.op]
        called = binding.call(case, inputs, options, numbers, axis, per_row=each)
        assert called is not None  # `Scope.refuses` has seen to it
        positional, keywords = called
        return picked(function(*positional, **keywords), said.output)

    def _vjp(self, case: Case, inputs: _Arrays, options: _Arrays, cotangent: Any, each: _Arrays) -> _Arrays:
        if callable(getattr(self.found, "vjp", None)):
            binding = self.bound[case.op][1]
            called = binding.call(case, inputs, options, per_row=each)
            assert called is not None  # `Scope.refuses` has seen to it
            return dict(self.found.vjp(case.op, cotangent, *called[0], **called[1]))
        scope = self.target.scope(case.op)
        wanted = () if scope is None or scope.gradients is None else scope.gradients
        offered = () if scope is None or each else scope.offered
        if offered:
            # At order ∞ the order and α = 1 are ends of their ranges, where formulas have ∞·0.
            finite = case.kernel.order < np.inf or not {"order", "alpha"} & set(offered)
            if finite and (self.target.array_library == "torch" or case.dtype not in HALF):
                with suppress(Exception):  # nothing promises that it takes an array for a number
                    return self._differentiated(case, inputs, options, cotangent, wanted, offered)
            wanted = tuple(name for name in wanted if name not in offered)
            if self.target.array_library == "torch":
                for leaf in inputs.values():
                    leaf.grad = None
        return self._differentiated(case, inputs, options, cotangent, wanted, each=each)

    def _differentiated(
        self,
        case: Case,
        inputs: _Arrays,
        options: _Arrays,
        cotangent: Any,
        wanted: tuple[str, ...],
        wide: tuple[str, ...] = (),
        each: Mapping[str, Any] | None = None,
    ) -> _Arrays:
        """Differentiate by the arrays and numbers in `wanted`; those in `wide` are given as wide as may be.

        Those in `each`, for each row, are given as they are.
        """
        leaves = {name: array for name, array in inputs.items() if name in wanted}
        like, kind = next(iter(inputs.values())), self.target.array_library
        numbers = {
            role: as_leaf(value, like, kind, wide=role in wide)
            for role, value in self.bound[case.op][1].numbers(case).items()
            if role in wanted and not each
        }
        numbers |= {role: array for role, array in (each or {}).items() if role in wanted}
        return differentiated(
            kind,
            lambda held, told: self._forward(case, {**inputs, **held}, options, told, each={**(each or {}), **told}),
            leaves,
            numbers,
            cotangent,
        )


def laid(call: Call, layout: str) -> Call:
    """Return `call` with its arrays and its cotangent in the `layout` of the target."""
    if layout == BHTD:
        return call
    given = call.inputs
    arrays = each_once(partial(transposed, layout=layout), given.arrays)
    upstream = None if given.cotangent is None else transposed(given.cotangent, layout)
    return replace(call, inputs=replace(given, arrays=arrays, cotangent=upstream))


def _as_given(array: Array, kind: str) -> Array:
    """Return `array` as JAX holds it: without its 64-bit mode, it makes int64 int32 on the way in."""
    return take(give(array, "jax", "cpu"), "jax") if kind == "jax" else array


def _orders(call: Call, found: Mapping[str, Array]) -> dict[str, Array]:
    """The gradient in the orders of the rows, if the target has given that in α."""
    if "alpha" not in found or found["alpha"].shape != call.per_row["order"].shape:
        return {}
    order, by_alpha = call.per_row["order"].astype(np.float64), found["alpha"].astype(np.float64)
    return {"order": np.where(np.isinf(order), 0.0, -by_alpha / order**2)}


def _other_number(case: Case, found: Mapping[str, Array]) -> dict[str, Array]:
    """Convert between the gradients in the order and in α by ``dα/dn = −1/n²``, which is 0 at order ∞."""
    wanted = "order" if case.alpha is None else "alpha"
    order = float(case.kernel.order)
    if wanted in found or not set(found) & set(PARAMETERS[:2]) or order == 0 or (order, wanted) == (np.inf, "alpha"):
        return {}
    other = np.asarray(found["alpha" if wanted == "order" else "order"], dtype=np.float64)
    return {wanted: np.asarray(-other / order**2 if wanted == "order" else -other * order**2)}
