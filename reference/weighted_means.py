"""Weighted means of values under kernel weights: the common part of `regression` and `attention`.

A problem has B independent heads. Head b has queries (T, d), keys (S, d) and values (S, e) of its key head. Scores are
exact rationals, `weighting` solves every row, and the chain rule carries the gradients of the scores to q, k and v.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.arithmetic import Arithmetic
from kernelproof.reference.enclosure import Block, Enclosure
from kernelproof.reference.model import Adaptive, Mechanism
from kernelproof.reference.rows import Row, exact_row
from kernelproof.reference.scores import exact_scores
from kernelproof.reference.solver import Solver, choose
from kernelproof.reference.weighting import PARAMETERS, RowTruth, RowVjp, effective

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WeightedMeans:
    """B heads of queries over key heads.

    Attributes:
        q: (B, T, d).
        k: (G, S, d).
        v: (G, S, e).
        group: (B,), the key head of each head.
        bias: (B, T, S), added to the scores; −∞ = may not attend. Its finite part is usually 0.
        scale: factor of the scores.
        distance: whether scores are ``−scale·‖q − k‖²/2`` instead of ``scale·q·k``.
    """

    q: Floats
    k: Floats
    v: Floats
    group: NDArray[np.intp]
    bias: Floats
    scale: Fraction
    distance: bool

    @cached_property
    def rows(self) -> list[list[Row]]:
        """The rows of exact scores, indexed [head][query]."""
        return [list(self._head(b)) for b in range(len(self.q))]

    def _head(self, b: int) -> Iterator[Row]:
        scores = exact_scores(self.q[b], self.k[self.group[b]], self.scale, distance=self.distance)
        for t, line in enumerate(scores):
            extra = self.bias[b, t].tolist()
            yield exact_row(
                [None if e == -np.inf else (s if e == 0 else s + Fraction(e)) for s, e in zip(line, extra, strict=True)]
            )

    def mean(self, solver: Solver, b: int, t: int, bits: int) -> list[Any]:
        """y of query t of head b, (e,) published numbers; exact for equal values in a column, or equal weights."""
        truth = solver.solve(self.rows[b][t], bits, f"query {t} of head {b}")
        width = self.v.shape[2]
        if not len(truth.keys):
            if not self.k.shape[1]:
                return [Fraction(0)] * width
            return [solver.hole] * width
        arithmetic = solver.arithmetic
        picked = self.v[self.group[b]][truth.keys]
        # Such a mean is rational whatever the weights are, and may be a midpoint.
        tied = truth.gaps[-1] == 0
        with solver.working(bits):
            return [
                sum(map(Fraction, column), Fraction(0)) / len(column)
                if arithmetic.certified and (tied or min(column) == max(column))
                else arithmetic.publish(
                    arithmetic.total([w * arithmetic.number(x) for w, x in zip(truth.weights, column, strict=True)])
                )
                for column in picked.T.tolist()
            ]

    def output(self, solver: Solver, bits: int, shape: tuple[int, ...]) -> Enclosure:
        """y of every query, as an array of `shape` (B·T·e numbers)."""
        heads, queries, width = self.q.shape[0], self.q.shape[1], self.v.shape[2]
        blocks: list[Block] = []
        for b in range(heads):
            for t in range(queries):
                start = (b * queries + t) * width

                def compute(arithmetic: Solver, more: int, b: int = b, t: int = t) -> Sequence[Any]:
                    return self.mean(arithmetic, b, t, more)

                blocks.append(solver.block(np.arange(start, start + width, dtype=np.intp), compute, bits))
        return solver.enclosure(shape, blocks)

    def gradients(
        self, cotangent: Floats, mechanism: Mechanism, arithmetic: str, bits: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Enclosure]:
        """The vector-Jacobian product: by "q", "k", "v", "order", "alpha" (Adaptive) and the rule's parameter.

        Args:
            cotangent: (B, T, e).
            mechanism: the kernel and its rule.
            arithmetic: "arb" or "mpmath".
            bits: precision of the first solve.
            shapes: the caller's shapes of q, k and v.
        """
        plain = Solver(mechanism, choose(arithmetic, mechanism))
        logs = Solver(mechanism, choose(arithmetic, mechanism, logarithms=True))
        parameter = PARAMETERS[type(effective(mechanism)[1])]
        keys = ["q", "k", "v", parameter]
        scalars = ["order", "alpha"] if isinstance(effective(mechanism)[1], Adaptive) else ["order"]
        out = {}
        together = self._sums(cotangent, logs, bits, with_order=True) if plain.arithmetic is logs.arithmetic else None
        for solver, names in ((plain, keys), (logs, scalars)):
            first = together or self._sums(cotangent, solver, bits, with_order=solver is logs)
            for name in names:

                def compute(
                    chosen: Solver, more: int, name: str = name, solver: Solver = solver, first: Any = first
                ) -> Sequence[Any]:
                    same = chosen is solver and more == bits
                    sums = first if same else self._sums(cotangent, chosen, more, with_order=solver is logs)
                    return chosen.publish(sums[name], more)

                size = int(np.prod(shapes.get(name, ()), dtype=np.int64))
                block = solver.block(np.arange(size, dtype=np.intp), compute, bits)
                out[name] = solver.enclosure(shapes.get(name, ()), [block])
        return out

    def _sums(self, cotangent: Floats, solver: Solver, bits: int, *, with_order: bool) -> dict[str, list[Any]]:
        with solver.working(bits):
            number = solver.arithmetic.number
            zero = number(0)
            sums = {
                name: np.full(array.shape, zero, dtype=object)
                for name, array in (("q", self.q), ("k", self.k), ("v", self.v))
            }
            parameter = PARAMETERS[type(effective(solver.mechanism)[1])]
            scalars = {"order": zero, "alpha": zero, parameter: zero}
            scale = number(self.scale)
            for b in range(len(self.q)):
                for t in range(self.q.shape[1]):
                    truth, gradients = self._vjp(cotangent, solver, bits, b, t, sums["v"], with_order=with_order)
                    scalars[parameter] += gradients.parameter
                    scalars["order"] += gradients.order
                    scalars["alpha"] += gradients.alpha if gradients.alpha is not None else zero
                    self._chain(sums, truth, gradients, solver.arithmetic, scale, b, t)
        return {
            **{name: list(array.ravel()) for name, array in sums.items()},
            **{name: [value] for name, value in scalars.items()},
        }

    def _vjp(
        self, cotangent: Floats, solver: Solver, bits: int, b: int, t: int, by_value: Any, *, with_order: bool
    ) -> tuple[RowTruth, RowVjp]:
        number = solver.arithmetic.number
        truth = solver.solve(self.rows[b][t], bits)
        upstream = [number(x) for x in cotangent[b, t].tolist()]
        picked = self.v[self.group[b]][truth.keys].tolist()
        for key, weight in zip(truth.keys, truth.weights, strict=True):
            by_value[self.group[b], key] += np.array([weight * g for g in upstream], dtype=object)
        total = solver.arithmetic.total
        local = [total([g * number(x) for g, x in zip(upstream, line, strict=True)]) for line in picked]
        return truth, solver.pull(truth, local, with_order=with_order)

    def _chain(
        self,
        sums: dict[str, Any],
        truth: RowTruth,
        gradients: RowVjp,
        arithmetic: Arithmetic,
        scale: Any,
        b: int,
        t: int,
    ) -> None:
        """Carry ∂L/∂s to q and k: ∂s/∂q = scale·k, or scale·(k − q) for distances."""
        number = arithmetic.number
        query = [number(x) for x in self.q[b, t].tolist()]
        g = self.group[b]
        for key, by_score in zip(truth.keys, gradients.scores, strict=True):
            c = by_score * scale
            point = [number(x) for x in self.k[g, key].tolist()]
            if self.distance:
                toward = np.array([c * (p - x) for p, x in zip(point, query, strict=True)], dtype=object)
                sums["q"][b, t] += toward
                sums["k"][g, key] -= toward
            else:
                sums["q"][b, t] += np.array([c * p for p in point], dtype=object)
                sums["k"][g, key] += np.array([c * x for x in query], dtype=object)
