"""scikit-learn's regression by nearest neighbours: the mean of the values of k keys, order 0 under `Nearest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelproof.verify.targets.peers import peer

if TYPE_CHECKING:
    from kernelproof.verify.records import Array


@peer(
    "sklearn.neighbors",
    op="regression",
    array_library="numpy",
    order=0,
    rule="nearest:topk:adaptive:1",
    dtypes=["float64", "float32"],
    gradients=[],
    least_keys=1,
)
def k_neighbors_regressor(q: Array, k: Array, v: Array, topk: int) -> Array:
    """KNeighborsRegressor with uniform weights, one fit per batch; rows of fewer than `topk` keys keep all keys."""
    import numpy as np  # noqa: PLC0415 (nothing of it is needed to name the target)
    from sklearn.neighbors import KNeighborsRegressor  # noqa: PLC0415 (an extra)

    out = np.empty((*q.shape[:-1], v.shape[-1]), dtype=v.dtype)
    for place in np.ndindex(*q.shape[:-2]):
        if q.shape[-2]:
            found = KNeighborsRegressor(n_neighbors=min(topk, k.shape[-2])).fit(k[place], v[place])
            out[place] = found.predict(q[place])
    return out
