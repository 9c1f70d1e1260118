"""The guarded ball: arithmetic on intervals, and nothing that leaves it.

A function that reads a midpoint, converts to a float or tests for equality looks at one number of an interval and says
nothing of the others; a value computed so encloses nothing. A `Ball` refuses all of it. A comparison must be decided
for the whole ball: where it is not, the evaluation is void, and the box is to be split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import Any, NoReturn

from flint import arb, fmpq, fmpz

from kernelproof.reference.errors import KernelproofError


class Refused(KernelproofError):
    """A function of balls asked for something that leaves interval arithmetic."""


class Unsettled(KernelproofError):
    """A comparison is not decided for the whole of a ball."""


@dataclass
class Watch:
    """What an evaluation did that voids it; an exception that the function swallows is noted here all the same."""

    refused: list[str] = field(default_factory=list)
    unsettled: bool = False


_WATCHES: list[Watch] = []


@contextmanager
def watched() -> Iterator[Watch]:
    """Note what the evaluations inside do."""
    _WATCHES.append(Watch())
    try:
        yield _WATCHES[-1]
    finally:
        _WATCHES.pop()


def _refuse(what: str) -> NoReturn:
    for watch in _WATCHES:
        watch.refused.append(what)
    msg = f"{what} leaves interval arithmetic: it says something of one number of a ball, and nothing of the others"
    raise Refused(msg)


def _refuser(what: str) -> Any:
    def refuse(self: Any, *_: Any, **__: Any) -> NoReturn:
        del self
        _refuse(what)

    return refuse


def _decide(yes: bool, no: bool) -> bool:
    if yes or no:
        return yes
    for watch in _WATCHES:
        watch.unsettled = True
    msg = "the comparison is not decided for the whole ball"
    raise Unsettled(msg)


def _plain(value: Any) -> arb:
    """A ball or an exact constant as an arb."""
    if isinstance(value, Ball):
        return _of(value)
    if isinstance(value, bool) or not isinstance(value, int | Fraction | arb | fmpq | fmpz):
        _refuse(f"a constant of type {type(value).__name__}")
    if isinstance(value, arb) and value.is_nan():
        _refuse("a function of arb, instead of a method of its own")
    return arb(fmpq(value.numerator, value.denominator)) if isinstance(value, Fraction) else arb(value)


def guard(value: arb) -> Ball:
    """`value` as a guarded ball."""
    ball = Ball("nan")
    _VALUE.__set__(ball, value)
    return ball


def unguard(value: Any) -> arb | None:
    """The arb of a guarded ball, for the functions of `certified`; None for anything else."""
    return _of(value) if isinstance(value, Ball) else None


def least(values: Any) -> Ball:
    """A ball around the least of the numbers in `values`, even if these overlap."""
    found: Ball = reduce(lambda a, b: a.min(b), values)
    return found


def _binary(operation: Callable[[arb, arb], arb], *, swapped: bool = False) -> Any:
    def apply(self: Ball, other: Any) -> Ball:
        pair = (_plain(other), _of(self)) if swapped else (_of(self), _plain(other))
        return guard(operation(*pair))

    return apply


def _unary(name: str) -> Any:
    def apply(self: Ball) -> Ball:
        return guard(getattr(_of(self), name)())

    apply.__doc__ = f"`flint.arb.{name}`."
    return apply


class Ball(arb):
    """An interval of real numbers: the operations of `flint.arb` that enclose their value at every one of them.

    It is an arb for the sake of flint alone, whose functions do not look at the type of their first argument. As such
    it is NaN, so that ``arb.mid(ball)`` says nothing of its number.
    """

    __slots__ = ("value",)

    __add__, __radd__ = _binary(lambda a, b: a + b), _binary(lambda a, b: a + b, swapped=True)
    __sub__, __rsub__ = _binary(lambda a, b: a - b), _binary(lambda a, b: a - b, swapped=True)
    __mul__, __rmul__ = _binary(lambda a, b: a * b), _binary(lambda a, b: a * b, swapped=True)
    __truediv__, __rtruediv__ = _binary(lambda a, b: a / b), _binary(lambda a, b: a / b, swapped=True)
    __pow__, __rpow__ = _binary(lambda a, b: a**b), _binary(lambda a, b: a**b, swapped=True)
    min, max = _binary(lambda a, b: a.min(b)), _binary(lambda a, b: a.max(b))
    union = _binary(lambda a, b: a.union(b))
    atan2 = _binary(arb.atan2)
    exp, expm1, log, log1p, sqrt, rsqrt = map(_unary, ("exp", "expm1", "log", "log1p", "sqrt", "rsqrt"))
    sin, cos, tan, asin, acos, atan = map(_unary, ("sin", "cos", "tan", "asin", "acos", "atan"))
    sinh, cosh, tanh, asinh, acosh, atanh = map(_unary, ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"))
    gamma, lgamma, rgamma, digamma, erf, erfc = map(_unary, ("gamma", "lgamma", "rgamma", "digamma", "erf", "erfc"))

    def __neg__(self) -> Ball:
        return guard(-_of(self))

    def __pos__(self) -> Ball:
        return self

    def __abs__(self) -> Ball:
        return guard(abs(_of(self)))

    def power(self, order: Any) -> Ball:
        """``self**order`` for an order > 0 on the nonnegative part of the ball, 0 included."""
        base, exponent = _of(self), _plain(order)
        if base > 0:
            return guard(base**exponent)
        top = base.upper()
        if exponent > 0:
            return guard(arb(0).union(top**exponent) if top > 0 else arb(0))
        return guard(arb("nan"))

    def __lt__(self, other: Any) -> bool:
        a, b = _of(self), _plain(other)
        return _decide(bool(a < b), bool(a >= b))

    def __le__(self, other: Any) -> bool:
        a, b = _of(self), _plain(other)
        return _decide(bool(a <= b), bool(a > b))

    def __gt__(self, other: Any) -> bool:
        a, b = _of(self), _plain(other)
        return _decide(bool(a > b), bool(a <= b))

    def __ge__(self, other: Any) -> bool:
        a, b = _of(self), _plain(other)
        return _decide(bool(a >= b), bool(a < b))

    __eq__ = _refuser("a comparison with equality")
    __ne__ = _refuser("a comparison with equality")
    __hash__ = None  # type: ignore[assignment]  # a key of a dictionary is compared with equality
    __bool__ = _refuser("bool()")
    __float__ = _refuser("float()")
    __int__ = _refuser("int()")
    __index__ = _refuser("an index")
    __complex__ = _refuser("complex()")
    __round__ = _refuser("round()")
    __floor__, __ceil__, __trunc__ = map(_refuser, ("floor()", "ceil()", "trunc()"))
    __divmod__, __mod__, __floordiv__ = map(_refuser, ("divmod()", "a remainder", "a floor division"))
    __rdivmod__, __rmod__, __rfloordiv__ = map(_refuser, ("divmod()", "a remainder", "a floor division"))
    __reduce__ = _refuser("pickling")
    __array__ = _refuser("conversion to an array")

    def __repr__(self) -> str:
        return "<a guarded ball>"

    __str__ = __repr__

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            # Other packages ask in this way what an object is; there is nothing to find.
            raise AttributeError(name)
        _refuse(f"the attribute {name!r}")


for _name in set(dir(arb)) - set(Ball.__dict__):
    if not _name.startswith("_"):
        setattr(Ball, _name, _refuser(f"{_name}()"))

_VALUE = Ball.__dict__["value"]
# The number of a ball is reached through this descriptor alone; as an attribute it is refused like any other.
delattr(Ball, "value")


def _of(ball: Ball) -> arb:
    return _VALUE.__get__(ball)  # type: ignore[no-any-return]  # a member descriptor has no types
