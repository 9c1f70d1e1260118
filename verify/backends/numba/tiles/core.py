"""The core of the Numba backend: rows by `numba.core`, and tiles of regression and attention in threads.

`sparse_queries` handles kernels of bounded reach in any dtype. For inputs narrower than float64, `broad_queries` takes
the queries that it leaves, and `gaussian_queries` handles the Gaussian. `_arrays.tiles` does what none of them can:
nearest keys, negative orders, rows with NaN, empty rows, and float64 rows where nearly every key has weight. Each piece
of work is a part of one key head; there are only as many as keep the threads busy, because each piece has its own
gradient sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np

from kernelproof.verify.backends._arrays.core import KINDS, Array, Flags, Floats, Law
from kernelproof.verify.backends._arrays.double_word import two_sum
from kernelproof.verify.backends._arrays.masking import Ints
from kernelproof.verify.backends._arrays.policy import Plan
from kernelproof.verify.backends._arrays.problem import GradientSums, Problem, Sums
from kernelproof.verify.backends._arrays.rounding import rounded
from kernelproof.verify.backends.numba.core import FastCore
from kernelproof.verify.backends.numba.sums import COMPILED
from kernelproof.verify.backends.numba.threads import each
from kernelproof.verify.backends.numba.tiles import broad_queries, gaussian_queries, sparse_queries
from kernelproof.verify.backends.numba.tiles.screening import Proposer, floors_of, reach_of
from kernelproof.verify.backends.numba.tiles.visible_keys import KeyHead, allowed_of

TILE = 1 << 20  # scores of a tile: 4 MiB of float32
PIECES = 8
SHARE = 1 / 4  # the share of keys that may be taken one by one, if the alternative is slow
SHARE_OF_FEW = 1 / 16  # the same if the alternative is BLAS, whose cost per key is about a sixteenth
SMALL = 1 << 22  # with fewer scores than this, threads cost more than they save
# Untyped, because most of their arguments are passed as one tuple.
_FORWARD: Any = sparse_queries.forward
_BACKWARD: Any = sparse_queries.backward


@dataclass(frozen=True)
class KeyHeadPiece:
    """Queries `low` to `high` of a key head, counted over its query heads one after the other."""

    head: int
    low: int
    high: int


@dataclass(frozen=True)
class HeadTile:
    """Queries `rows` of a query head, which see only keys before `end`."""

    head: int
    rows: slice
    ends: Ints
    end: int


@dataclass(frozen=True)
class Share:
    """The gradients from one piece, as high and low halves: in k (2, S, d), v (2, S, e) and the numbers (2, 2)."""

    k: Floats
    v: Floats
    numbers: Floats


def pieces_of(problem: Problem) -> list[KeyHeadPiece]:
    """Split a problem into pieces."""
    heads, rows = len(problem.heads.k), problem.heads.group * problem.heads.q.shape[1]
    count = max(1, min(-(-PIECES // max(heads, 1)), rows))
    bounds = np.linspace(0, rows, count + 1).astype(int).tolist()
    return [KeyHeadPiece(head, *pair) for head in range(heads) for pair in pairwise(bounds)]


def parts_of(problem: Problem, piece: KeyHeadPiece, most: int) -> Iterator[HeadTile]:
    """The tiles of a piece, each of at most `most` scores or of one query."""
    queries, keys = problem.heads.q.shape[1], problem.heads.k.shape[1]
    size = max(1, most // keys)
    at = piece.low
    while at < piece.high:
        head, row = piece.head * problem.heads.group + at // queries, at % queries
        stop = min(row + size, queries, row + piece.high - at)
        ends = problem.masking.ends(head, slice(row, stop))
        yield HeadTile(head, slice(row, stop), ends, int(ends.max()))
        at += stop - row


def _numbers(law: Law, reach: float, share: float) -> Floats:
    return np.array([KINDS.index(law.kind), law.order, law.parameter, reach, share])


def _broad(problem: Problem, law: Law) -> bool:
    """Whether `Broad` takes the queries that `Sparse` leaves."""
    return problem.narrow and 1 <= law.order < np.inf


def exact_scores(problem: Problem, head: KeyHead, at: int, rows: Ints | slice, ends: Ints) -> tuple[Floats, Floats]:
    """Scores (n, end) of queries of the query head `at` in float64, shifted as in `Proposal`, and their errors (n,)."""
    q, width, end = problem.heads.q[at, rows], head.k.shape[1], int(ends.max())
    bias, allowed = allowed_of(problem, at, rows, end)
    with np.errstate(all="ignore"):
        scores = np.matmul(problem.scale * q, head.k[:end].T)
        if problem.distances:
            scores -= problem.scale * head.squares[:end] / 2
        head.mask(scores, bias, allowed)
        sizes = np.sqrt((q * q).sum(axis=1)) + head.longest(ends, allowed)
        errors = (2 * width + 8) * 2.0**-53 * abs(problem.scale) * sizes**2
    return scores, errors


def _each(problem: Problem, job: Callable[[Any], None], jobs: Sequence[Any]) -> None:
    scores = problem.heads.q.shape[0] * problem.heads.q.shape[1] * problem.heads.k.shape[1]
    each(job, jobs, numba.get_num_threads() if scores > SMALL else 1)


@dataclass(frozen=True)
class Sparse:
    """Queries whose kernel has bounded reach.

    Attributes:
        problem: regression or attention.
        law: kernel and rule.
        reach: how far below the best score a key may have weight.
        left: (F, T), filled: the queries left undone.
    """

    problem: Problem
    law: Law
    reach: float
    left: Flags

    def _parts(self, piece: KeyHeadPiece, upstream: Floats | None) -> Iterator[tuple[HeadTile, Any]]:
        """The tiles of a piece, and the first arguments of both compiled functions."""
        problem, heads = self.problem, self.problem.heads
        head = KeyHead(problem, piece.head)
        proposer = Proposer(problem, head)
        # Under an adaptive rule most keys in reach have no weight, and are dropped before they cost much.
        to_broad = upstream is None and _broad(problem, self.law) and self.law.kind != "adaptive"
        numbers = _numbers(self.law, self.reach, SHARE_OF_FEW if to_broad else SHARE)
        for part in parts_of(problem, piece, TILE):
            q = heads.q[part.head, part.rows]
            bias, allowed = allowed_of(problem, part.head, part.rows, part.end)
            proposal = proposer.propose(q, part.ends, bias, allowed)
            slacks = proposal.slacks
            if upstream is not None:
                finite = np.isfinite(upstream[part.head, part.rows]).all(axis=1)
                slacks = np.where(finite, slacks, np.inf)
            yield (
                part,
                (
                    proposal.scores,
                    part.ends,
                    floors_of(self.law.kind, self.law.parameter, proposal.shifts),
                    slacks,
                    np.zeros((0, 0)) if bias is None else bias,
                    q,
                    head.k,
                    head.v,
                    numbers,
                    problem.scale,
                    problem.distances,
                    not problem.narrow,
                ),
            )

    def forward(self, piece: KeyHeadPiece, y: Array) -> None:
        """Fill y (F, T, e) where it can."""
        for part, arguments in self._parts(piece, None):
            found = np.zeros((part.rows.stop - part.rows.start, y.shape[2]))
            _FORWARD(*arguments, found, self.left[part.head, part.rows])
            y[part.head, part.rows] = rounded(found, y.dtype)

    def backward(self, piece: KeyHeadPiece, upstream: Floats, of_q: Floats, share: Share) -> None:
        """Fill of_q (F, T, d) where it can, and add to `share`."""
        for part, arguments in self._parts(piece, upstream):
            place = part.head, part.rows
            sums = (share.k, share.v, share.numbers)
            _BACKWARD(*arguments, upstream[place], of_q[place], *sums, self.left[place])


@dataclass(frozen=True)
class Gaussian:
    """Order ∞, for inputs narrower than float64.

    Attributes:
        problem: regression or attention.
        law: kernel and rule.
        left: (F, T), filled: the queries left undone.
    """

    problem: Problem
    law: Law
    left: Flags

    @property
    def factor(self) -> float:
        """The factor of the scores in the exponent."""
        h = self.law.parameter
        return h if self.law.kind == "adaptive" else 1.0 / h / h

    def _parts(self, piece: KeyHeadPiece, head: KeyHead) -> Iterator[tuple[HeadTile, Floats, Floats]]:
        """The tiles of a piece, their weights and the sums of these; the weights of a query left undone are 0."""
        for part in parts_of(self.problem, piece, TILE // 2):
            scores, errors = exact_scores(self.problem, head, part.head, part.rows, part.ends)
            totals = np.empty(len(scores))
            gaussian_queries.weigh(scores, part.ends, errors, self.factor, totals, self.left[part.head, part.rows])
            yield part, scores, totals

    def forward(self, piece: KeyHeadPiece, y: Array) -> None:
        """Fill y (F, T, e) where it can."""
        head = KeyHead(self.problem, piece.head)
        for part, weights, totals in self._parts(piece, head):
            found = np.matmul(weights, head.v[: part.end]) / totals[:, None]
            y[part.head, part.rows] = rounded(found, y.dtype)

    def backward(self, piece: KeyHeadPiece, upstream: Floats, of_q: Floats, share: Share) -> None:
        """Fill of_q (F, T, d) where it can, and add to `share`."""
        scale, head = self.problem.scale, KeyHead(self.problem, piece.head)
        # Added in place: a head has many tiles, and a temporary of the size of a head for each would cost as much as
        # BLAS.
        of_k, of_v = np.empty_like(head.k), np.empty_like(head.v)
        for part, weights, totals in self._parts(piece, head):
            place, end = (part.head, part.rows), part.end
            finite = np.asarray(np.isfinite(upstream[place]).all(axis=1))
            self.left[place] |= ~finite
            weights[~finite] = 0.0
            g = np.where(finite[:, None], upstream[place], 0.0)
            through = np.matmul(g, head.v[:end].T)
            gaussian_queries.vjp(weights, totals, self.factor, through)
            q = self.problem.heads.q[place]
            of_q[place] = scale * np.matmul(through, head.k[:end])
            share.k[0, :end] += np.matmul(through.T, scale * q, out=of_k[:end])
            share.v[0, :end] += np.matmul(weights.T, g / totals[:, None], out=of_v[:end])
            share.numbers[0, 1] += self._parameter(part, q, of_q[place], through)

    def _parameter(self, part: HeadTile, q: Floats, of_q: Floats, through: Floats) -> float:
        """The gradient in beta, ``−Σ c·gap/β`` with c the gradients in the scores, or in h, ``2 Σ c·gap/h``.

        The c of a query sum to 0, so ``Σ c·gap = −Σ c·s``, and s is q·k except for the bias.
        """
        moment = float((of_q * q).sum())
        bias, allowed = allowed_of(self.problem, part.head, part.rows, part.end)
        if bias is not None and allowed is not None:
            moment += float((through * np.where(allowed, bias, 0.0)).sum())
        return moment * (1.0 if self.law.kind == "adaptive" else -2.0) / self.law.parameter


@dataclass(frozen=True)
class Broad:
    """A finite order n ≥ 1, for inputs narrower than float64, where most keys have weight.

    Attributes:
        problem: regression or attention.
        law: kernel and rule.
        left: (F, T) the queries to do; cleared for those that are done.
    """

    problem: Problem
    law: Law
    left: Flags

    def forward(self, piece: KeyHeadPiece, y: Array) -> None:
        """Fill y (F, T, e) where it can."""
        head, numbers = KeyHead(self.problem, piece.head), _numbers(self.law, np.inf, 1.0)
        for part in parts_of(self.problem, piece, TILE // 2):
            todo = self.left[part.head, part.rows]
            if not todo.any():
                continue
            rows, ends = part.rows.start + np.flatnonzero(todo), part.ends[todo]
            scores, errors = exact_scores(self.problem, head, part.head, rows, ends)
            q = self.problem.heads.q[part.head, rows]
            shifts = self.problem.scale * (q * q).sum(axis=1) / 2 if self.problem.distances else np.zeros(len(q))
            totals, left = np.empty(len(q)), np.ones(len(q), np.bool_)
            broad_queries.weigh(scores, ends, errors, shifts, numbers, totals, left)
            found = np.matmul(scores, head.v[: scores.shape[1]]) / totals[:, None]
            y[part.head, rows] = rounded(found, y.dtype)
            self.left[part.head, rows] = left


class TiledCore(FastCore):
    """`FastCore` with its own tiles for regression and attention."""

    def sums(self, dtype: Any) -> Sums:
        """Sums by compiled loops, for any dtype."""
        del dtype
        return COMPILED

    def attend(self, problem: Problem, plan: Plan, y: Array) -> Flags:
        """Fill y (F, T, e) where possible; return (F, T) flags of the queries left undone."""
        left = np.ones(y.shape[:2], np.bool_)
        mechanism = _mechanism(problem, plan, left)
        if mechanism is not None:
            _each(problem, lambda piece: mechanism.forward(piece, y), pieces_of(problem))
        if isinstance(mechanism, Sparse) and _broad(problem, plan.law) and left.any():
            rest = Broad(problem, plan.law, left)
            _each(problem, lambda piece: rest.forward(piece, y), pieces_of(problem))
        return left

    def attend_back(self, problem: Problem, plan: Plan, upstream: Floats, found: GradientSums) -> Flags:
        """Add the gradients of the queries it handles to `found`; return (F, T) flags of the queries left undone."""
        left = np.ones(upstream.shape[:2], np.bool_)
        mechanism = _mechanism(problem, plan, left)
        if mechanism is None or (isinstance(mechanism, Gaussian) and problem.distances):
            return left
        pieces = pieces_of(problem)
        shares = [self._share(piece, found, alone=len(pieces) == len(found.k)) for piece in pieces]
        work = zip(pieces, shares, strict=True)
        _each(problem, lambda pair: mechanism.backward(pair[0], upstream, found.q, pair[1]), list(work))
        for piece, share in zip(pieces, shares, strict=True):
            if len(pieces) > len(found.k):
                for sums, (part, lost) in ((found.k[piece.head], share.k), (found.v[piece.head], share.v)):
                    sums[0], rest = two_sum(sums[0], part)
                    sums[1] += rest + lost
            found.orders.extend(share.numbers[:, 0].tolist())
            found.parameters.extend(share.numbers[:, 1].tolist())
        return left

    @staticmethod
    def _share(piece: KeyHeadPiece, found: GradientSums, *, alone: bool) -> Share:
        k, v = found.k[piece.head], found.v[piece.head]
        return Share(k, v, np.zeros((2, 2))) if alone else Share(np.zeros_like(k), np.zeros_like(v), np.zeros((2, 2)))


def _mechanism(problem: Problem, plan: Plan, left: Flags) -> Sparse | Gaussian | None:
    """The strategy for a problem, or None if none here applies."""
    if plan.keep is not None or not left.size or not problem.heads.k.shape[1] or plan.law.order < 0:
        return None
    reach = reach_of(plan.law.kind, plan.law.order, plan.law.parameter)
    if reach is not None:
        return Sparse(problem, plan.law, reach, left)
    return Gaussian(problem, plan.law, left) if problem.narrow else None


CORE = TiledCore()
