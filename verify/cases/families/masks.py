"""Keys that may not be attended to: one, some, all but one, or all of a row; and balls that hold no key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelproof.reference.errors import DomainError
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import Fixed
from kernelproof.verify.cases.builders import WITHOUT_INFINITY, additive, mixed, scored, settle
from kernelproof.verify.cases.features import one_of
from kernelproof.verify.cases.numbers import cast, normals, uniforms
from kernelproof.verify.records import Array, Flags, Inputs

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

_SCORED = ("some", "one", "all", "but_one", "low", "empty_ball")
_LOW = ("low_mask", "low_bias", "low_causal", "low_lengths")
_ATTENTION = ("causal", "mask", "lengths", "bias", "all", "mixed", "empty_ball", "scale", "keynorm_mixed", *_LOW)
_KINDS = {
    "entmax": _SCORED[:5],
    "weights": _SCORED,
    "regression": ("empty_ball",),
    "attention": _ATTENTION,
}


def masked_keys(feature: str, shape: tuple[int, ...], generator: np.random.Generator) -> Flags:
    """(..., m) flags of the masked keys; every row keeps a key, except the first row of the feature ``all``."""
    count = shape[-1]
    draw = uniforms(generator, shape)
    keep = np.argmax(draw, axis=-1, keepdims=True)
    position = np.arange(count)
    if feature == "one":
        return np.asarray((position == np.argmin(draw, axis=-1, keepdims=True)) & (position != keep))
    if feature == "but_one":
        return np.asarray(position != keep)
    masked = (draw < 0.4) & (position != keep)
    if feature == "all":
        masked.reshape(-1, count)[:1] = True
    return np.asarray(masked)


class Masks:
    """The feature says what is masked, and for attention by which argument; ``empty_ball`` moves a row out of reach.

    ``low`` masks some keys, and the scores of the others lie below any finite number that a target might use in place
    of −∞, such as −10000; for attention the feature names the argument here, too.
    """

    id = "masks"
    title = "masked keys and empty rows"

    def recipes(self, suite: str, op: str) -> Iterator[tuple[tuple[int, ...], str]]:
        """Every kind of mask."""
        if op in {"entmax", "weights"}:
            yield from (((3, 10), feature) for feature in _KINDS[op])
        elif op == "regression":
            yield (2, 8, 3, 2), "empty_ball"
        else:
            for feature in _ATTENTION:
                heads = (4, 2) if "mixed" in feature else (2, 1)
                yield (*((2,) if "lengths" in feature else ()), *heads, 3, 8, 4, 2), feature

    def build(self, case: Case, generator: np.random.Generator) -> Inputs:
        """Normal inputs with the mask.

        Raises:
            DomainError: there is no such kind of mask for the op, or scores are to be masked in a dtype that has no −∞.
        """
        one_of(case, _KINDS[case.op])
        if case.op in {"entmax", "weights"}:
            rows = settle(case, 2.0 * normals(generator, case.shape))
            if case.feature == "empty_ball":
                rows[0] -= 2.0 * _ball(case)
                return scored(case, rows)
            if case.dtype in WITHOUT_INFINITY:
                msg = f"a score of {case.dtype} cannot be masked: it has no −∞; masks of scores need another dtype"
                raise DomainError(msg)
            masked = masked_keys(case.feature, case.shape, generator)
            if case.feature == "low" and not isinstance(case.inner_rule, Fixed):
                # As low as the format still has steps of 1/4, but not below −2^20.
                rows = np.round(4 * rows) / 4 - min(2.0 ** (FORMATS[case.dtype].precision - 3), 2.0**20)
            return scored(case, np.where(masked, -np.inf, rows))
        arrays = mixed(case, generator)
        options: dict[str, Any] = {}
        if case.feature == "empty_ball":
            arrays["q"] = arrays["q"].copy()
            arrays["q"][..., 0, :] = 2.0 * _ball(case) + 4.0
            options = {} if case.op == "regression" else {"key_norm_term": True}
        elif case.feature in _LOW:
            options = self._low(case, generator, arrays)
        elif case.op == "attention":
            options = self._options(case, generator)
        return Inputs(arrays, options)

    def _options(self, case: Case, generator: np.random.Generator) -> dict[str, Any]:
        *batch, heads, _, count, size, _, _ = case.shape
        shape = (*batch, heads, count, size)
        kind = case.feature
        allowed = ~masked_keys("all" if kind == "all" else "some", shape, generator)
        options: dict[str, Any] = {}
        if kind in {"mask", "all"}:
            options["mask"] = allowed
        if kind == "bias":
            options["mask"] = additive(case, np.where(allowed, np.round(4 * normals(generator, shape)) / 4, -np.inf))
        if kind in {"causal", "mixed", "keynorm_mixed"}:
            options["causal"] = True
        if kind in {"lengths", "mixed"}:
            lengths = 1 + (np.arange(int(np.prod(batch, dtype=int))) * 5) % size
            options["lengths"] = lengths.astype(np.int64).reshape(batch)
        if "mixed" in kind:
            options["mask"] = allowed[..., :1, :, :]
        if kind == "keynorm_mixed":
            options["key_norm_term"] = True
        if kind in {"scale", "keynorm_mixed"}:
            options["scale"] = 0.375
        return options

    def _low(self, case: Case, generator: np.random.Generator, arrays: dict[str, Array]) -> dict[str, Any]:
        """Mask keys with large scores and values; all other keys have scores of −2^15/√d.

        A value of 2^13 that leaks through has a larger effect than rounding of such scores, in any format.
        """
        *batch, heads, _, count, size, width, _ = case.shape
        hidden: Flags = masked_keys("some", (*(1 for _ in batch), 1, size), generator)
        options: dict[str, Any] = {}
        if case.feature in {"low_mask", "low_bias"}:
            allowed = np.broadcast_to(~hidden[..., None, :], (*batch, heads, count, size)).copy()
            added = additive(case, np.where(allowed, 0.0, -np.inf))
            options["mask"] = allowed if case.feature == "low_mask" else added
        elif case.feature == "low_causal":
            options["causal"] = True
            # Only the last query sees the last key.
            hidden = np.broadcast_to(np.arange(size) == size - 1, hidden.shape)
        else:
            lengths = 1 + (np.arange(int(np.prod(batch, dtype=int))) * 5) % max(size, 1)
            options["lengths"] = lengths.astype(np.int64).reshape(batch)
            hidden = np.arange(size) >= options["lengths"][..., None, None]
        if width and not isinstance(case.inner_rule, Fixed):
            q, k = (arrays[name].astype(np.float64) for name in "qk")
            q[..., 0] = 256.0
            k[..., 0] = np.where(hidden, 0.0, -128.0)
            arrays |= {"q": cast(q, case.dtype), "k": cast(k, case.dtype)}
        v = np.where(hidden[..., None], 2.0**13, arrays["v"].astype(np.float64))
        arrays["v"] = cast(v, case.dtype)
        return options


def _ball(case: Case) -> float:
    """A distance beyond the fixed bandwidth; 1 for the other rules, whose balls are never empty."""
    rule = case.inner_rule
    return float(rule.exact) if isinstance(rule, Fixed) else 1.0


FAMILY = Masks()
