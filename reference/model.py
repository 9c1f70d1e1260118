"""The model: a kernel of order n and a bandwidth rule span a plane, and every named mechanism is a point of it.

Normalized, every rule gives ``w_i ∝ [1 − d_i/γ]₊^n`` with ``d_i = max s − s_i`` and one number ``γ`` per row of scores.
A rule says where ``γ`` comes from. A negative order has a negative γ: ``w_i ∝ (1 + d_i/|γ|)^−|n|``, a heavy tail. This
module holds only names and domains, so that the reference and the backends it judges share a vocabulary and no
arithmetic.

Source: arXiv:2601.22766, sections 2 to 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, NamedTuple

from kernelproof.reference.errors import DomainError, shown
from kernelproof.reference.exact_numbers import exact_index, exact_number
from kernelproof.reference.per_row import PerRow, exact_or_each

INFINITY = math.inf


def _order(value: Any, name: str) -> Fraction | float:
    number = exact_number(value, name)
    if number == -INFINITY:
        msg = f"{name} must be in (-inf, inf], where inf is softmax; got {shown(value)}"
        raise DomainError(msg)
    return number


def _order_of_alpha(value: Any, name: str) -> Fraction | float:
    """``1/(α − 1)``, exactly."""
    number = exact_number(value, name)
    if number <= 0:
        msg = f"{name} must be in (0, inf]; got {shown(value)}"
        raise DomainError(msg)
    if isinstance(number, float):
        return Fraction(0)
    return INFINITY if number == 1 else 1 / (number - 1)


def _positive(value: Any, name: str) -> Fraction:
    number = exact_number(value, name)
    if not isinstance(number, Fraction) or number <= 0:
        msg = f"{name} must be positive and finite; got {shown(value)}"
        raise DomainError(msg)
    return number


@dataclass(frozen=True)
class Kernel:
    """The kernel of order n: ``[1 − t]₊^n`` for ``0 ≤ n < ∞``, the Gaussian at ``n = ∞``, ``(1 + t)^n`` for ``n < 0``.

    One axis, 1/n, holds them all: heavy tails below 0, the Gaussian at 0, compact kernels above. ``order`` becomes
    the exact rational it stands for (``math.inf`` stays a float); ``parameter`` keeps the object that was passed, so
    that a backend can differentiate with respect to it. 0 uniform, 1 Epanechnikov, 2 biweight,
    3 triweight, ∞ Gaussian, −1 Cauchy, −(df + d)/2 Student's t of df degrees of freedom in d dimensions (`Student`);
    ``α = 1 + 1/n``. An array of orders, one for each row, becomes `PerRow`; `entmax` and `weights` take it.

    Raises:
        DomainError: the order is −∞ (which is ∞), NaN or not a number.

    Source: arXiv:2601.22766, section 2.

    >>> Kernel(1.5).order, Kernel.from_alpha("3/2").order
    (Fraction(3, 2), Fraction(2, 1))
    """

    order: Any
    parameter: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        number = self.order if isinstance(self.order, PerRow) else exact_or_each(self.order, "order", _order)
        if self.parameter is None:
            object.__setattr__(self, "parameter", self.order)
        object.__setattr__(self, "order", number)

    @classmethod
    def from_alpha(cls, alpha: Any) -> Kernel:
        """The kernel whose adaptive rule is α-entmax: ``n = 1/(α − 1)`` exactly; α = 1 is n = ∞, below it n < −1.

        Raises:
            DomainError: ``alpha ≤ 0``, NaN or not a number.
        """
        return cls(exact_or_each(alpha, "alpha", _order_of_alpha))

    @property
    def alpha(self) -> Any:
        """``1 + 1/n``; ``inf`` at order 0 and 1 at order ∞; `PerRow` where the order is."""
        if isinstance(self.order, PerRow):
            return PerRow(self.order.shape, tuple(Kernel(each).alpha for each in self.order.numbers))
        if self.order == 0:
            return INFINITY
        return Fraction(1) if self.order == INFINITY else 1 + 1 / self.order


@dataclass(frozen=True)
class Student:
    """Student's t with df degrees of freedom: the kernel ``(1 + ‖q − k‖²/h²)^−(df + d)/2`` of keys of width d.

    Its order is known once the width is, so `regression` and `attention` take it in the place of a `Kernel`. Under
    `Fixed`, ``h² = df·σ²`` for the scale σ of the distribution.

    Attributes:
        df: degrees of freedom, positive and finite.

    Raises:
        DomainError: df is not a positive finite number.

    >>> Student(3).at(2).order
    Fraction(-5, 2)
    """

    df: Any

    def __post_init__(self) -> None:
        _positive(self.df, "df")

    def at(self, width: int) -> Kernel:
        """The kernel for keys of this width d ≥ 0: its order is −(df + d)/2."""
        return Kernel(-(_positive(self.df, "df") + width) / 2)


def resolve_kernel(order: Any = None, alpha: Any = None) -> Kernel:
    """The kernel given by either `order` or `alpha`; order ∞ (softmax) with neither.

    Raises:
        DomainError: both were given, or the one given is outside its domain.

    >>> resolve_kernel(alpha=2).order
    Fraction(1, 1)
    """
    if order is not None and alpha is not None:
        msg = f"pass order or alpha, not both; got order={shown(order)}, alpha={shown(alpha)}"
        raise DomainError(msg)
    if alpha is not None:
        return Kernel.from_alpha(alpha)
    return Kernel(INFINITY if order is None else order)


@dataclass(frozen=True)
class Fixed:
    """One bandwidth h for every query: ``γ = (h² − min D)/2``; the ball is empty if ``h² < min D``.

    For negative orders ``γ = −(h² + min D)/2``. Scores that are no distances may have ``h² + min D ≤ 0``: such a row
    has no weights, as that of an empty ball.

    Attributes:
        h: bandwidth, in the unit of distances; positive and finite, or an array with one for each row. At order ∞,
            the Gaussian with σ = h.

    Raises:
        DomainError: h is not a positive finite number.

    Source: arXiv:2601.22766, section 3 (normalized ReLU at order 1).
    """

    h: Any

    def __post_init__(self) -> None:
        exact_or_each(self.h, "h", _positive)

    @property
    def exact(self) -> Any:
        """The exact value of h: a Fraction, or `PerRow` of them."""
        return exact_or_each(self.h, "h", _positive)


@dataclass(frozen=True)
class Anchored:
    """The bandwidth reaches a constant γ beyond the nearest key: ``w_i ∝ [1 − d_i/γ]₊^n``.

    For negative orders ``w_i ∝ (1 + d_i/γ)^n``.

    Attributes:
        gamma: reach, in the unit of scores; positive and finite, or an array with one for each row. At order ∞,
            argmax shared among ties.

    Raises:
        DomainError: gamma is not a positive finite number.

    Source: arXiv:2601.22766, section 4 (ReLUmax at order 1).
    """

    gamma: Any = 1.0

    def __post_init__(self) -> None:
        exact_or_each(self.gamma, "gamma", _positive)

    @property
    def exact(self) -> Any:
        """The exact value of gamma: a Fraction, or `PerRow` of them."""
        return exact_or_each(self.gamma, "gamma", _positive)


@dataclass(frozen=True)
class Adaptive:
    """The bandwidth solves the mass equation: α-entmax of ``βs`` with ``α = 1 + 1/n``, for n > 0 and n < −1.

    Attributes:
        beta: inverse temperature, in the inverse unit of scores; positive and finite, or an array with one for each
            row.

    Raises:
        DomainError: beta is not a positive finite number.

    Source: arXiv:2601.22766, section 3 (sparsemax at order 1, softmax at ∞).
    """

    beta: Any = 1.0

    def __post_init__(self) -> None:
        exact_or_each(self.beta, "beta", _positive)

    @property
    def exact(self) -> Any:
        """The exact value of beta: a Fraction, or `PerRow` of them."""
        return exact_or_each(self.beta, "beta", _positive)


@dataclass(frozen=True)
class Nearest:
    """Keep the k keys of largest score, and apply `then` to them; at a tied k-th score any choice is admissible.

    Attributes:
        k: number of keys to keep, an int of at least 1; a row of fewer keys keeps all.
        then: the rule for the kept keys (not another Nearest).

    Raises:
        DomainError: k is not a positive int, or `then` is not one of the other rules.

    Source: arXiv:2601.22766, section 4 (top-k softmax; top-k uniform at order 0).
    """

    k: int
    then: Fixed | Anchored | Adaptive = field(default_factory=Adaptive)

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", exact_index(self.k, "k", 1))
        if not isinstance(self.then, Fixed | Anchored | Adaptive):
            msg = f"then must be Fixed, Anchored or Adaptive; got {shown(self.then)}"
            raise DomainError(msg)


Rule = Fixed | Anchored | Adaptive | Nearest


class Mechanism(NamedTuple):
    """A point of the plane: a kernel under a rule."""

    kernel: Kernel
    rule: Rule


def check_mechanism(kernel: Any, rule: Any, width: int | None = None) -> Mechanism:
    """`kernel` and `rule` as a Mechanism, if together they define weights.

    Args:
        kernel: a Kernel, or a Student where there are keys.
        rule: the rule.
        width: d of the keys (..., m, d), where the weights are those of keys.

    Raises:
        DomainError: not a Kernel or a rule, or an order with a rule that does not define it.
    """
    if isinstance(kernel, Student) and width is not None:
        kernel = kernel.at(width)
    if isinstance(kernel, Student):
        msg = f"the order of {kernel!r} depends on the width of keys; pass Student(df).at(width)"
        raise DomainError(msg)
    if not isinstance(kernel, Kernel):
        msg = f"kernel must be a Kernel, such as Kernel(2); got {shown(kernel)}"
        raise DomainError(msg)
    if not isinstance(rule, Fixed | Anchored | Adaptive | Nearest):
        msg = f"rule must be Fixed, Anchored, Adaptive or Nearest; got {shown(rule)}"
        raise DomainError(msg)
    inner = rule.then if isinstance(rule, Nearest) else rule
    for number, name in ((kernel.order, "order"), (inner.exact, "parameter of the rule")):
        if isinstance(number, PerRow):
            msg = f"one {name} holds for all rows here; got an array of the shape {number.shape}"
            raise DomainError(msg)
    if kernel.order == 0 and isinstance(rule, Anchored | Adaptive):
        msg = f"order 0 is defined with Fixed and Nearest only; got {rule!r}"
        raise DomainError(msg)
    if -1 <= kernel.order < 0 and isinstance(inner, Adaptive):
        msg = f"Adaptive takes orders below -1 or above 0, alpha above 0; got order {kernel.order}"
        raise DomainError(msg)
    return Mechanism(kernel, rule)


_NAMES: dict[str, tuple[Any, type[Fixed | Anchored | Adaptive | Nearest]]] = {
    "softmax": (INFINITY, Adaptive),
    "sparsemax": (1, Adaptive),
    "entmax15": (2, Adaptive),
    "normalized_relu": (1, Fixed),
    "relumax": (1, Anchored),
    "topk_softmax": (INFINITY, Nearest),
    "topk_uniform": (0, Nearest),
    "uniform": (0, Fixed),
    "epanechnikov": (1, Fixed),
    "biweight": (2, Fixed),
    "triweight": (3, Fixed),
    "gaussian": (INFINITY, Fixed),
    "cauchy": (-1, Fixed),
}
_FAMILIES: dict[str, tuple[tuple[str, ...], Callable[..., Kernel]]] = {
    "student": (("df", "width"), lambda df, width: Student(df).at(exact_index(width, "width", 0))),
    "rational_quadratic": (("power",), lambda power: Kernel(-_positive(power, "power"))),
}
"""Those under `Fixed` whose order follows from parameters of their own: the names of these, and the kernel."""
NAMES = tuple(sorted({*_NAMES, *_FAMILIES}))


def mechanism(name: str, **parameters: Any) -> Mechanism:
    """The mechanism with the common name `name`; `parameters` are those of its rule.

    "student" also takes ``df`` and ``width``, the d of keys: ``(1 + ‖q − k‖²/h²)^−(df + d)/2``; "rational_quadratic"
    takes ``power``: ``(1 + ‖q − k‖²/h²)^−power``.

    Raises:
        DomainError: an unknown name, or parameters that its rule does not accept.

    Source: arXiv:2601.22766, table 1.

    >>> mechanism("entmax15")
    Mechanism(kernel=Kernel(order=Fraction(2, 1)), rule=Adaptive(beta=1.0))
    >>> mechanism("biweight", h=2).rule
    Fixed(h=2)
    >>> mechanism("student", df=3, width=2, h=1).kernel
    Kernel(order=Fraction(-5, 2))
    """
    if not isinstance(name, str) or name not in NAMES:
        msg = f"unknown mechanism {shown(name)}; known: {', '.join(NAMES)}"
        raise DomainError(msg)
    if name in _FAMILIES:
        own, family = _FAMILIES[name]
        rule: type[Fixed | Anchored | Adaptive | Nearest] = Fixed
    else:
        order, rule = _NAMES[name]
        own, family = (), lambda: Kernel(order)
    try:
        kernel = family(**{key: value for key, value in parameters.items() if key in own})
        return Mechanism(kernel, rule(**{key: value for key, value in parameters.items() if key not in own}))
    except TypeError as error:
        names = ", ".join([*own, *(item.name for item in fields(rule))])
        msg = f"{name} takes the parameters {names} of {rule.__name__}; got {parameters!r} ({error})"
        raise DomainError(msg) from None


class AttentionInfo(NamedTuple):
    """The result of attention with ``info=True``.

    Attributes:
        y: (..., H, T, e) outputs.
        log_normalizer: (..., H, T), ``log Σ_i [1 − d_i/γ]₊^n`` of the ratio form; 0 for one key, at most log S.
        threshold: (..., H, T), τ in units of score/n: a key has weight where ``βs_i/n > τ``; −∞ at n = ∞.
        support: (..., H, T, S) booleans, True where the weight is positive.
    """

    y: Any
    log_normalizer: Any
    threshold: Any
    support: Any
