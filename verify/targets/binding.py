"""Bind a function to an op: derive how to call it from the names of its parameters, or from a call that its user wrote.

The first positional parameters take the arrays. Their names tell the op: ``s`` or ``scores`` means weights, and ``q``,
``k``, ``v`` (``query``, ``key``, ``value``) mean attention, or regression if that is declared; ``z``, ``x``, ``input``
and any other name take the logits of entmax. `NAMES` lists the names of the other parameters; a parameter with another
name must have a default, which it keeps. Nothing is passed into ``**kwargs``, except the options of a function that
takes ``kernel`` and ``rule``. A wrapper with the parameters ``(*args, **kwargs)`` around a method ``forward``, such as
a torch.nn.Module, is bound by the parameters of that method.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

from kernelproof.reference.errors import TargetError
from kernelproof.reference.model import Fixed, Kernel, Nearest
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.rules import parameters
from kernelproof.verify.cases.variant_names import variant_at
from kernelproof.verify.importing import first_line
from kernelproof.verify.records import OPS
from kernelproof.verify.targets.declaration import OPTIONS, PARAMETERS, Declaration
from kernelproof.verify.targets.scope import order_keyword

NAMES: Mapping[str, tuple[str, ...]] = {
    "order": ("order", "n"),
    "alpha": ("alpha",),
    "axis": ("dim", "axis"),
    "kernel": ("kernel",),
    "rule": ("rule",),
    "mask": ("mask", "attn_mask", "attention_mask"),
    "causal": ("causal", "is_causal"),
    "lengths": ("lengths", "varlen"),
    "scale": ("scale",),
    "key_norm_term": ("key_norm_term",),
    "empty": ("empty",),
    "h": ("h", "bandwidth"),
    "beta": ("beta",),
    "gamma": ("gamma",),
    "b": ("b",),
    "topk": ("topk", "k"),
}
"""Role of an argument -> the names of parameters that take it."""
ARRAYS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "entmax": {"z": ("z", "x", "X", "input", "logits")},
    "weights": {"scores": ("scores", "s")},
    "attention": {"q": ("q", "query"), "k": ("k", "key"), "v": ("v", "value")},
    "regression": {"q": ("q", "query"), "k": ("k", "key"), "v": ("v", "value")},
}
"""Op -> array -> the names of parameters that take it."""
_RULED = ("h", "beta", "gamma", "b", "topk")


@dataclass(frozen=True)
class Argument:
    """One argument of a call.

    Attributes:
        name: the name of the parameter; "" if the argument is positional.
        role: what is passed: the name of an array, a key of `NAMES`, or "literal".
        literal: the source of the value, if the role is "literal".
        required: whether the parameter has no default.
    """

    name: str
    role: str
    literal: str = ""
    required: bool = False


@dataclass(frozen=True)
class Binding:
    """How a function is called as one op.

    Attributes:
        op: the op.
        arguments: the arguments, positional ones first.
        rules: the rules that the function computes; empty if it takes the rule as an argument.
        open_options: whether every option is passed into its ``**kwargs``.
    """

    op: str
    arguments: tuple[Argument, ...]
    rules: tuple[str, ...] = ()
    open_options: bool = False

    def named(self, role: str) -> str | None:
        """The name of the parameter for `role`, or None."""
        return next((each.name for each in self.arguments if each.role == role), None)

    @property
    def roles(self) -> frozenset[str]:
        """The roles of all arguments."""
        return frozenset(each.role for each in self.arguments)

    @property
    def takes(self) -> tuple[str, ...]:
        """Which of "order", "alpha" and "kernel" it has parameters for."""
        return tuple(role for role in ("order", "alpha", "kernel") if role in self.roles)

    @property
    def fixed(self) -> bool:
        """Whether the function computes a single order, because it has no parameter for the order."""
        return not self.takes

    @property
    def options(self) -> tuple[str, ...] | None:
        """The options that it has parameters for; None means all."""
        return None if self.open_options else tuple(option for option in OPTIONS if option in self.roles)

    def keywords(self, case: Case) -> dict[str, Any] | None:
        """The keywords of a call for `case` without its options; None if the exact order cannot be passed."""
        called = self.call(case, {}, {})
        return None if called is None else called[1]

    def numbers(self, case: Case) -> dict[str, Any]:
        """The order or α and the numbers of the rule, by role, as far as the function has parameters for them."""
        told = {**(order_keyword(case, self.takes) or {}), **_numbers(case, self)}
        return {role: value for role, value in told.items() if role in self.roles}

    def call(
        self,
        case: Case,
        arrays: Mapping[str, Any],
        options: Mapping[str, Any],
        numbers: Mapping[str, Any] | None = None,
        axis: int = -1,
        literal: Callable[[str], Any] = ast.literal_eval,
        per_row: Mapping[str, Any] | None = None,
    ) -> tuple[list[Any], dict[str, Any]] | None:
        """The positional arguments and the keywords of a call; None if the exact order cannot be passed.

        Args:
            case: the case.
            arrays: by argument name.
            options: mask, causal, …; one without a parameter is left out: `Scope` refuses cases where this matters.
            numbers: by role, arrays to differentiate with respect to, in place of the numbers of the case.
            axis: the axis of the logits along which the keys lie.
            literal: makes a value of the source of a literal.
            per_row: by role, arrays with a number for each row in place of those of the case.
        """
        if {"order", "alpha"} & self.roles and "kernel" not in self.roles and order_keyword(case, self.takes) is None:
            return None
        values = {**arrays, **options, **self.numbers(case), **(numbers or {}), "axis": axis}
        values |= {"kernel": case.kernel, "rule": case.parsed_rule}
        if per_row:
            if {"order", "alpha"} & per_row.keys():
                values = {role: value for role, value in values.items() if role not in {"order", "alpha"}}
            values |= per_row
            values |= {"kernel": _kernel_of(case.kernel, per_row), "rule": _rule_of(case.parsed_rule, per_row)}
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for each in self.arguments:
            if each.role not in values and each.role != "literal":
                if not (each.required and each.role in OPTIONS):
                    continue
                value = _absent(each.role, arrays)
            else:
                value = literal(each.literal) if each.role == "literal" else values[each.role]
            if each.name:
                keywords[each.name] = value
            else:
                positional.append(value)
        if self.open_options:
            keywords |= {name: value for name, value in options.items() if name not in keywords}
        return positional, keywords


@dataclass(frozen=True)
class Bound:
    """How a target computes one op.

    Attributes:
        op: the op.
        binding: how its function is called.
        output: which item of the returned value is the output, see `Declaration`.
        method: whether its function is named like the op, rather than being the target itself.
    """

    op: str
    binding: Binding
    output: int | str | None = None
    method: bool = False


def _kernel_of(kernel: Kernel, per_row: Mapping[str, Any]) -> Kernel:
    return Kernel(per_row["order"]) if "order" in per_row else kernel


def _rule_of(rule: Any, per_row: Mapping[str, Any]) -> Any:
    """`rule`, with arrays in place of its numbers."""
    if isinstance(rule, Nearest):
        return replace(rule, then=_rule_of(rule.then, per_row))
    return replace(rule, **{each.name: per_row[each.name] for each in fields(rule) if each.name in per_row})


def _absent(option: str, arrays: Mapping[str, Any]) -> Any:
    """The value that a parameter without a default gets for an option that the call does not have."""
    if option == "scale":
        return float(arrays["q"].shape[-1]) ** -0.5 if "q" in arrays else None
    return {"causal": False, "key_norm_term": False, "empty": "nan"}.get(option)


def _numbers(case: Case, binding: Binding) -> dict[str, Any]:
    """The numbers of the rule of `case`, by role, in the form that the parameters of `binding` take."""
    rule, found = case.parsed_rule, {}
    if isinstance(rule, Variant):
        return {name: float(value) for name, value in rule.exact_parameters.items()}
    if isinstance(rule, Nearest):
        found["topk"] = rule.k
        rule = rule.then
    if isinstance(rule, Fixed) and "b" in binding.roles and "gamma" in binding.roles:
        # [1 − D/h²] with D = −2s is [s/γ + 1] with γ = h²/2: normalized ReLU.
        half: Fraction = rule.exact**2 / 2
        return {**found, "gamma": float(half) if half.denominator > 1 else int(half), "b": 1}
    name = next(name for name in ("h", "beta", "gamma") if hasattr(rule, name))
    return {**found, name: getattr(rule, name)}


def bind(
    function: Callable[..., Any], name: str, declaration: Declaration | None = None, op: str | None = None
) -> Binding:
    """Find the binding of `function`, called `name` in messages.

    Args:
        function: the function to call.
        name: its name in messages.
        declaration: what is declared of it; a declared `call` takes precedence over the signature.
        op: the op that it is named after in an object; then its first positional parameters take the arrays of that op.

    Raises:
        TargetError: it has no signature, no parameter for the arrays, or an unknown parameter without a default.
    """
    said = declaration or Declaration()
    if op is None and len(said.op or ()) > 1:
        msg = (
            f"{name} must declare one op, or be an object with functions named like ops; got {', '.join(said.op or ())}"
        )
        raise TargetError(msg)
    if said.call is not None:
        return _written(said, name, op)
    try:
        found = _parameters(function)
    except (TypeError, ValueError):
        shown = "'f(z, dim=-1)' or 'f(q, k, v, scale=scale)'"
        msg = f"{name} has no signature to bind by; say how it is called, such as --call {shown}"
        raise TargetError(msg) from None
    except BaseException as error:  # noqa: BLE001 (an object may run anything where its signature is read)
        msg = f"the signature of {name} cannot be read: {first_line(error)}"
        raise TargetError(msg) from None
    return _by_name(list(found.values()), name, said, op)


def _by_name(held: Sequence[inspect.Parameter], name: str, said: Declaration, op: str | None) -> Binding:
    kinds = inspect.Parameter
    taking = {kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.VAR_POSITIONAL}
    positional = [p for p in held if p.kind in taking]
    chosen = op or next(iter(said.op or ()), None) or _op_of([p.name for p in positional])
    wanted = tuple(ARRAYS[chosen])
    firsts = positional[: len(wanted)]
    if firsts and firsts[-1].kind is kinds.VAR_POSITIONAL:
        firsts = [*firsts, *[firsts[-1]] * (len(wanted) - len(firsts))]
    if len(firsts) < len(wanted):
        what = "the logits as its first positional parameter" if chosen == "entmax" else ", ".join(wanted)
        msg = f"{name} must take {what} for {chosen}; its parameters: {[p.name for p in held]}"
        raise TargetError(msg)
    arguments = [Argument("", role) for role in _arrays_of(chosen, [p.name for p in firsts])]
    numbers = {parameter: role for rule in said.rules or () for parameter, role in parameters(rule).items()}
    rest = [p for p in held if p not in firsts]
    keyword = {p.name: p for p in rest if p.kind in {kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD}}
    ruled = {"topk" if role == "k" else role: parameter for parameter, role in numbers.items()}
    for role, known in NAMES.items():
        if role in _RULED and (chosen == "entmax" or said.rules is not None):
            known = (ruled[role],) if role in ruled else ()  # noqa: PLW2901 (declared names stand for the usual ones)
        if role == "topk" and said.rules is None:
            known = known[:1]  # noqa: PLW2901 (a parameter k is one of a rule only where a rule says so)
        found = next((each for each in known if each in keyword), None)
        if found is not None and not (chosen == "entmax" and role in {"kernel", "rule", *OPTIONS}):
            arguments.append(Argument(found, role, required=keyword[found].default is kinds.empty))
    own = [each for each in variant_at(said.variant).parameters if each in keyword] if said.variant is not None else []
    arguments += [Argument(each, each, required=keyword[each].default is kinds.empty) for each in own]
    missing = sorted(set(numbers) - {each.name for each in arguments})
    if missing:
        msg = f"{name} has no parameter {missing[0]!r}, which its rule names; its parameters: {[p.name for p in held]}"
        raise TargetError(msg)
    bound = {each.name for each in arguments}
    for p in rest:
        free = p.default is kinds.empty and p.kind not in {kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD}
        if free and p.name not in bound:
            known_names = sorted({each for names in NAMES.values() for each in names})
            msg = (
                f"{name} has a parameter {p.name!r} without a default, which {chosen} has nothing for; known: "
                f"{', '.join(known_names)}; or say how it is called, such as --call 'f(z, {p.name}=1)'"
            )
            raise TargetError(msg)
    open_options = {"kernel", "rule"} <= {each.role for each in arguments} and any(
        p.kind is kinds.VAR_KEYWORD for p in held
    )
    return _finished(chosen, arguments, said, name, open_options=open_options)


def _finished(op: str, arguments: list[Argument], said: Declaration, name: str, *, open_options: bool) -> Binding:
    """Complete a binding with its rules: the declared ones, or those that follow from its parameters."""
    roles = {each.role for each in arguments}
    rules = said.rules or ()
    if op == "entmax":
        rules = ("adaptive:1",)
    elif not rules and "rule" not in roles:
        kinds = {"h": "fixed", "beta": "adaptive", "gamma": "fixed" if "b" in roles else "anchored"}
        rules = tuple(kind for role, kind in kinds.items() if role in roles)
        if "topk" in roles:
            rules = tuple(f"nearest:*:{kind}" for kind in rules or ("adaptive:1",))
        if not rules and op == "regression":
            msg = f"{name} has no parameter for a bandwidth; declare the rule that it computes, such as fixed:3"
            raise TargetError(msg)
        rules = rules or ("adaptive:1",)
    return Binding(op, tuple(arguments), rules, open_options)


def _op_of(names: Sequence[str]) -> str:
    """The op that a function with these positional parameters computes."""
    if len(_arrays_of("attention", names[:3], strict=True)) == 3:
        return "attention"
    return "weights" if names and names[0] in ARRAYS["weights"]["scores"] else "entmax"


def _arrays_of(op: str, names: Sequence[str], *, strict: bool = False) -> list[str]:
    """The arrays of `op` in the order of the parameters with these `names`; their usual order if one is unknown."""
    roles = [role for each in names for role, known in ARRAYS[op].items() if each in known]
    if sorted(roles) == sorted(ARRAYS[op]) and len(names) == len(roles):
        return roles
    return [] if strict else list(ARRAYS[op])


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    found = inspect.signature(function).parameters
    loose = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    inner = getattr(function, "forward", None)
    if callable(inner) and all(p.kind in loose for p in found.values()):
        return inspect.signature(inner).parameters
    return found


def _written(said: Declaration, name: str, op: str | None) -> Binding:
    """Read the binding from a declared call such as ``f(z, dim=-1)``, which has names of roles and literals only.

    Raises:
        TargetError: the text is not such a call.
    """
    text = said.call or ""
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name | ast.Attribute):
        msg = f"a call is one call of a function, such as 'f(z, dim=-1)'; got {text!r}"
        raise TargetError(msg)
    chosen = (
        op or next(iter(said.op or ()), None) or _op_of([each.id for each in call.args if isinstance(each, ast.Name)])
    )
    arguments = [_argument("", each, chosen, text) for each in call.args]
    arguments += [_argument(each.arg or "**", each.value, chosen, text) for each in call.keywords]
    lacking = [role for role in ARRAYS[chosen] if role not in {each.role for each in arguments}]
    if lacking:
        msg = f"a call of {chosen} passes {', '.join(ARRAYS[chosen])}; {text!r} lacks {', '.join(lacking)}"
        raise TargetError(msg)
    return _finished(chosen, arguments, said, name, open_options=False)


def _argument(name: str, node: ast.expr, op: str, text: str) -> Argument:
    if name == "**" or isinstance(node, ast.Starred):
        msg = f"a call passes names and literals one by one; got {text!r}"
        raise TargetError(msg)
    if isinstance(node, ast.Name):
        known = {**NAMES, "topk": ("topk",), **ARRAYS[op]}
        role = next((role for role, names in known.items() if node.id in names), None)
        if role is None:
            allowed = sorted({each for names in known.values() for each in names})
            msg = f"a call may use the names {', '.join(allowed)}; {text!r} has {node.id!r}"
            raise TargetError(msg)
        return Argument(name, role)
    try:
        ast.literal_eval(node)
        return Argument(name, "literal", ast.unparse(node))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        msg = f"a call passes names of arguments and literals; got {text!r}"
        raise TargetError(msg) from None


__all__ = ["ARRAYS", "NAMES", "OPS", "PARAMETERS", "Argument", "Binding", "bind"]
