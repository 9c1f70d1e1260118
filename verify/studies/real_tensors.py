"""The studies of real tensors as tables of the record; `reports` draws the tables whose id it knows."""

from __future__ import annotations

from math import inf

from kernelproof.theory import real_tensors
from kernelproof.theory.real_tensors import Distance, KeyNorms, LimitFit, Order, Sparsity, TermCost
from kernelproof.verify.record.schema import Table


def order_text(order: Order) -> str:
    """An order as the record writes it.

    >>> order_text(1), order_text(0.5), order_text(float("inf"))
    ('1', '0.5', 'inf')
    """
    return "inf" if order == inf else str(order)


def real_tensor_studies(seed: int = 0) -> list[Table]:
    """All tables on the real tensors, from rows drawn with `seed`; takes a few seconds on one core."""
    layers = real_tensors.load()
    distances, limits = real_tensors.softmax_distance(layers, seed=seed)
    return [
        key_norm_table(real_tensors.key_norms(layers)),
        term_cost_table(real_tensors.term_cost(layers, seed=seed)),
        sparsity_table(real_tensors.sparsity(layers, seed=seed)),
        distance_table(distances),
        limit_table(limits),
    ]


def key_norm_table(found: list[KeyNorms]) -> Table:
    """One row per head: mean and standard deviation of ‖k‖, and their ratio."""
    return Table(
        id="key-norms",
        title="How far key norms are from constant",
        caption="Logits q·k stand for distances ‖q − k‖² only if ‖k‖ is the same for all keys of a head. "
        "Spread is the standard deviation of ‖k‖ over its mean.",
        columns=["layer", "head", "mean of ‖k‖", "std of ‖k‖", "spread"],
        rows=[[row.layer, row.head, row.mean, row.std, row.spread] for row in found],
    )


def term_cost_table(found: list[TermCost]) -> Table:
    """One row per head and order: total variation between weights with and without the ‖k‖² term."""
    return Table(
        id="key-norm-term",
        title="What dropping the ‖k‖² term costs",
        caption="Mean total variation between the weights of β q·k and of β(q·k − ‖k‖²/2), β = 1/√d, on seeded "
        "query rows: the share of the attention that goes to other keys.",
        columns=["layer", "head", "order", "rows", "total variation"],
        rows=[[row.layer, row.head, order_text(row.order), row.rows, row.total_variation] for row in found],
    )


def sparsity_table(found: list[Sparsity]) -> Table:
    """One row per layer and order: mean exact support, and effective number of keys."""
    return Table(
        id="sparsity",
        title="How sparse each order is",
        caption="Mean number of keys with a weight above 0, decided exactly, and mean effective number of keys, "
        "1/Σp², on seeded rows. Theory (M1, M2): both only grow with the order.",
        columns=["layer", "order", "rows", "keys", "mean support", "effective keys"],
        rows=[[row.layer, order_text(row.order), row.rows, row.keys, row.support, row.effective] for row in found],
    )


def distance_table(found: list[Distance]) -> Table:
    """One row per layer and order: distance to softmax."""
    return Table(
        id="softmax-distance",
        title="How n → ∞ closes on softmax",
        caption="Mean total variation and KL(entmax‖softmax), in nats, between the weights of order n and softmax "
        "of the same logits, from certified weights.",
        columns=["layer", "order", "rows", "total variation", "KL divergence"],
        rows=[[row.layer, row.order, row.rows, row.total_variation, row.divergence] for row in found],
    )


def limit_table(found: list[LimitFit]) -> Table:
    """One row per layer and distance: slope and constant, both fitted and predicted by theory."""
    return Table(
        id="softmax-slopes",
        title="Slopes and constants of that limit",
        caption=f"Slopes fitted in log-log from n = {real_tensors.FIT_FROM} on, and the constant at the largest n, "
        "beside those that theory (L2) predicts for the same rows.",
        columns=["layer", "distance", "slope", "slope of theory", "constant", "constant of theory"],
        rows=[
            [row.layer, row.distance, row.slope, row.slope_theory, row.constant, row.constant_theory] for row in found
        ],
    )
