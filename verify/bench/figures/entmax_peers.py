"""Compare entmax of the Numba backend with the package entmax 1.3 (Peters, Niculae, Martins): sorts and bisection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kernelproof.verify.bench.agreement import both, weights_agreement, weights_kappa
from kernelproof.verify.bench.bench_record import Agreement, Goal
from kernelproof.verify.bench.figure import Contest, Figure, FigureFamily, FigureGroup, Sizes
from kernelproof.verify.bench.figures._rows import SHAPES, logits, module, numba_backend, order_text, shape_text, torch

INSTALL = "pip install 'kernelproof[peers]'"
Peer = Callable[[Any, Any], Any]
SORTS: tuple[tuple[str, float, Peer], ...] = (
    ("sparsemax", 1.0, lambda library, x: library.sparsemax(x, dim=-1)),
    ("entmax15", 2.0, lambda library, x: library.entmax15(x, dim=-1)),
)
BISECTIONS: tuple[tuple[str, float, Peer], ...] = (
    ("entmax_bisect, α = 3/2", 2.0, lambda library, x: library.entmax_bisect(x, alpha=1.5, dim=-1)),
    ("entmax_bisect, α = 4/3", 3.0, lambda library, x: library.entmax_bisect(x, alpha=4 / 3, dim=-1)),
)


def prepare(order: float, shape: tuple[int, int], name: str, call: Peer, sizes: Sizes) -> Contest:
    """Prepare both on the same float32 logits."""
    found, library = numba_backend(), torch()
    peer = module("entmax", INSTALL)
    z = logits(sizes.rows(shape[0]), shape[1], "float32")
    tensor = library.from_numpy(z.copy())

    def check(ours: Any, rival: Any) -> Agreement:
        kappa, _, _ = weights_kappa(z, rival.numpy(), order)
        return both(weights_agreement(z, ours, order), f"{name}: worst κ {kappa:.2g}")

    return Contest(lambda: found.entmax(z, order=order), lambda: call(peer, tensor), check)


def _figures(peers: tuple[tuple[str, float, Peer], ...]) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            f"{name.partition(',')[0]}-{order:g}-{shape[0]}x{shape[1]}",
            {"order": order_text(order), "dtype": "float32", "shape": shape_text(shape)},
            "numba entmax",
            f"entmax 1.3 {name}",
            partial(prepare, order, shape, name, call),
        )
        for shape in SHAPES
        for name, order, call in peers
    )


FAMILY = FigureFamily(
    "entmax_peers",
    "Entmax beside the package entmax",
    (
        FigureGroup("sorts", "entmax beside full sorts, float32", Goal(kind="faster", value=30.0), _figures(SORTS)),
        FigureGroup(
            "bisection", "entmax beside bisection, float32", Goal(kind="faster", value=200.0), _figures(BISECTIONS)
        ),
    ),
    rank=2,
)
