"""Real tensors: queries, keys and values of all-MiniLM-L6-v2, heads of layers 0, 2 and 5, on seeded query rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from kernelproof.verify.cases.builders import scored, settle
from kernelproof.verify.cases.numbers import cast, integers, shuffled
from kernelproof.verify.records import Floats, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

DATA = "minilm_l6_v2_qkv.npz"
HEADS = 12
LAYERS = (0, 2, 5)


@cache
def tensors() -> dict[str, Floats]:
    """``layer0_q`` … ``layer5_v``, each (12, 128, 32), exact in float64.

    Source: sentence-transformers/all-MiniLM-L6-v2, Apache-2.0; see NOTICE.
    """
    path = resources.files("kernelproof.reference") / "data" / DATA
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
        return {name: held[name].astype(np.float64) for name in held.files if name.startswith("layer")}


class Tensors:
    """The feature is a head such as ``layer2.head5``; the shape gives the numbers of queries and of attention heads."""

    id = "tensors"
    title = "real tensors"
    keys = (128, 128)
    rows = 128

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """One head of each layer; every head in the exhaustive suite."""
        shapes: dict[str, tuple[int, ...]] = {
            "entmax": (3, 128),
            "weights": (3, 128),
            "regression": (1 if suite == "quick" else 2, 128, 32, 32),
            "attention": (1, 1, 1, 128, 32, 32) if suite == "quick" else (2, 2, 1, 128, 32, 32),
        }
        heads = range(HEADS) if suite == "exhaustive" else (1,)
        for layer in LAYERS:
            yield from ((shapes[op], f"layer{layer}.head{(head + 3 * layer) % HEADS}") for head in heads)

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Seeded query rows against all 128 keys; rows of scores are the logits q·k/√32.

        Raises:
            KeyError: there is no such layer.
        """
        layer, _, head = case.feature.partition(".head")
        held = tensors()
        if case.op == "attention":
            heads, groups, count = case.shape[-6:-3]
            first = int(head)
            picked = (first + np.arange(heads)) % HEADS
            rows = integers(generator, held[f"{layer}_q"].shape[1], (count,))
            q = held[f"{layer}_q"][picked][:, rows]
            k, v = (held[f"{layer}_{name}"][picked[:groups]] for name in "kv")
            return Inputs({name: cast(array, case.dtype) for name, array in (("q", q), ("k", k), ("v", v))})
        q, k, v = (held[f"{layer}_{name}"][int(head)] for name in "qkv")
        count = case.shape[-2] if case.op != "regression" else case.shape[-4]
        query = q[np.sort(shuffled(generator, len(q))[:count])]
        width = float(np.sqrt(q.shape[-1]))
        if case.op == "regression":
            # Distances over √(width), so that a bandwidth of 3 holds some of the keys.
            scaled = {"q": query / np.sqrt(width), "k": k / np.sqrt(width), "v": v}
            return Inputs({name: cast(array, case.dtype) for name, array in scaled.items()})
        products = (query[:, None, :] * k).sum(axis=-1) / width
        return scored(case, settle(case, products))


FAMILY = Tensors()
