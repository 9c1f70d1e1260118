"""A case: a recipe in one line of text, which names the op, the order, the rule, the dtype and the planted input.

A case is never a stored array, so that a report can name it, a command can run it again and a search can shrink it.
Everything random in it is derived from its own text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from kernelproof.reference.errors import DomainError, meant, shown
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.model import (
    Adaptive,
    Anchored,
    Fixed,
    Kernel,
    Mechanism,
    Nearest,
    Rule,
    check_mechanism,
)
from kernelproof.reference.variant.definition import Variant
from kernelproof.verify.cases.rules import kernel_of, parse_rule
from kernelproof.verify.records import OPS, RANKS

_FIELDS = ("rule", "dtype", "family", "shape", "feature", "seed")


@dataclass(frozen=True)
class Case:
    """One recipe.

    Attributes:
        op: one of `OPS`.
        order: the kernel's order as text, such as ``3/2`` or ``inf``; "" if `alpha` is set.
        alpha: α as text, or None; if set, the target is called with ``alpha=float(alpha)``, and the truth is that of
            this float.
        rule: the bandwidth rule as text, see `parse_rule`; ``adaptive:1`` for entmax.
        dtype: a name of `kernelproof.reference.formats.FORMATS`.
        family: the id of the case family.
        shape: the shape of the scores for entmax and weights; (..., T, m, d, e) for regression;
            (..., H, Hk, T, S, d, e) for attention.
        feature: what the family plants, as a word without spaces.
        seed: the seed of everything random.

    Raises:
        DomainError: a field is not valid; the message says which values are allowed.

    >>> case = Case.parse("entmax order=3/2 rule=adaptive:1 dtype=float32 family=ties shape=4x64 feature=3 seed=0")
    >>> case.shape, case.kernel
    ((4, 64), Kernel(order=Fraction(3, 2)))
    >>> Case.parse(case.text) == case
    True
    """

    op: str
    order: str
    alpha: str | None
    rule: str
    dtype: str
    family: str
    shape: tuple[int, ...]
    feature: str
    seed: int = 0

    def __post_init__(self) -> None:
        if self.op not in OPS:
            msg = f"op must be one of {', '.join(OPS)}; got {shown(self.op)}{meant(self.op, OPS)}"
            raise DomainError(msg)
        if self.dtype not in FORMATS:
            msg = f"dtype must be one of {', '.join(FORMATS)}; got {shown(self.dtype)}{meant(self.dtype, FORMATS)}"
            raise DomainError(msg)
        if (self.alpha is None) == (self.order == ""):
            msg = f"a case has either an order or an alpha; got order={self.order!r}, alpha={self.alpha!r}"
            raise DomainError(msg)
        if len(self.shape) < RANKS[self.op] or min(self.shape) < 0:
            msg = f"the shape of a case of {self.op} has at least {RANKS[self.op]} sizes; got {self.shape!r}"
            raise DomainError(msg)
        if self.op == "entmax" and self.rule != "adaptive:1":
            msg = f"entmax has the rule adaptive:1; got {self.rule!r}"
            raise DomainError(msg)
        rule = self.parsed_rule
        if not isinstance(rule, Variant):
            check_mechanism(self.kernel, rule)
        elif self.op != "weights" or self.kernel.order != rule.order:
            msg = (
                f"a case of the variant {rule.name} is of the op weights, at its order {rule.order}; got {self.text!r}"
            )
            raise DomainError(msg)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the fields only; cached properties are derived again, because a variant cannot be pickled."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel, with exactly the number that a target receives."""
        return kernel_of(self.order, self.alpha)

    @cached_property
    def parsed_rule(self) -> Rule | Variant:
        """The bandwidth rule, with exactly the numbers that a target receives."""
        return parse_rule(self.rule)

    @property
    def mechanism(self) -> Mechanism:
        """The kernel and the rule; a variant has none."""
        assert not isinstance(self.parsed_rule, Variant)  # callers handle variants before
        return Mechanism(self.kernel, self.parsed_rule)

    @property
    def inner_rule(self) -> Fixed | Anchored | Adaptive | Variant:
        """The rule for the keys that are kept: the inner one of Nearest."""
        rule = self.parsed_rule
        return rule.then if isinstance(rule, Nearest) else rule

    @property
    def order_label(self) -> str:
        """The order as tables show it: the text of the order, or ``α=…``."""
        return self.order if self.alpha is None else f"α={self.alpha}"

    def at_order(self, order: str | None) -> Case:
        """Return this case at another `order`, given as text; None leaves it as it is."""
        return self if order is None else replace(self, order=order, alpha=None)

    @property
    def size(self) -> int:
        """The number of keys in a row."""
        return self.shape[-1] if self.op in {"entmax", "weights"} else self.shape[-3]

    @property
    def text(self) -> str:
        """The case in one line."""
        number = f"order={self.order}" if self.alpha is None else f"alpha={self.alpha}"
        shape = "x".join(str(size) for size in self.shape)
        return (
            f"{self.op} {number} rule={self.rule} dtype={self.dtype} family={self.family} "
            f"shape={shape} feature={self.feature} seed={self.seed}"
        )

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read the case that `text` describes, the inverse of the property `text`.

        Raises:
            DomainError: `text` is not a case; the message shows an example.
        """
        op, *words = text.split() or [""]
        found = dict(word.partition("=")[::2] for word in words)
        known = {"order", "alpha", *_FIELDS}
        if set(found) - known or set(_FIELDS) - set(found) or len(found) != len(words):
            example = "entmax order=3/2 rule=adaptive:1 dtype=float32 family=ties shape=4x64 feature=3 seed=0"
            msg = f"a case is a line such as {example!r}; got {text!r}"
            raise DomainError(msg)
        try:
            shape = tuple(int(size) for size in found["shape"].split("x"))
            seed = int(found["seed"])
        except ValueError:
            got = f"{shown(found['shape'])} and {shown(found['seed'])}"
            msg = f"shape must be such as 4x64 and seed an integer; got {got}"
            raise DomainError(msg) from None
        return cls(
            op=op,
            order=found.get("order", ""),
            alpha=found.get("alpha"),
            rule=found["rule"],
            dtype=found["dtype"],
            family=found["family"],
            shape=shape,
            feature=found["feature"],
            seed=seed,
        )

    def generator(self, purpose: str = "inputs") -> np.random.Generator:
        """A random stream that depends on the text of the case and on `purpose`, and on nothing else."""
        digest = hashlib.sha256(f"{purpose}|{self.text}".encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
