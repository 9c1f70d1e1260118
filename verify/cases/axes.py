"""The axes along which the inputs of each op vary, with their levels, and which levels do not occur together, and why.

A fault may hide in a combination that no other family has, such as a mask beside a causal one. So the family ``pairs``
has cases for all pairs of these levels. The levels of sizes are read from the shape of a case, the others from its
feature and its dtype: `levels_of` recovers all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelproof.reference.errors import DomainError
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.covering import Axis, Exclusion, Row

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case

PAIRS = "pairs"
"""The id of the family of the combinations."""
LONG = 65
"""The fewest queries and keys that both count as many: one more than a usual block."""
WIDE = 32
"""Values wider than this have a level of their own: more columns than a usual block."""
KEYS = {"keys≤64": (1, 64), "keys≤512": (65, 512), "keys≤4096": (513, 4096), "keys>4096": (4097, 2**62)}
"""Level -> the least and the largest number of keys."""
WIDTHS = (1, 2, 8, 12, 20, 32, 64, 80, 128, 192)
"""Widths of q and k: powers of two and others, from the least on; the last is more than one tile of most kernels."""
BOOLEAN, ADDITIVE = ("boolean", "boolean-wide", "boolean-keys"), ("additive", "additive-wide", "additive-heads")
"""Masks of the shape of the scores; (T, S) for all heads and batches; (..., 1, 1, S), one for all heads and queries of
an entry of a batch, as for padding; (1, H, T, S), one for each head of all batches, as for a bias of positions."""
HIDDEN = ("hide-some", "hide-first", "hide-last", "hide-but-one")
"""What a mask hides: keys here and there, the first block of half of the queries, the last keys, all keys but one."""

_DTYPE = Axis("dtype", tuple(FORMATS))
_LAYOUT = Axis("layout", ("packed", "swapped", "strided", "offset", "readonly"))
_BATCH = Axis("batch", ("no-batch", "batch", "batches", "inner-one"))
_KEYS = Axis("keys", tuple(KEYS))
_MIXED = (
    Axis("queries", ("fewer", "one-query", "as-many", "more", "long")),
    _KEYS,
    Axis("width", tuple(f"width-{width}" for width in WIDTHS)),
    Axis("values", ("values-narrower", "values-equal", "values-wider", "values>32")),
    _BATCH,
    _LAYOUT,
    _DTYPE,
    Axis("identity", ("own-keys", "q-is-k")),
    Axis("content", ("any-values", "one-hot-values")),
)
BEYOND = ("beyond-65504", "beyond-unscaled")
"""Products beyond the largest number of float16: in attention with a scale that is given, and without."""
AXES = {
    "entmax": (
        Axis("axes", ("rows", "one-row", "several-axes", "inner-one", "outer-one")),
        Axis("count", ("few-rows", "single-row", "many-rows")),
        _KEYS,
        Axis("length", ("even", "odd", "multiple-of-32", "before-32")),
        _LAYOUT,
        _DTYPE,
        Axis("hidden", ("hide-none", *HIDDEN), frozenset({"hide-but-one"})),
        # Rows of normal scores have few keys in the support, however long they are: in "broad" ones most keys are.
        Axis("magnitude", ("usual", "flat", "far", "broad")),
    ),
    # Rounded scores of 80 000 hide every other fault in a short format.
    "regression": (*_MIXED, Axis("magnitude", ("usual", BEYOND[0]), frozenset(BEYOND[:1]))),
    "attention": (
        Axis("mask", ("no-mask", *BOOLEAN, *ADDITIVE)),
        Axis("causal", ("no-causal", "causal")),
        Axis("lengths", ("no-lengths", "lengths")),
        Axis("scale", ("usual-scale", "scale")),
        Axis("key_norm_term", ("no-key-norm", "key-norm")),
        Axis("heads", ("one-head", "own-key-heads", "grouped-heads", "one-key-head")),
        Axis("hidden", HIDDEN, frozenset({"hide-but-one"})),
        *_MIXED,
        # As above; where all scores are nearly the same, faults of the scores hide.
        Axis("magnitude", ("usual", "broad", *BEYOND), frozenset({"broad", *BEYOND})),
    ),
}
"""Op -> its axes."""
AXES["weights"] = AXES["entmax"]
OPTIONS = {
    "mask": (*BOOLEAN, *ADDITIVE),
    "causal": ("causal",),
    "lengths": ("lengths",),
    "scale": ("scale",),
    "key_norm_term": ("key-norm",),
}
"""Option of attention -> the levels of the axis of the same name that pass it."""
SIZES = {
    "entmax": ("axes", "count", "keys", "length"),
    "weights": ("axes", "count", "keys", "length"),
    "regression": ("queries", "keys", "width", "values", "batch"),
    "attention": ("queries", "keys", "width", "values", "batch", "heads"),
}
"""Op -> the axes that set the shape."""

NARROW = tuple(name for name, each in FORMATS.items() if each.precision < FORMATS["float64"].precision)
"""Dtypes in which products beyond 65504 are off by so much that weights which are all equal pass grade C."""
_SQUARE = ("as-many", "more")
_BATCHED = _BATCH.levels[1:]
_OF_MIXED = (
    Exclusion({"queries": ("long",), "keys": ("keys≤64",)}, "many queries are fewer than the keys, which are many too"),
    Exclusion(
        {"values": ("values-wider",), "width": tuple(f"width-{width}" for width in WIDTHS if width >= WIDE)},
        f"values wider than such keys have more than {WIDE} columns, which is another level",
    ),
    Exclusion({"values": ("values-narrower",), "width": ("width-1",)}, "nothing is narrower than one column"),
    Exclusion(
        {"identity": ("q-is-k",), "queries": ("fewer", "one-query", "more", "long")},
        "queries and keys that are one array are as many",
    ),
    Exclusion(
        {"queries": _SQUARE, "keys": ("keys≤4096",), "batch": _BATCHED},
        "a square of so many queries and keys has no batch, to save time",
    ),
    Exclusion(
        {"queries": _SQUARE, "keys": ("keys>4096",)},
        "a square of 17 million scores takes a target minutes, or gigabytes if it holds their differences",
    ),
)
_OF_SCORES = (
    Exclusion({"axes": ("one-row",), "count": ("few-rows", "many-rows")}, "a vector is one row"),
    Exclusion({"axes": ("several-axes",), "count": ("single-row",)}, "axes longer than 1 have more than one row"),
    Exclusion({"axes": ("outer-one",), "count": ("single-row",)}, "a leading and an inner axis of 1 have one row"),
    Exclusion({"axes": ("one-row",), "layout": ("swapped",)}, "a vector has no axes to swap"),
    Exclusion({"dtype": ("float8_e4m3fn",), "hidden": HIDDEN}, "float8_e4m3fn has no −∞"),
)
EXCLUSIONS = {
    "entmax": _OF_SCORES,
    "weights": _OF_SCORES,
    "regression": _OF_MIXED,
    "attention": (
        *_OF_MIXED,
        Exclusion(
            {"identity": ("q-is-k",), "heads": ("grouped-heads", "one-key-head")},
            "queries and keys that are one array have the same heads",
        ),
        Exclusion(
            {"lengths": ("lengths",), "batch": ("no-batch", "batches", "inner-one")},
            "lengths are one for each entry of one batch axis; of others, no convention is common",
        ),
        Exclusion({"mask": ("no-mask",), "hidden": HIDDEN[1:]}, "only a mask hides keys of one's choice"),
        Exclusion(
            {"mask": ("additive-heads",), "batch": ("no-batch",)},
            "without a batch a mask of every head has the shape of the scores",
        ),
        Exclusion(
            {"magnitude": ("beyond-65504",), "scale": ("usual-scale",)},
            "products beyond 65504 at the usual scale are another level",
        ),
        Exclusion(
            {"magnitude": ("beyond-unscaled",), "scale": ("scale",)},
            "products beyond 65504 with a scale that is given are another level",
        ),
        Exclusion(
            {"magnitude": ("beyond-unscaled",), "dtype": NARROW},
            "rounded, such scores are too coarse to fail a grade; where they overflow, they are asked with a scale",
        ),
    ),
}
"""Op -> the levels that do not occur together, each with its reason."""


def words_of(op: str, row: Row) -> str:
    """The feature of a case with the levels of `row`: those that neither the shape nor the dtype tells, if not plain.

    >>> words_of("entmax", {"layout": "strided", "hidden": "hide-none", "magnitude": "flat"})
    'strided+flat'
    """
    told = [row[axis.name] for axis in _worded(op) if row[axis.name] != axis.levels[0]]
    return "+".join(told) or "plain"


def worded(op: str, feature: str) -> dict[str, str]:
    """Read the levels in a feature, the inverse of `words_of`.

    Raises:
        DomainError: there is no such level of `op`, or there are two of one axis.
    """
    found = {axis.name: axis.levels[0] for axis in _worded(op)}
    known = {level: axis.name for axis in _worded(op) for level in axis.levels[1:]}
    words = [] if feature == "plain" else feature.split("+")
    if any(word not in known for word in words) or len({known[word] for word in words}) < len(words):
        msg = f"feature of the family {PAIRS} is 'plain' or levels of {op} joined by +: {', '.join(known)}; "
        msg += f"at most one of each axis; got {feature!r}"
        raise DomainError(msg)
    return found | {known[word]: word for word in words}


def _worded(op: str) -> tuple[Axis, ...]:
    return tuple(axis for axis in AXES[op] if axis.name not in {*SIZES[op], "dtype"})


def levels_of(case: Case) -> Row | None:
    """The level of every axis in `case`; None if it is not of this family, or has a size of no level.

    >>> from kernelproof.verify.cases.case import Case
    >>> line = "regression order=2 rule=adaptive:1 dtype=float32 family=pairs shape=3x70x8x40 feature=strided seed=0"
    >>> levels = levels_of(Case.parse(line))
    >>> [levels[name] for name in ("queries", "keys", "width", "values", "batch", "layout", "identity")]
    ['fewer', 'keys≤512', 'width-8', 'values>32', 'no-batch', 'strided', 'own-keys']
    """
    if case.family != PAIRS:
        return None
    sizes = _scored(case) if case.op in {"entmax", "weights"} else _mixed(case)
    found = {"dtype": case.dtype, **sizes, **worded(case.op, case.feature)}
    known = {axis.name: axis.levels for axis in AXES[case.op]}
    return found if all(level in known[axis] for axis, level in found.items()) else None


def _keys(size: int) -> str:
    return next((level for level, (least, most) in KEYS.items() if least <= size <= most), "no-keys")


def _scored(case: Case) -> dict[str, str]:
    *lead, size = case.shape
    count = 1
    for each in lead:
        count *= each
    if len(lead) < 2:
        axes = ("one-row", "rows")[len(lead)]
    else:
        axes = "inner-one" if lead[-1] == 1 else "outer-one" if lead[0] == 1 else "several-axes"
    length = "odd" if size % 2 else "even"
    if size % 32 in {0, 31}:
        length = "before-32" if size % 32 else "multiple-of-32"
    rows = "single-row" if count == 1 else "few-rows" if count <= LONG else "many-rows"
    return {"axes": axes, "count": rows, "keys": _keys(size), "length": length}


def _mixed(case: Case) -> dict[str, str]:
    *batch, queries, keys, width, out = case.shape
    found = {}
    if case.op == "attention":
        *batch, heads, groups = batch
        usual = "own-key-heads" if groups == heads else "one-key-head" if groups == 1 else "grouped-heads"
        found["heads"] = "one-head" if heads == 1 else usual
    if len(batch) < 2:
        found["batch"] = ("no-batch", "batch")[len(batch)]
    else:
        found["batch"] = "inner-one" if batch[-1] == 1 else "batches"
    if queries == 1:
        found["queries"] = "one-query"
    elif queries == keys:
        found["queries"] = "as-many"
    else:
        found["queries"] = "more" if queries > keys else "long" if queries >= LONG else "fewer"
    narrow = "values-narrower" if out < width else "values-wider"
    found["values"] = "values-equal" if out == width else "values>32" if out > WIDE else narrow
    return found | {"keys": _keys(keys), "width": f"width-{width}"}
