"""Compare regression and attention of the Numba backend with a dense implementation of the same op in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from kernelproof.verify.bench.bench_record import Agreement, Goal
from kernelproof.verify.bench.figure import Contest, Figure, FigureFamily, FigureGroup, Sizes
from kernelproof.verify.bench.figures import _dense
from kernelproof.verify.bench.figures._rows import numba_backend, torch
from kernelproof.verify.cases.case import Case
from kernelproof.verify.judging.errors import first_order
from kernelproof.verify.judging.grades import GRADE_LIMITS
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.records import Contract, Inputs
from kernelproof.verify.truth.truth import truth_of

HEADS, TOKENS, WIDTH = 8, 4096, 64
GUARD = (20.0, 4 << 30)
"""Limits, in seconds and bytes, of one call: the weights of all pairs in float64 alone would be 1 GiB."""
BALL = 11.0
"""The h of the fixed rule: distances of N(0, 1) points in 64 dimensions are 11.3 ± 1, so two in five are inside."""


@dataclass(frozen=True)
class MixingVariant:
    """A kernel and a rule, and the function with which torch computes its weights.

    Attributes:
        slug: the id of its figures.
        order: n.
        rule: the bandwidth rule, as in the text of a case.
        name: its name in tables.
        weigh: maps scores to weights in torch.
    """

    slug: str
    order: float
    rule: str
    name: str
    weigh: _dense.Weigh


ATTENTION = (
    MixingVariant("softmax", np.inf, "adaptive:1", "softmax", _dense.softmax),
    MixingVariant("sparsemax", 1, "adaptive:1", "sparsemax", partial(_dense.entmax, order=1)),
    MixingVariant("relumax", 1, "anchored:1", "ReLUmax, γ = 1", partial(_dense.anchored, order=1, gamma=1.0)),
)
REGRESSION = (
    MixingVariant("gaussian", np.inf, "adaptive:1", "Gaussian", _dense.softmax),
    MixingVariant(
        "epanechnikov", 1, f"fixed:{BALL:g}", f"Epanechnikov, h = {BALL:g}", partial(_dense.fixed, order=1, h=BALL)
    ),
    MixingVariant("adaptive", 2, "adaptive:1", "biweight, adaptive", partial(_dense.entmax, order=2)),
)
DENSE: Mapping[str, Callable[..., Any]] = {"attention": _dense.attention, "regression": _dense.regression}


def inputs(tokens: int) -> dict[str, Any]:
    """q, k and v (H, T, 64) in float32, N(0, 1)."""
    draw = np.random.default_rng(0)
    return {name: draw.normal(0, 1, (HEADS, tokens, WIDTH)).astype(np.float32) for name in "qkv"}


def prepare(op: str, variant: MixingVariant, sizes: Sizes) -> Contest:
    """Prepare both on the same float32 inputs."""
    found, library = numba_backend(), torch()
    arrays = inputs(sizes.tokens(TOKENS))
    tensors = [library.from_numpy(arrays[name]) for name in "qkv"]
    case = _case(op, variant, arrays)

    def check(ours: Any, rival: Any) -> Agreement:
        picked = _picked(arrays)
        truth = truth_of(case, Inputs(picked))
        if truth is None:
            msg = f"there is no truth for {case.text!r}"
            raise AssertionError(msg)
        rows = (slice(0, None, HEADS - 1), slice(0, None, arrays["q"].shape[1] - 1))
        raw = [np.asarray(each)[rows].astype(np.float64).reshape(-1, WIDTH) for each in (ours, rival.numpy())]
        kappa, other = (
            float(first_order(each, truth.output, precision_of("float32", Contract())).kappa.max()) for each in raw
        )
        told = f"{len(raw[0])} rows against the truth: worst κ {kappa:.2g}; torch: worst κ {other:.2g}"
        return Agreement(passed=kappa <= GRADE_LIMITS["A"], compared=raw[0].size, what=told)

    call = getattr(found, op)
    dense = DENSE[op]
    return Contest(
        lambda: call(*(arrays[name] for name in "qkv"), case.kernel, case.parsed_rule),
        lambda: dense(*tensors, variant.weigh),
        check,
    )


def _picked(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of the first and the last query of the first and the last head, with all their keys."""
    ends = {name: array[:: HEADS - 1] for name, array in arrays.items()}
    return ends | {"q": ends["q"][:, :: arrays["q"].shape[1] - 1]}


def _case(op: str, variant: MixingVariant, arrays: Mapping[str, Any]) -> Case:
    size = arrays["k"].shape[1]
    shape = (2, 2, 2, size, WIDTH, WIDTH) if op == "attention" else (2, 2, size, WIDTH, WIDTH)
    order = "inf" if variant.order == np.inf else f"{variant.order:g}"
    return Case(op, order, None, variant.rule, "float32", "random", shape, "1")


def _claim(op: str, variants: tuple[MixingVariant, ...]) -> FigureGroup:
    figures = tuple(
        Figure(
            variant.slug,
            {"mechanism": variant.name, "dtype": "float32"},
            f"numba {op}",
            "torch, dense",
            partial(prepare, op, variant),
            memory=True,
            guarded=GUARD,
        )
        for variant in variants
    )
    return FigureGroup(op, f"{op}, {TOKENS} tokens, {HEADS} heads of {WIDTH}", Goal(kind="times", value=1.0), figures)


FAMILY = FigureFamily(
    "mixing",
    "Regression and attention beside dense torch",
    (_claim("attention", ATTENTION), _claim("regression", REGRESSION)),
    rank=5,
)
