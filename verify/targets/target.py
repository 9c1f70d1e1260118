"""Targets: the implementations that are verified, as the parent and the workers see them.

`find` reads the text of a target without importing anything; `describe` imports it, which happens in a worker
process because an import may crash; a `Caller` lives in a worker and turns calls into outcomes. The calls that a target
accepts are data, one `Scope` for each op, so that the parent can refuse cases without loading the target.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from kernelproof.reference.errors import TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.rules import in_ranges, kernel_of, order_of
from kernelproof.verify.cases.suites import ORDERS, Selection
from kernelproof.verify.cases.variant_names import variant_at
from kernelproof.verify.importing import answer_of, attribute
from kernelproof.verify.process.limits import watchdog
from kernelproof.verify.records import OPS, Call, Contract
from kernelproof.verify.targets.arrays import KINDS, Kind
from kernelproof.verify.targets.binding import ARRAYS, Binding, Bound, bind
from kernelproof.verify.targets.declaration import BHTD, DEVICES, PARAMETERS, Declaration, declared, read
from kernelproof.verify.targets.loading import BUILT_IN, PROGRAM, Place, array_kind, devices_of, find, load
from kernelproof.verify.targets.probing import Probe, note_of, offered_gradients, probed, refused_extras
from kernelproof.verify.targets.program import scopes_of, words_of
from kernelproof.verify.targets.scope import Scope, case_of

_DTYPES: Mapping[Kind, tuple[str, ...]] = {
    "numpy": ("float64", "float32"),
    "torch": ("float64", "float32", "float16", "bfloat16"),
    "jax": ("float32", "float16", "bfloat16"),
    "cupy": ("float64", "float32"),
}
_BUILT_IN = Contract(grade="A", posinf="nan", scores="differences", masked_nonfinite="ignored", roundings=())
"""What the built-in backends promise."""
_OF_BUILT_IN = Declaration(orders=("-inf..inf",), per_row=PARAMETERS)
"""What they take."""
_PROBED = ("2", "1", "3", *ORDERS)
"""Orders at which a function is probed, the first of them that it takes: at 2 no kink is near."""
_AUTOMATIC = frozenset({"torch", "jax"})
"""Array libraries with automatic differentiation."""


@dataclass(frozen=True)
class Form:
    """What the object of a target is: how a script gets it and differentiates through it.

    Attributes:
        made: whether it is an instance of the class that the place names, made without arguments.
        module: whether it is a module.
        own_vjp: whether it has vector-Jacobian products of its own, instead of those of autograd.
    """

    made: bool = False
    module: bool = False
    own_vjp: bool = False


@dataclass(frozen=True)
class Target:
    """One implementation on one device.

    Attributes:
        place: where it is.
        device: "cpu" or "cuda".
        array_library: the library whose arrays it computes on.
        scopes: the calls that it accepts, one scope for each op.
        contract: what it promises.
        promised: whether the target itself states its grade, rather than getting the default.
        note: a remark for the report.
        bound: how each op is called; empty for a program.
        form: what its object is.
    """

    place: Place
    device: str
    array_library: Kind
    scopes: tuple[Scope, ...]
    contract: Contract = field(default_factory=Contract)
    promised: bool = False
    note: str = ""
    bound: tuple[Bound, ...] = ()
    form: Form = field(default_factory=Form)

    @property
    def name(self) -> str:
        """The text that named it."""
        return self.place.name

    @property
    def ops(self) -> tuple[str, ...]:
        """The ops it has."""
        return tuple(scope.op for scope in self.scopes)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that some op takes."""
        return tuple(dict.fromkeys(dtype for scope in self.scopes for dtype in scope.dtypes))

    def layout(self, op: str) -> str:
        """The order of the axes of its arrays, one of `LAYOUTS`."""
        scope = self.scope(op)
        return BHTD if scope is None else scope.layout

    @property
    def is_program(self) -> bool:
        """Whether it is a program, which speaks the protocol of docs/exec.md."""
        return self.place.name.startswith(PROGRAM)

    def binding(self, op: str) -> Bound:
        """How it computes `op`."""
        return next(each for each in self.bound if each.op == op)

    def scope(self, op: str) -> Scope | None:
        """The scope of `op`; None if the target has no such op."""
        return next((scope for scope in self.scopes if scope.op == op), None)

    def refuses(self, case: Case) -> str | None:
        """Why this target cannot be called with `case`, or None."""
        scope = self.scope(case.op)
        return f"the target has no op {case.op}" if scope is None else scope.refuses(case)

    def answers(self, case: Case, call: Call) -> bool:
        """Whether this target accepts `call`, which a check of `case` asks for."""
        scope = self.scope(case.op)
        if scope is None or (call.mode == "vjp" and scope.gradients == ()) or (call.axis != -1 and not scope.axis):
            return False
        if scope.refuses_inputs(call.inputs) is not None:
            return False
        if call.per_row:
            return not self.is_program and scope.refuses_each(call.per_row) is None
        if call.order is None:
            return True
        other = case_of(case, call)
        said = not scope.asked or other.kernel.order in scope.asked
        return said and not scope.fixed and self.refuses(other) is None

    @property
    def order_unknown(self) -> bool:
        """Whether it computes a single order of some op, and this order is not declared."""
        return any(scope.order_unknown for scope in self.scopes)

    def with_order(self, order: str | None, alpha: str | None) -> Target:
        """Return this target with the order or α that the user states, for the ops whose order is unknown."""
        scopes = [replace(scope, order=order, alpha=alpha) if scope.order_unknown else scope for scope in self.scopes]
        return replace(self, scopes=tuple(scopes))

    def within(self, selection: Selection) -> Target:
        """Return this target restricted to the orders of `selection`, which hold for every call of every check."""
        orders = tuple(kernel_of(order, None).order for order in selection.orders)
        orders += tuple(kernel_of("", alpha).order for alpha in selection.alphas)
        return replace(self, scopes=tuple(replace(scope, asked=orders) for scope in self.scopes))

    def selections(self, selection: Selection) -> list[Selection]:
        """Restrict `selection`, op by op, to the calls that this target accepts; the plan is made from the result."""
        return [_narrowed(scope, selection) for scope in self.scopes if scope.op in selection.grid_ops]


def _narrowed(scope: Scope, selection: Selection) -> Selection:
    """Restrict `selection` to the op of `scope`, and to its orders, rules and dtypes.

    The budget of a suite is then spent on what the target accepts, so that a narrow target is tested more closely.
    """
    heavy = any(text.startswith("-") for text in scope.orders)
    found = replace(
        selection,
        ops=(scope.op,),
        taken=scope.taken(selection.dtypes),
        places=scope.places,
        heavy_tails=heavy,
    )
    if not found.dtypes:
        taken = tuple(dtype for dtype in found.grid_dtypes if dtype in scope.dtypes)
        found = replace(found, dtypes=taken or scope.dtypes)
    if scope.op != "entmax" and scope.rules:
        found = replace(found, rules=scope.rules)
    chosen = selection.orders or selection.alphas
    if scope.alpha is not None and scope.op == "entmax":
        return found if chosen else replace(found, alphas=(scope.alpha,))
    if scope.fixed and not scope.order_unknown and not chosen:
        order = scope.order if scope.order is not None else order_of(scope.alpha or "1")
        return replace(found, orders=(order,))
    if scope.op != "entmax" and scope.orders and not chosen:
        # The orders of entmax are not restricted here: the plan adds values of α to them only if none are selected.
        held = tuple(order for order in ("0", *found.usual_orders) if in_ranges(order, scope.orders))
        return replace(found, orders=held) if held else found
    return found


def functions_of(found: Any) -> dict[str, Callable[..., Any]]:
    """Map each op to the function of that name in `found`; empty if `found` has none, such as a function."""
    held = {op: attribute(found, op, None) for op in OPS}
    return {op: function for op, function in held.items() if callable(function)}


def bindings_of(found: Any, module: Any, place: Place) -> dict[str, tuple[Callable[..., Any], Binding, Declaration]]:
    """Map each op to the function that computes it, its binding, and what is declared of it.

    Raises:
        TargetError: `found` is no function and has none named after an op, or a function cannot be bound.
    """
    functions = functions_of(found)
    if not functions and not callable(found):
        msg = f"the target {place.name!r} must be a function or have a function called {', '.join(OPS)}; got {found!r}"
        raise TargetError(msg)
    common = declared(found, place.name).over(declared(module, place.module))
    if not functions:
        said = place.declared.over(common).resolved()
        if place.op and said.variant is None:
            said = replace(said, op=(place.op,))
        binding = bind(found, place.name, said)
        return {binding.op: (found, binding, said)}
    bound = {}
    for op, function in functions.items():
        said = place.declared.over(declared(function, f"{place.name}.{op}")).over(common).resolved()
        bound[op] = (function, bind(function, f"{place.name}.{op}", said, op), said)
    return bound


def describe(
    place: Place,
    *,
    probe: bool = True,
    seconds: float | None = None,
    memory: int = 0,
    asked: Selection | None = None,
) -> list[Target] | str:
    """Describe the target at `place` for each device of this machine; the reason if it is not available.

    Args:
        place: where it is.
        probe: find out by calls on tiny inputs which arrays and shapes it takes, if it does not declare them.
        seconds: how long such calls may take before this process ends; None sets no limits at all.
        memory: the bytes of data that they may use.
        asked: what the run is restricted to; such calls keep to it.

    Raises:
        TargetError: it cannot be loaded or bound, or its declaration is not valid.
    """
    if place.name.startswith(PROGRAM):
        return [_program(place)]
    found, module = load(place)
    reason = answer_of(found, "available")
    if reason is not None:
        return str(reason)
    bound = bindings_of(found, module, place)
    built_in = place.module.startswith(BUILT_IN)
    if built_in:
        bound = {op: (function, binding, said.over(_OF_BUILT_IN)) for op, (function, binding, said) in bound.items()}
    first, binding, said = next(iter(bound.values()))
    kind, why = _chosen_kind(said, array_kind(found, module)), ""
    wanted = asked or Selection()
    dtype = _probed_dtype(said.dtypes or _own_dtypes(found), kind, wanted)
    if probe and not built_in and said.array_library is None and attribute(found, "array_library", None) is None:
        with watchdog(seconds, memory):
            kind, why = probed(_probe(first, binding, said, dtype, wanted), kind)
    attention = bound.get("attention")
    if probe and not built_in and attention is not None:
        function, binds, told = attention
        with watchdog(seconds, memory):
            extras = tuple(refused_extras(_probe(function, binds, told, dtype, wanted), kind))
        found_shapes = tuple((name, value) for name, value, _ in extras)
        bound["attention"] = function, binds, replace(told, shapes=(*told.shapes, *found_shapes))
        why += "".join(f"; {remark}" for _, _, remark in extras)
    offered: dict[str, tuple[str, ...]] = {}
    if probe and not built_in and kind in _AUTOMATIC and not callable(attribute(found, "vjp", None)):
        for op, (function, binds, told) in bound.items():
            with watchdog(seconds, memory):
                offered[op], remark = offered_gradients(_probe(function, binds, told, dtype, wanted), kind)
            unsaid = [name for name in offered[op] if told.gradients is not None and name not in _both(told.gradients)]
            remark = f"; the gradient in {' and '.join(unsaid)} is not tried: it is not declared" if unsaid else remark
            why += remark if unsaid or told.gradients is None else ""
    contract, promised = _contract(found, said, built_in=built_in)
    target = Target(
        place=place,
        device="cpu",
        array_library=kind,
        scopes=tuple(
            _scope(found, binding, said, kind, offered.get(op, ())) for op, (_, binding, said) in bound.items()
        ),
        contract=contract,
        promised=promised,
        note="" if built_in else note_of(binding, said, kind, why),
        bound=tuple(
            Bound(op, binding, said.output, op in functions_of(found)) for op, (_, binding, said) in bound.items()
        ),
        form=Form(
            made=place.object != "" and type(found).__name__ == place.object.rpartition(".")[2],
            module=isinstance(found, ModuleType),
            own_vjp=callable(attribute(found, "vjp", None)),
        ),
    )
    here = devices_of(found, kind)
    devices = tuple(device for device in here if said.devices is None or device in said.devices)
    if not devices:
        return f"it runs on {', '.join(said.devices or DEVICES)}; here is {', '.join(here)} for {kind} arrays"
    return [replace(target, device=device) for device in devices]


def _program(place: Place) -> Target:
    words_of(place)
    said = replace(place.declared, op=(place.op,)) if place.op else place.declared
    if (said.call, said.array_library, said.output, said.layout) != (None, None, None, None):
        told = "call, output, array_library and layout are for Python objects"
        msg = f"a program speaks the protocol of docs/exec.md; {told}"
        raise TargetError(msg)
    contract, promised = _contract(None, said, built_in=False)
    return Target(place, "cpu", "numpy", scopes_of(said), contract, promised, "a program")


def _probe(function: Callable[..., Any], binding: Binding, said: Declaration, dtype: str, asked: Selection) -> Probe:
    """A probe at a number that the function is asked for, a finite order if there is one."""
    if asked.alphas and binding.op == "entmax":
        return Probe(function, binding, said, dtype, "", asked.alphas[0])
    held = asked.orders or tuple(order for order in _PROBED if in_ranges(order, said.orders or ())) or ("1",)
    return Probe(function, binding, said, dtype, min(held, key=lambda order: order in {"0", "inf"}))


def _probed_dtype(taken: tuple[str, ...], kind: Kind, asked: Selection) -> str:
    """The dtype of calls that probe a function: one of those that it takes and that the run is restricted to."""
    usual = next(iter(taken), "float32" if kind == "jax" else "float64")
    return next((dtype for dtype in asked.dtypes if not taken or dtype in taken), usual)


def _chosen_kind(said: Declaration, guess: Kind) -> Kind:
    return next((kind for kind in KINDS if kind == said.array_library), guess)


def _contract(found: Any, said: Declaration, *, built_in: bool) -> tuple[Contract, bool]:
    """The contract of the target, and whether the target itself states its grade."""
    default = _BUILT_IN if built_in else Contract()
    held = attribute(found, "contract", None)
    if held is not None and not isinstance(held, Contract):
        held = read(held, "the attribute contract of the target").promise(default)
    promised = built_in or isinstance(held, Contract) or "grade" in dict(said.contract)
    contract = said.promise(held if isinstance(held, Contract) else default)
    if contract.same == "bits" and not contract.deterministic:
        msg = 'a target declares same = "bits" or deterministic = false; calls whose bits vary are the same in no batch'
        raise TargetError(msg)
    return contract, promised


def _scope(found: Any, binding: Binding, said: Declaration, kind: Kind, offered: tuple[str, ...]) -> Scope:
    own = callable(attribute(found, "vjp", None))
    arrays = tuple(ARRAYS[binding.op])
    if said.variant is not None:
        arrays = (*arrays, *(name for name in variant_at(said.variant).parameters if name in binding.roles))
    gradients: tuple[str, ...] | None = None if own else arrays if kind in _AUTOMATIC else ()
    if said.gradients is not None:
        gradients = said.gradients
        gradients = _both(gradients)
    elif gradients is not None and offered:
        gradients = (*gradients, *_both(offered))
    options = binding.options
    if said.options is not None:
        options = said.options
    dtypes = said.dtypes or _own_dtypes(found) or _dtypes(kind)
    return Scope(
        op=binding.op,
        takes=binding.takes,
        order=said.order if binding.fixed else None,
        alpha=said.alpha if binding.fixed else None,
        orders=said.orders or (),
        rules=binding.rules,
        dtypes=dtypes,
        options=options,
        requires=said.requires or (),
        masks=said.masks or (),
        exclusive=said.exclusive or (),
        gradients=gradients,
        axis="axis" in binding.roles,
        shapes=said.limits,
        offered=() if said.gradients is not None else _both(offered),
        layout=(said.layout or BHTD) if binding.op == "attention" else BHTD,
        per_row=said.per_row or (),
    )


def _both(gradients: tuple[str, ...]) -> tuple[str, ...]:
    """Add the order to α and α to the order: the gradient in each is that in the other times a known factor."""
    return tuple(dict.fromkeys([*gradients, *PARAMETERS[:2]])) if {"order", "alpha"} & set(gradients) else gradients


def _own_dtypes(found: Any) -> tuple[str, ...]:
    """The attribute `dtypes` of `found`; empty if it has none."""
    held = attribute(found, "dtypes", None)
    return () if held is None else read({"dtypes": held}, "the target").dtypes or ()


def _dtypes(kind: Kind) -> tuple[str, ...]:
    """The dtypes that arrays of `kind` can have; with JAX, float64 only if this process has enabled it."""
    wide = kind == "jax" and bool(importlib.import_module("jax").config.jax_enable_x64)
    return ("float64", *_DTYPES[kind]) if wide else _DTYPES[kind]


__all__ = ["BUILT_IN", "Place", "Target", "bindings_of", "describe", "find", "functions_of", "load"]
