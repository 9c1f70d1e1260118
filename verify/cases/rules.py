"""Patterns of bandwidth rules and ranges of orders, by which a target declares what it computes.

A pattern is a rule such as ``nearest:5:adaptive:1`` in which a word in place of a number is the name of the parameter
that takes the number, and ``*`` stands for any number. A kind alone, such as ``fixed``, stands for any rule of that
kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from kernelproof.reference.errors import DomainError, TargetError
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.model import INFINITY, Adaptive, Anchored, Fixed, Kernel, Nearest, Rule, resolve_kernel
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.cases.variant_names import PREFIX, order_text, variant_at

KINDS = ("adaptive", "fixed", "anchored", "nearest")
VALUES = {"adaptive": ("2", "1/2", "1"), "anchored": ("2", "1/2", "3/4"), "nearest": ("3", "5", "1", "8")}
"""Numbers for parameters of rules; those of ``fixed`` depend on the op and the order."""
_ANY = "*"


def check_pattern(text: object) -> str:
    """Return `text` if it is a pattern of a rule.

    Raises:
        TargetError: it is not.

    >>> check_pattern("nearest:k:adaptive:1"), check_pattern("fixed")
    ('nearest:k:adaptive:1', 'fixed')
    """
    msg = (
        "a rule is adaptive:BETA, fixed:H, anchored:GAMMA or nearest:K:RULE, with a number, the name of a "
        f"parameter or * for each; got {text!r}"
    )
    if not isinstance(text, str):
        raise TargetError(msg)
    if of_variant(text):
        return text
    try:
        if text != "nearest":
            parse_rule(":".join("1" if _free(part) else part for part in _parts(text)))
    except DomainError:
        raise TargetError(msg) from None
    return text


def of_variant(pattern: str) -> bool:
    """Whether `pattern` is the rule of a variant, which matches only itself."""
    return pattern.startswith(PREFIX + ":")


def order_with(rule: str) -> str:
    """An order at which `rule` is defined: the order of the variant, or else 1.

    >>> order_with("adaptive:1")
    '1'
    """
    return order_text(variant_at(rule.partition(":")[2])) if of_variant(rule) else "1"


def _parts(pattern: str) -> list[str]:
    """Split `pattern` into words, with ``*`` for the number that a kind alone leaves open."""
    parts = pattern.split(":")
    return [*parts, _ANY] if parts[-1] in KINDS[:3] else parts


def _free(part: str) -> bool:
    return part == _ANY or (part.isidentifier() and part not in {*KINDS, "inf", "nan"})


def parameters(pattern: str) -> dict[str, str]:
    """Name of a parameter of the function -> the number of the rule that it takes: h, beta, gamma or k.

    >>> parameters("nearest:topk:adaptive:sharpness")
    {'topk': 'k', 'sharpness': 'beta'}
    """
    if of_variant(pattern):
        return {}
    names = {"adaptive": "beta", "fixed": "h", "anchored": "gamma", "nearest": "k"}
    parts = pattern.split(":")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return {value: names[kind] for kind, value in pairs if _free(value) and value != _ANY}


def matches(pattern: str, rule: str) -> bool:
    """Whether `rule` is one of the rules that `pattern` stands for.

    >>> matches("nearest:k:adaptive:1", "nearest:5:adaptive:1"), matches("nearest:k:adaptive:1", "nearest:5:fixed:3")
    (True, False)
    >>> matches("nearest", "nearest:5:fixed:3"), matches("anchored:1/2", "anchored:0.5")
    (True, True)
    """
    if of_variant(pattern) or of_variant(rule):
        return pattern == rule
    if pattern == "nearest":
        return rule.startswith("nearest:")
    wanted, held = _parts(pattern), rule.split(":")
    return len(wanted) == len(held) and all(
        left == right or (_free(left) and right not in KINDS) or _same(left, right)
        for left, right in zip(wanted, held, strict=True)
    )


def _same(left: str, right: str) -> bool:
    try:
        return bool(exact_number(left, "rule") == exact_number(right, "rule"))
    except DomainError:
        return False


def filled(pattern: str, turn: int, radius: str) -> str:
    """A rule that `pattern` stands for, a different one in each `turn`; `radius` is h if the pattern leaves it open.

    >>> [filled("nearest:k:adaptive:1", turn, "3") for turn in range(2)]
    ['nearest:3:adaptive:1', 'nearest:5:adaptive:1']
    """
    if of_variant(pattern):
        return pattern
    parts = ["nearest", _ANY, "adaptive", _ANY] if pattern == "nearest" else _parts(pattern)
    for at in range(0, len(parts), 2):
        kind, value = parts[at : at + 2]
        if _free(value):
            choices = VALUES.get(kind, (radius,))
            parts[at + 1] = choices[turn % len(choices)]
    return ":".join(parts)


def parse_range(text: str, name: str) -> str:
    """Return `text` if it is an order or a range ``LOW..HIGH`` of orders; LOW may be -inf.

    Raises:
        DomainError: an end is not a number, or the first is above the second.

    >>> parse_range("1/2..inf", "orders")
    '1/2..inf'
    """
    low, _, high = text.partition("..")
    ends = [exact_number(each, name) for each in ((low, high) if high else (low,))]
    if ends[-1] < ends[0] or (".." in text and not high) or ends[-1] == -INFINITY:
        msg = f"{name} must be an order or LOW..HIGH with LOW ≤ HIGH; got {text!r}"
        raise DomainError(msg)
    return text


def in_ranges(order: object, ranges: tuple[str, ...]) -> bool:
    """Whether the exact `order` lies in one of `ranges`; without ranges, whether it is at least 0.

    >>> in_ranges("3", ("1..8", "inf")), in_ranges("64", ("1..8", "inf"))
    (True, False)
    >>> in_ranges("-2", ()), in_ranges("-2", ("-inf..-1",))
    (False, True)
    """
    number = exact_number(order, "order")
    for text in ranges:
        low, _, high = text.partition("..")
        if exact_number(low, "orders") <= number <= exact_number(high or low, "orders"):
            return True
    return not ranges and number >= 0


_SIMPLE: Mapping[str, type[Adaptive | Fixed | Anchored]] = {"adaptive": Adaptive, "fixed": Fixed, "anchored": Anchored}


def number_of(text: str, name: str) -> int | float:
    """The number that a target receives for `text`: an int if it is an integer, otherwise the nearest float64.

    >>> number_of("3/2", "order"), number_of("64", "order"), number_of("inf", "order")
    (1.5, 64, inf)
    """
    exact = exact_number(text, name)
    if isinstance(exact, Fraction) and exact.denominator == 1 and abs(exact) < 2**53:
        return int(exact)
    return float(exact)


def order_of(alpha: str) -> str:
    """The order, as text, of a function that receives α as a float64.

    >>> order_of("3/2"), order_of("1")
    ('2', 'inf')
    """
    order = kernel_of("", alpha).order
    return "inf" if order == INFINITY else str(order)


def kernel_of(order: str, alpha: str | None) -> Kernel:
    """The kernel with exactly the number that a target receives: `alpha`, or `order` if `alpha` is None."""
    if alpha is not None:
        return resolve_kernel(alpha=float(exact_number(alpha, "alpha")))
    return Kernel(number_of(order, "order"))


def parse_rule(text: str) -> Rule | Variant:
    """Read a bandwidth rule such as ``fixed:3``, ``anchored:1/2`` or ``nearest:5:adaptive:1``.

    ``variant:file.py:OBJECT`` stands for a variant, a rule and a profile that the user wrote.

    Raises:
        DomainError: `text` has another form, or a parameter is outside its domain.

    >>> parse_rule("nearest:5:fixed:3")
    Nearest(k=5, then=Fixed(h=3))
    """
    name, _, rest = text.partition(":")
    if name == PREFIX:
        return variant_at(rest)
    if name in _SIMPLE and rest:
        return _SIMPLE[name](number_of(rest, name))
    count, _, then = rest.partition(":")
    if name == "nearest" and count.isascii() and count.isdigit() and then:
        inner = parse_rule(then)
        if not isinstance(inner, Nearest | Variant):
            return Nearest(int(count), inner)
    msg = f"a rule is adaptive:BETA, fixed:H, anchored:GAMMA, nearest:K:RULE or variant:FILE:OBJECT; got {text!r}"
    raise DomainError(msg)
