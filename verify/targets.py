"""Targets: what is verified, how it is found, and how a case becomes a call of it.

`find` reads the text of a target without importing anything; `describe` imports it, which happens in a
worker process because an import may crash; a `Caller` lives in a worker and turns calls into outcomes.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from kernelproof.reference.errors import TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.arrays import Kind, give, same_bits, take
from kernelproof.verify.binding import Binding, bind, computes, order_keyword
from kernelproof.verify.case import OPS, Case
from kernelproof.verify.discovery import backend_names
from kernelproof.verify.probing import probed, watchdog
from kernelproof.verify.seams import Call, Contract, Outcome

GROUP = "kernelproof.backends"
BUILT_IN = "kernelproof.verify.backends."
_DTYPES: dict[Kind, tuple[str, ...]] = {
    "numpy": ("float64", "float32"),
    "torch": ("float64", "float32", "float16", "bfloat16"),
}


@dataclass(frozen=True)
class Place:
    """Where a target is: the text that named it, and the module (a dotted name or a file) and object."""

    name: str
    module: str
    object: str


@dataclass(frozen=True)
class Target:
    """One implementation on one device, as the parent and the workers know it.

    Attributes:
        place: where it is.
        device: "cpu" or "cuda".
        array: the arrays it computes on.
        dtypes: names of the dtypes it takes.
        ops: the ops it has.
        contract: what it promises.
        differentiable: whether it has vector-Jacobian products.
        gradients: the gradients it can give; None means all.
        fixed: whether it computes one order only and has no parameter for it.
        takes: which of "order" and "alpha" its entmax can be told.
        axis: whether its entmax can be told the axis.
        note: for the report.
    """

    place: Place
    device: str
    array: Kind
    dtypes: tuple[str, ...]
    ops: tuple[str, ...]
    contract: Contract = field(default_factory=Contract)
    differentiable: bool = False
    gradients: tuple[str, ...] | None = None
    fixed: bool = False
    takes: tuple[str, ...] = ("order", "alpha")
    axis: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """The text that named it."""
        return self.place.name

    def answers(self, case: Case, call: Call) -> bool:
        """Whether `call`, which a check of `case` asks for, can be asked of this target at all."""
        if call.mode == "vjp" and not self.differentiable:
            return False
        if call.axis != -1 and not self.axis:
            return False
        return call.order is None or (not self.fixed and self.refuses(asked(case, call)) is None)

    def refuses(self, case: Case, order: str | None = None, alpha: str | None = None) -> str | None:
        """Why `case` cannot be asked of this target, or None; `order` or `alpha` is what a fixed one computes."""
        if case.op not in self.ops:
            return f"the target has no op {case.op}"
        if case.dtype not in self.dtypes:
            return f"the target does not take {case.dtype}"
        if case.op == "entmax" and self.fixed:
            return None if computes(case, order, alpha) else "the target computes another order"
        if case.op == "entmax":
            takes = {key: key in self.takes for key in ("order", "alpha")}
            if order_keyword(case, **takes) is None:
                return f"order {case.order_label} cannot be passed exactly as {' or '.join(self.takes)}"
        return None


def asked(case: Case, call: Call) -> Case:
    """The case whose op, kernel and rule `call` is made with."""
    return case if call.order is None else replace(case, order=call.order, alpha=None)


def find(text: str) -> Place:
    """The place that `text` names: a backend, ``file.py:obj``, ``pkg.mod:obj`` or a registered name.

    Raises:
        TargetError: no such backend or file; the message says what is allowed.
    """
    if text in backend_names():
        return Place(text, BUILT_IN + text, "BACKEND")
    module, colon, name = text.rpartition(":")
    if colon and module and name:
        if module.endswith(".py"):
            if not Path(module).is_file():
                msg = f"there is no file {module!r} for the target {text!r}"
                raise TargetError(msg)
            return Place(text, str(Path(module).resolve()), name)
        if all(part.isidentifier() for part in module.split(".")):
            return Place(text, module, name)
    registered = {point.name: point.value for point in entry_points(group=GROUP)}
    if text in registered:
        module, _, name = registered[text].partition(":")
        return Place(text, module, name or "BACKEND")
    names = ", ".join([*backend_names(), *registered])
    msg = f"unknown target {text!r}; allowed: {names}, file.py:object or package.module:object"
    raise TargetError(msg)


def load(place: Place) -> tuple[Any, ModuleType]:
    """The object at `place`, and its module.

    Raises:
        TargetError: the module cannot be imported or has no such object; one line.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = _import(place.module)
        found: Any = module
        for part in place.object.split("."):
            found = getattr(found, part)
    except AttributeError:
        offered = [name for name in dir(sys.modules.get(place.module, object())) if not name.startswith("_")][:12]
        msg = f"{place.module} has no object {place.object!r}; it has: {', '.join(offered)}"
        raise TargetError(msg) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever an import raises is the user's to read)
        msg = f"the target {place.name!r} cannot be imported: {first_line(error)}"
        raise TargetError(msg) from None
    return found, module


def _import(name: str) -> ModuleType:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    if name in sys.modules:
        return sys.modules[name]
    folder = os.fspath(Path(name).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    if spec is None or spec.loader is None:
        msg = f"{name} is no Python file"
        raise TargetError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def first_line(error: BaseException) -> str:
    """``ErrorType: first line`` of an exception."""
    try:
        text = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 (an exception of the target's own class may have no text)
        text = []
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__


def array_kind(found: Any, module: ModuleType) -> Kind:
    """What `found` computes on: its attribute `array`, or torch if the module of its code imports torch."""
    declared = getattr(found, "array", None)
    if declared in {"numpy", "torch"}:
        kind: Kind = declared
        return kind
    home = sys.modules.get(getattr(found, "__module__", "") or "", module)
    return "torch" if any("torch" in _imports(each) for each in (module, home)) else "numpy"


def _imports(module: ModuleType) -> set[str]:
    """The top-level names of the packages that the source of `module` imports, anywhere in it."""
    path = getattr(module, "__file__", None)
    held = {getattr(value, "__name__", "").partition(".")[0] for value in vars(module).values() if _is_module(value)}
    if path is None or not path.endswith(".py"):
        return held
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            held |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            held.add(node.module.partition(".")[0])
    return held


def _is_module(value: Any) -> bool:
    return isinstance(value, ModuleType)


def describe(place: Place, *, probe: bool = True, seconds: float | None = None, memory: int = 0) -> list[Target] | str:
    """The target at `place` on each device that is here; or, for a backend that is not available, the reason.

    Args:
        place: where it is.
        probe: call a target that does not say what arrays it computes on once, on a tiny input.
        seconds: how long that call may take before this process ends; None: there is no limit of anything.
        memory: bytes of data that it may take.

    Raises:
        TargetError: it cannot be loaded or bound.
    """
    found, module = load(place)
    reason = found.available() if callable(getattr(found, "available", None)) else None
    if reason is not None:
        return str(reason)
    kind, why = array_kind(found, module), ""
    ops = tuple(op for op in OPS if callable(getattr(found, op, None)))
    built_in = place.module.startswith(BUILT_IN)
    default = Contract(grade="A", posinf="nan", scores="differences") if built_in else Contract()
    contract = getattr(found, "contract", default)
    if not ops and not callable(found):
        msg = f"the target {place.name!r} must be a function or have a function called {', '.join(OPS)}; got {found!r}"
        raise TargetError(msg)
    binding: Binding | None = None
    if "entmax" in ops or not ops:
        binding = bind(found.entmax, f"{place.name}.entmax") if ops else bind(found, place.name)
        if probe and not built_in and getattr(found, "array", None) is None:
            with watchdog(seconds, memory):
                dtype = next((name for name in getattr(found, "dtypes", ()) if name in FORMATS), "float64")
                kind, why = probed(found.entmax if ops else found, binding, kind, dtype)
    common: dict[str, Any] = {
        "place": place,
        "array": kind,
        "dtypes": tuple(getattr(found, "dtypes", _DTYPES[kind])),
        "contract": contract if isinstance(contract, Contract) else default,
    }
    if ops:
        common |= {"ops": ops, "differentiable": callable(getattr(found, "vjp", None))}
    else:
        differentiable = kind == "torch"
        common |= {"ops": ("entmax",), "differentiable": differentiable, "gradients": ("z",) if differentiable else ()}
    if binding is not None:
        takes = tuple(key for key in ("order", "alpha") if getattr(binding, key) is not None)
        common |= {"fixed": binding.fixed, "takes": takes, "axis": binding.axis is not None}
        common["note"] = "" if built_in else _note(binding, kind, why)
    return [Target(device=device, **common) for device in _devices(found, kind)]


def _note(binding: Binding, kind: Kind, why: str) -> str:
    arrays = f"given {kind} arrays" + (f", for with the others: {why}" if why else "")
    given = [f"{key} as {getattr(binding, key)!r}" for key in ("order", "alpha") if getattr(binding, key) is not None]
    if not given:
        return f"has no parameter for the order: the run says which it computes; {arrays}"
    return f"takes {' and '.join(given)}; {arrays}"


def _devices(found: Any, kind: Kind) -> tuple[str, ...]:
    if callable(getattr(found, "devices", None)):
        return tuple(found.devices())
    if kind == "torch" and importlib.import_module("torch").cuda.is_available():
        return ("cpu", "cuda")
    return ("cpu",)


class Caller:
    """A loaded target: turns calls into outcomes; an exception of the target becomes an outcome too."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.found, _ = load(target.place)
        self.function: Callable[..., Any] | None = None
        self.binding: Binding | None = None
        if "entmax" in target.ops:
            self.function = getattr(self.found, "entmax", self.found)
            self.binding = bind(self.function, target.name)

    def __call__(self, case: Case, call: Call) -> Outcome:
        """What the target does with `call`."""
        target, case = self.target, asked(case, call)
        inputs = {name: give(array, target.array, target.device) for name, array in call.inputs.arrays.items()}
        options = {name: self._option(value) for name, value in call.inputs.options.items()}
        # A check asks for gradients only where there is a cotangent.
        wanted = call.inputs.cotangent if call.mode == "vjp" else None
        upstream = None if wanted is None else give(wanted, target.array, target.device)
        given = {**inputs, **{name: value for name, value in options.items() if hasattr(value, "dtype")}}
        if upstream is not None:
            given["cotangent"] = upstream
        try:
            if call.mode == "vjp":
                found = self._vjp(case, inputs, options, upstream)
                # Names of any type would have no order.
                arrays = {str(name): take(value, target.array).copy() for name, value in found.items()}
            else:
                returned = self._forward(case, inputs, options, call.axis)
                first = returned[0] if isinstance(returned, tuple) and returned else returned
                # A copy: a target may return the same buffer from its next call.
                arrays = {"output": take(first, target.array).copy()}
        except MemoryError as error:
            return Outcome(crash=f"out of memory ({first_line(error)})")
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a target raises is a result)
            if type(error).__name__ == "OutOfMemoryError":
                return Outcome(crash=f"out of memory ({first_line(error)})")
            return Outcome(error=first_line(error), modified=self._modified(given, call))
        return Outcome(arrays=arrays, modified=self._modified(given, call))

    def _option(self, value: Any) -> Any:
        return give(value, self.target.array, self.target.device) if hasattr(value, "dtype") else value

    def _modified(self, given: dict[str, Any], call: Call) -> tuple[str, ...]:
        """Names of the arrays, options and cotangent among them, that no longer hold what they were given."""
        before = {**call.inputs.arrays, **call.inputs.options, "cotangent": call.inputs.cotangent}
        return tuple(name for name, now in given.items() if not same_bits(take(now, self.target.array), before[name]))

    def _forward(self, case: Case, inputs: dict[str, Any], options: dict[str, Any], axis: int = -1) -> Any:
        if case.op == "entmax":
            assert self.function is not None  # `Target.refuses` has seen to it
            assert self.binding is not None
            keywords = self.binding.keywords(case) or {}
            along = {} if self.binding.axis is None else {self.binding.axis: axis}
            return self.function(inputs["z"], **{**keywords, **along})
        return getattr(self.found, case.op)(*inputs.values(), case.kernel, case.parsed_rule, **options)

    def _vjp(self, case: Case, inputs: dict[str, Any], options: dict[str, Any], cotangent: Any) -> dict[str, Any]:
        if not callable(getattr(self.found, "vjp", None)):
            leaf = inputs["z"].requires_grad_(True)
            self._forward(case, {"z": leaf}, options).backward(cotangent)
            return {"z": leaf.grad}
        if case.op == "entmax":
            assert self.binding is not None
            keywords = self.binding.keywords(case) or {}
            return dict(self.found.vjp("entmax", cotangent, inputs["z"], **keywords))
        arguments = (*inputs.values(), case.kernel, case.parsed_rule)
        return dict(self.found.vjp(case.op, cotangent, *arguments, **options))
