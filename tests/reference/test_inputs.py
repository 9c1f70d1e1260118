"""What the oracle accepts, exactly as it is, and how it refuses the rest: one line that names what came."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference import Adaptive, Anchored, DomainError, Fixed, Kernel, Nearest
from kernelproof.reference.exact_numbers import exact_number
from kernelproof.reference.formats import format_of
from kernelproof.reference.ops.attention import default_scale
from kernelproof.reference.rows import float_array


def untyped(value: Any) -> Any:
    """`value` as what a caller without a type checker passes."""
    return value


Q, K, V = np.ones((1, 2, 2)), np.array([[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]]), np.arange(3.0).reshape(1, 3, 1)


def attend(**options: Any) -> list[float]:
    y: list[float] = reference.attention(Q, K, V, Kernel(2), Adaptive(), **options).y.round("float64").ravel().tolist()
    return y


def one(z: Any, order: Any = 1, **options: Any) -> Any:
    return reference.entmax(z, order, **options).weights.round("float64").tolist()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "mask of ints": (lambda: attend(mask=np.array([1, 0, 1])), "use booleans, or 0.0 and -inf"),
    "mask of listed ints": (lambda: attend(mask=[1, 0, 1]), "int64"),
    "mask of objects": (lambda: attend(mask=np.array([True, 1.0, 0], dtype=object)), "object"),
    "mask of no array": (lambda: attend(mask=[[1.0], [1.0, 2.0]]), "[[1.0], [1.0, 2.0]]"),
    "mask of strings": (lambda: attend(mask="causal"), "<U6"),
    "mask of NaN": (lambda: attend(mask=[0.0, np.nan, 0.0]), "index (1,)"),
    "mask of another shape": (lambda: attend(mask=np.zeros(4)), "(4,)"),
    "negative lengths": (lambda: attend(lengths=-1), "[0, 3]"),
    "lengths too large": (lambda: attend(lengths=4), "got 4"),
    "lengths of floats": (lambda: attend(lengths=2.0), "2.0"),
    "lengths of bools": (lambda: attend(lengths=True), "True"),
    "lengths of no array": (lambda: attend(lengths=[[1], [1, 2]]), "[[1], [1, 2]]"),
    "lengths of another shape": (lambda: attend(lengths=np.ones((9, 9), dtype=int)), "of shape ()"),
    "causal of a string": (lambda: attend(causal="no"), "causal must be True or False; got 'no'"),
    "causal of an array": (lambda: attend(causal=np.array([True, False])), "causal"),
    "key_norm_term of a string": (lambda: attend(key_norm_term="no"), "key_norm_term"),
    "scale of an array": (lambda: attend(scale=np.ones(2)), "0-d"),
    "scale beyond float64": (lambda: attend(scale="1e400"), "2**1024"),
    "ragged q": (lambda: reference.regression([[1.0], [1.0, 2.0]], [[0.0]], [[0.0]], Kernel(1), Fixed(1)), "q must"),
    "ragged z": (lambda: one([[0.0], [0.0, 1.0]]), "z must"),
    "ragged cotangent": (lambda: reference.entmax_vjp([0.0, 1.0], [[1.0], [1.0, 2.0]]), "cotangent must"),
    "a third": (lambda: one([Fraction(1, 3), 0]), "Fraction(1, 3) at index (0,)"),
    "a tenth": (lambda: one([0, Decimal("0.1")]), "Decimal('0.1') at index (1,)"),
    "an int beyond 2**53": (lambda: one([2**53 + 1, 2**53]), "9007199254740993 at index (0,)"),
    "an int beyond int64": (lambda: one([2**80, 2**80 + 1]), "index (1,)"),
    "a number beyond float64": (lambda: one([Fraction(10) ** 400, 0]), "index (0,)"),
    "None among numbers": (lambda: one([None, 0.0]), "got None"),
    "a string among numbers": (lambda: one(np.array(["1", 0.0], dtype=object)), "got '1'"),
    "a bool among numbers": (lambda: one(np.array([0.0, True], dtype=object)), "index (1,)"),
    "dim of a float": (lambda: one([[0.0, 1.0]], dim=1.0), "got 1.0"),
    "dim of a bool": (lambda: one([[0.0, 1.0]], dim=True), "got True"),
    "dim of an array": (lambda: one([[0.0, 1.0]], dim=np.array([1, 0])), "dim"),
    "k of an array": (lambda: Nearest(k=untyped(np.array([2]))), "array([2])"),
    "k of two": (lambda: Nearest(k=untyped(np.array([2, 3]))), "array([2, 3])"),
    "k of a bool": (lambda: Nearest(k=untyped(np.True_)), "True"),
    "k of a float": (lambda: Nearest(k=untyped(2.0)), "2.0"),
    "order of a NumPy bool": (lambda: Kernel(np.True_), "True"),
    "order of an array of a bool": (lambda: Kernel(np.array(True)), "True"),
    "order of a complex": (lambda: Kernel(np.complex128(2)), "2+0j"),
    "order of bytes": (lambda: Kernel(b"2"), "b'2'"),
    "order of an array of texts": (lambda: Kernel(np.array(["2", "two"])), "two"),
    "order beyond float64": (lambda: Kernel("1e400"), "2**1024"),
    "order of a googol of digits": (lambda: Kernel("1e999999999999"), "2**1024"),
    "order below float64": (lambda: Kernel(Fraction(1, 10**400)), "2**-1074"),
    "a Decimal below float64": (lambda: Kernel(Decimal("1e-999999999")), "2**-1074"),
    "alpha next to 1": (lambda: Kernel.from_alpha(1 + Fraction(1, 10**400)), "2**1024"),
    "h beyond float64": (lambda: Fixed("1e400"), "h must"),
    "gamma below float64": (lambda: Anchored(Fraction(1, 10**400)), "gamma must"),
    "beta beyond float64": (lambda: Adaptive(10**400), "beta must"),
    "order of entmax next to 0": (lambda: one([0.0, 1.0], "1e-30"), "2**-20"),
    "round to None": (lambda: reference.entmax([0.0]).weights.round(None), "got None"),
    "round to a list": (lambda: reference.entmax([0.0]).weights.round([]), "got []"),
    "no arithmetic": (lambda: one([0.0], arithmetic=np.array(["arb", "arb"])), "arithmetic"),
    "no choice of empty": (
        lambda: reference.weights([0.0], Kernel(1), Fixed(1), empty=untyped(np.array(["nan", "nan"]))),
        "empty must be",
    ),
    "a mechanism of no name": (lambda: reference.mechanism(untyped(["relumax"])), "['relumax']"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line(case: str) -> None:
    call, words = REFUSED[case]
    with pytest.raises(DomainError) as caught:
        call()
    message = str(caught.value)
    assert words in message
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize("precision", [0, -5, 1, 96.0, "96", True, None, 10**12])
@pytest.mark.parametrize("op", ["entmax", "entmax_vjp", "weights", "weights_vjp", "regression", "attention"])
def test_a_precision_is_a_sane_int(op: str, precision: Any) -> None:
    z, rule = [0.0, 1.0], (Kernel(2), Adaptive())
    arguments: dict[str, tuple[Any, ...]] = {
        "entmax": (z, 2),
        "entmax_vjp": (z, z, 2),
        "weights": (z, *rule),
        "weights_vjp": (z, z, *rule),
        "regression": (Q[0], K[0], V[0], *rule),
        "attention": (Q, K, V, *rule),
    }
    with pytest.raises(DomainError, match="precision must be an int from 2 to 1048576"):
        getattr(reference, op)(*arguments[op], precision=precision)


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (np.int64(2**53 + 1), Fraction(2**53 + 1)),
        (np.uint64(2**64 - 1), Fraction(2**64 - 1)),
        (np.array(2**53 + 1), Fraction(2**53 + 1)),
        (np.float32(0.1), Fraction(13421773, 2**27)),
        (np.longdouble(1) + np.longdouble(2) ** -60, 1 + Fraction(1, 2**60)),
        (np.array(Fraction(1, 3), dtype=object), Fraction(1, 3)),
        (Decimal("0.1"), Fraction(1, 10)),
        ("0.1", Fraction(1, 10)),
        ("1e-3", Fraction(1, 1000)),
        (" 3/2 ", Fraction(3, 2)),
        (5e-324, Fraction(1, 2**1074)),
        (1.7976931348623157e308, Fraction(1.7976931348623157e308)),
        (Decimal("inf"), np.inf),
    ],
)
def test_parameters_are_the_exact_numbers_they_are(value: Any, exact: Any) -> None:
    if isinstance(value, np.longdouble) and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("long double is double here")
    assert exact_number(value, "order") == exact


def test_numbers_that_are_exactly_float64_are_taken() -> None:
    given = [2**80, Fraction(1, 2), Decimal("0.25"), np.int64(3), 2**53 + 2, float("-inf")]
    expected = [2.0**80, 0.5, 0.25, 3.0, 2.0**53 + 2, -np.inf]
    assert float_array(given, "z").tolist() == expected
    assert float_array([2**54, 0], "z").tolist() == [2.0**54, 0.0]
    assert one([[0, 0.5]], dim=np.int64(-1)) == [[0.25, 0.75]]


@pytest.mark.torch
def test_masks_of_tensors_of_every_float_dtype() -> None:
    torch = pytest.importorskip("torch")
    expected = attend(mask=[0.0, -np.inf, 0.0])
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        assert attend(mask=torch.tensor([0.0, -np.inf, 0.0], dtype=dtype)) == expected
    assert attend(mask=torch.tensor([True, False, True])) == expected
    with pytest.raises(DomainError, match="int64"):
        attend(mask=torch.tensor([1, 0, 1]))
    with pytest.raises(DomainError, match="must be an int"):
        Nearest(untyped(torch.tensor([2])))


def test_formats_have_names_only() -> None:
    with pytest.raises(DomainError, match="got None"):
        format_of(None)


def test_the_default_scale_is_the_nearest_to_the_inverse_root() -> None:
    for width in range(1, 1025):
        scale = default_scale(width)
        below, above = (Fraction(np.nextafter(float(scale), end)) for end in (0.0, 2.0))
        assert ((below + scale) / 2) ** 2 * width < 1 < ((above + scale) / 2) ** 2 * width
    q = np.array([[[1.0, 3.0]]])
    nearest = reference.attention(q, K[:, :, :2], V, Kernel(2), Adaptive())
    given = reference.attention(q, K[:, :, :2], V, Kernel(2), Adaptive(), scale=float(2**-0.5))
    assert np.array_equal(nearest.y.round("float64"), given.y.round("float64"))
