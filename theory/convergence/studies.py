"""The studies: the quantities, their data, and their descriptions for the paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from kernelproof.reference.ops.attention import default_scale
from kernelproof.theory.convergence import data
from kernelproof.theory.convergence.data import Points, Source
from kernelproof.theory.convergence.norms import Norm
from kernelproof.theory.convergence.profile import Profile
from kernelproof.theory.convergence.quantities import SCALAR, VECTOR, Bandwidth, Gradient, Output, Quantity, Weights


@dataclass(frozen=True)
class Datum:
    """A quantity on one datum."""

    name: str
    source: Source
    quantity: Quantity


@dataclass(frozen=True)
class Study:
    """A quantity that converges, its limit, and its constant.

    Attributes:
        slug: its name on the command line and in file names.
        title: its heading.
        says: LaTeX, a sentence for the caption: the quantity, its limit and its first-order term.
        norms: the norms in its figure.
        data: seed -> the data it runs on.
    """

    slug: str
    title: str
    says: str
    norms: tuple[Norm, ...]
    data: Callable[[int], tuple[Datum, ...]]


def _profile(_: int) -> tuple[Datum, ...]:
    return (Datum("profile", Source.PLANTED, Profile()),)


def _rows(rule: Literal["adaptive", "anchored"], scale: Fraction) -> Callable[[int], tuple[Datum, ...]]:
    def found(seed: int) -> tuple[Datum, ...]:
        return tuple(Datum(row.name, row.source, Weights(row.values, rule, scale)) for row in data.rows(seed))

    return found


def rate(points: Points) -> Fraction:
    """β of a design: 1 for the small ones, 4 for the regular one (σ = 1/2, twice its spacing), 1/√d for real heads."""
    if points.source is Source.REAL:
        return default_scale(len(points.q))
    return Fraction(4) if points.name == "regular design" else Fraction(1)


def _fixed(seed: int) -> tuple[Datum, ...]:
    def weights(points: Points) -> Weights:
        return Weights(tuple(-d / 2 for d in points.distances), "fixed", rate(points))

    return tuple(Datum(each.name, each.source, weights(each)) for each in data.points(seed))


def _bandwidths(seed: int) -> tuple[Datum, ...]:
    return tuple(Datum(each.name, each.source, Bandwidth(each.distances, rate(each))) for each in data.points(seed))


def _outputs(op: Literal["regression", "attention"]) -> Callable[[int], tuple[Datum, ...]]:
    def found(seed: int) -> tuple[Datum, ...]:
        points = data.points(seed, attention=op == "attention")
        return tuple(Datum(p.name, p.source, Output(p.q, p.k, p.v, op, rate(p))) for p in points)

    return found


def _gradients(by: Literal["z", "alpha"]) -> Callable[[int], tuple[Datum, ...]]:
    def found(seed: int) -> tuple[Datum, ...]:
        rows = [(row, data.cotangent(seed, len(row.values))) for row in data.rows(seed)]
        norms = VECTOR if by == "z" else SCALAR
        return tuple(Datum(row.name, row.source, Gradient(row.values, g, by, norms)) for row, g in rows)

    return found


_TWO = (Norm.VARIATION, Norm.DIVERGENCE)
_ALL = (
    Study(
        "profile",
        "Kernel profile",
        r"The profile $[1-t/n]_+^n$ of the kernel of order $n$ tends to the Gaussian $e^{-t}$, "
        r"$t=\|x\|^2/(2\sigma^2)$: $n\cdot\sup_t$ of the difference tends to $2e^{-2}$, and the divergence is that of "
        r"the densities in the plane, $\mathrm{KL}\sim\frac{5}{2}n^{-2}$.",
        (Norm.MAX, Norm.DIVERGENCE),
        _profile,
    ),
    Study(
        "weights-adaptive",
        "Weights, adaptive bandwidth",
        r"$\alpha$-entmax of order $n=1/(\alpha-1)$ tends to $p=\mathrm{softmax}(z)$ with first-order term "
        r"$p_i(E-\ell_i^2)/(2n)$, $\ell=\log p$, $E=\sum_j p_j\ell_j^2$, and divergence "
        r"$\mathrm{Var}_p(\ell^2)/(8n^2)$.",
        _TWO,
        _rows("adaptive", Fraction(1)),
    ),
    Study(
        "weights-fixed",
        "Weights, fixed bandwidth",
        r"With $h^2=2n\sigma^2$ the weights of the kernel of order $n$ tend to the Gaussian ones, with first-order "
        r"term $p_i(\sum_j p_jx_j^2-x_i^2)/(2n)$, $x_i=\|q-k_i\|^2/(2\sigma^2)$.",
        _TWO,
        _fixed,
    ),
    Study(
        "weights-anchored",
        "Weights, anchored bandwidth",
        r"With $\gamma=n/\beta$ the weights $w_i\propto[1-d_i/\gamma]_+^n$ tend to $p=\mathrm{softmax}(\beta z)$, with "
        r"first-order term $p_i(\sum_j p_jx_j^2-x_i^2)/(2n)$, $x_i=\beta d_i$; here $\beta=1/2$.",
        _TWO,
        _rows("anchored", Fraction(1, 2)),
    ),
    Study(
        "bandwidth",
        "Bandwidth of entmax",
        r"The bandwidth of $\alpha$-entmax as kernel regression satisfies $h^2=2n/\beta-2\,\mathrm{LSE}/\beta+"
        r"E/(n\beta)+O(n^{-2})$; shown is the distance of $h^2-2n/\beta$ from its limit.",
        (Norm.SIZE,),
        _bandwidths,
    ),
    Study(
        "regression",
        "Regression output",
        r"The output $\hat y=\sum_i w_iv_i$ of adaptive kernel regression tends to the Gaussian one with first-order "
        r"term $\sum_i p_i(E-\ell_i^2)v_i/(2n)$.",
        (Norm.L1,),
        _outputs("regression"),
    ),
    Study(
        "attention",
        "Attention output",
        r"The output of $\alpha$-entmax attention tends to that of softmax attention with first-order term "
        r"$\sum_i p_i(E-\ell_i^2)v_i/(2n)$.",
        (Norm.L1,),
        _outputs("attention"),
    ),
    Study(
        "gradient-z",
        "Gradient in the logits",
        r"The vector--Jacobian product of $\alpha$-entmax in its logits tends to that of softmax, with the gradient of "
        r"$\sum_i g_ip_i(E-\ell_i^2)/2$ as its coefficient of $1/n$.",
        (Norm.L1,),
        _gradients("z"),
    ),
    Study(
        "gradient-alpha",
        r"Gradient in $\alpha$",
        r"The gradient of $\langle g, p\rangle$ in $\alpha$ tends to $\sum_i g_ip_i(E-\ell_i^2)/2$, its value at "
        r"$\alpha=1$; its coefficient of $1/n$ is twice the second-order term of the weights.",
        (Norm.SIZE,),
        _gradients("alpha"),
    ),
)
STUDIES: MappingProxyType[str, Study] = MappingProxyType({study.slug: study for study in _ALL})
"""Every study of the reference, by its slug."""
