"""A variant: a kernel profile and a bandwidth rule, written once over an arithmetic context.

The weights of a row with gaps ``d_i = max s − s_i`` are ``w_i = K(t_i)/Σ_j K(t_j)`` with ``t_i = d_i/γ`` ("ratio") or
``t_i = d_i − γ`` ("shift") and one number γ for the row; K is 0 from `edge` on. Everything is decided for this class: K
is nonincreasing on its support, so that both K(t_i) and the mass ``Σ K(t_j)`` increase with γ, and so does the equation
of the bandwidth rule. A row that cannot be proved to belong to the class is undecided, never guessed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal

from kernelproof.reference.errors import DomainError, shown
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.model import INFINITY

Profile = Callable[..., Any]
"""``K(x, t, **parameters)`` for t up to the edge, in the numbers of the context x."""
Equation = Callable[..., Any]
"""``E(x, terms, **parameters)``, symmetric in the terms K(t_j) of positive weight; γ is where it is 0."""


@dataclass(frozen=True)
class Constant:
    """γ is the parameter of this name, the same for every row.

    Attributes:
        parameter: a name in `Variant.parameters`.
    """

    parameter: str = "gamma"


@dataclass(frozen=True)
class Root:
    """γ is the root of an equation that rises with γ.

    Attributes:
        equation: E.
        within: open interval that contains γ, both ends finite.
        rises: whether the form of the equation makes it increase with every term, as in ``Σ K(t_j) − c``; otherwise
            that is proved row by row.

    Raises:
        DomainError: `within` is not an interval.
    """

    equation: Equation
    within: tuple[float | Fraction, float | Fraction] = (2.0**-60, 2.0**60)
    rises: bool = False

    def __post_init__(self) -> None:
        low, high = (exact_number(end, "within") for end in self.within)
        if not (isinstance(low, Fraction) and isinstance(high, Fraction) and low < high):
            msg = f"within must be two finite numbers in ascending order; got {shown(self.within)}"
            raise DomainError(msg)


def mass(total: Any = 1, within: tuple[float | Fraction, float | Fraction] = (2.0**-60, 2.0**60)) -> Root:
    """The mass equation ``Σ_j K(t_j) = total``, which turns a power profile into entmax.

    Args:
        total: a positive number, or the name of a parameter.
        within: interval that contains γ; for "shift", γ may be negative.

    Raises:
        DomainError: `total` is neither.

    Source: arXiv:2601.22766, section 3.
    """
    name = total if isinstance(total, str) and total.isidentifier() else None
    exact = None if name is not None else exact_number(total, "total")
    if exact is not None and not (isinstance(exact, Fraction) and exact > 0):
        msg = f"total must be positive and finite, or the name of a parameter; got {shown(total)}"
        raise DomainError(msg)

    def to_number(x: Any, terms: list[Any]) -> Any:
        return x.total(terms) - x.number(exact)

    def to_parameter(x: Any, terms: list[Any], **parameters: Any) -> Any:
        return x.total(terms) - parameters[str(name)]

    return Root(to_number if name is None else to_parameter, within, rises=True)


def _taken(function: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `parameters` that `function` accepts as keywords."""
    known = inspect.signature(function).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known):
        return dict(parameters)
    names = {each.name for each in known}
    return {name: value for name, value in parameters.items() if name in names}


@dataclass(frozen=True, eq=False)
class Variant:
    """A user-defined mechanism.

    Attributes:
        name: its name in reports.
        profile: K, written with the operators + − × ÷ ** (exact exponents) and the functions of the context.
        bandwidth: `Constant` or `Root`.
        geometry: "ratio", t = d/γ with γ > 0, or "shift", t = d − γ.
        edge: K is 0 from this t on, and continuous there; None: every key has weight.
        order: the power with which K vanishes at the edge, like the order of a kernel; ∞ without an edge.
        parameters: exact numbers by name, passed to the profile, to the equation and to the target as keywords.

    Raises:
        DomainError: a field is outside its domain; the message says what is allowed.

    >>> cosine = Variant("cosine", lambda x, t: x.cos(x.pi * t / 2) ** 2, Constant(), order=2, parameters={"gamma": 2})
    >>> cosine.edge
    1
    """

    name: str
    profile: Profile
    bandwidth: Constant | Root
    geometry: Literal["ratio", "shift"] = "ratio"
    edge: Any = 1
    order: Any = 1
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        given = "".join(f", {name}={value}" for name, value in self.parameters.items())
        return f"Variant({self.name!r}, order={self.order}, edge={self.edge}, {type(self.bandwidth).__name__}{given})"

    def __post_init__(self) -> None:
        if self.geometry not in {"ratio", "shift"}:
            msg = f"geometry must be 'ratio' or 'shift'; got {shown(self.geometry)}"
            raise DomainError(msg)
        if not isinstance(self.bandwidth, Constant | Root):
            msg = f"bandwidth must be Constant(...), Root(...) or mass(...); got {shown(self.bandwidth)}"
            raise DomainError(msg)
        for name, value in self.parameters.items():
            if not name.isidentifier() or not isinstance(exact_number(value, name), Fraction):
                msg = f"parameters are finite numbers by name; got {name!r} = {shown(value)}"
                raise DomainError(msg)
        if isinstance(self.bandwidth, Constant) and self.bandwidth.parameter not in self.parameters:
            msg = f"the bandwidth needs a parameter {self.bandwidth.parameter!r}; parameters: {dict(self.parameters)!r}"
            raise DomainError(msg)
        if self.edge is not None and not isinstance(exact_number(self.edge, "edge"), Fraction):
            msg = f"edge must be a finite number or None; got {shown(self.edge)}"
            raise DomainError(msg)
        taken = {name for function in self._functions for name in _taken(function, self.parameters)}
        own = {self.bandwidth.parameter} if isinstance(self.bandwidth, Constant) else set()
        if unused := set(self.parameters) - taken - own:
            msg = f"every parameter must be one of the profile or of the bandwidth; unused: {', '.join(sorted(unused))}"
            raise DomainError(msg)
        if self.geometry == "ratio":
            self._check_positive()
        order = exact_number(self.order, "order") if self.edge is not None else INFINITY
        if not order > 0:
            msg = f"order must be positive: at the edge the profile is 0; got {shown(self.order)}"
            raise DomainError(msg)
        object.__setattr__(self, "order", order)
        # Copied, because proofs about a variant are cached and must remain about these numbers.
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    @property
    def _functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.profile, self.bandwidth.equation) if isinstance(self.bandwidth, Root) else (self.profile,)

    def _check_positive(self) -> None:
        if self.exact_edge is not None and self.exact_edge <= 0:
            msg = f"with the geometry 'ratio' the edge must be positive; got {shown(self.edge)}"
            raise DomainError(msg)
        low = self.gamma if isinstance(self.bandwidth, Constant) else exact_number(self.bandwidth.within[0], "within")
        if low < 0 or (isinstance(self.bandwidth, Constant) and low == 0):
            msg = f"with the geometry 'ratio' γ must be positive; got {shown(low)}"
            raise DomainError(msg)

    def of_profile(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `parameters` that the profile accepts."""
        return _taken(self.profile, parameters)

    def of_equation(self, root: Root, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `parameters` that the equation of `root` accepts."""
        return _taken(root.equation, parameters)

    @property
    def gamma(self) -> Fraction:
        """The γ of `Constant`."""
        assert isinstance(self.bandwidth, Constant)
        return Fraction(exact_number(self.parameters[self.bandwidth.parameter], self.bandwidth.parameter))

    @property
    def exact_parameters(self) -> dict[str, Fraction]:
        """The parameters as exact rationals."""
        return {name: Fraction(exact_number(value, name)) for name, value in self.parameters.items()}

    @property
    def exact_edge(self) -> Fraction | None:
        """The edge as an exact rational."""
        return None if self.edge is None else Fraction(exact_number(self.edge, "edge"))

    @property
    def moves_with_anchor(self) -> bool:
        """Whether weights depend on the largest score itself, so that a tie for it is a kink."""
        return not (self.geometry == "shift" and isinstance(self.bandwidth, Root))
