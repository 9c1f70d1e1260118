"""In which dtype a target computes, what it stores in a narrower one, and the ends of each format."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kernelproof.reference.formats import FORMATS
from kernelproof.verify.judging.precision import USUAL, Precision, eta, precision_of, ulp_of
from kernelproof.verify.records import OPS, ROUNDINGS, Contract

ROOT = Path(__file__).resolve().parents[3]
NARROW = ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
WANTED = {
    "entmax": {"probabilities"},
    "weights": {"probabilities"},
    "regression": {"weights"},
    "attention": {"weights", "scores", "scaled_scores"},
}


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", list(FORMATS))
def test_the_defaults(name: str, op: str) -> None:
    found = precision_of(name, Contract(), op)
    narrow = name in NARROW
    assert found.storage is FORMATS[name]
    assert found.compute is FORMATS["float32" if narrow else name]
    assert found.unit == 2.0**-found.compute.precision
    assert found.stored == 2.0**-found.storage.precision
    assert found.narrow is narrow
    # Where storage is not narrower, κ counts every rounding.
    assert found.roundings == (WANTED[op] if narrow else set())
    assert not found.flush
    assert found.flushed == 0


def test_every_format_is_judged_as_narrow_or_wide() -> None:
    assert {name for name in FORMATS if precision_of(name, Contract()).narrow} == set(NARROW)
    assert USUAL.keys() == set(OPS)
    assert {each for held in USUAL.values() for each in held} <= set(ROUNDINGS)


@pytest.mark.parametrize("op", OPS)
def test_what_a_contract_declares_replaces_the_defaults(op: str) -> None:
    assert precision_of("bfloat16", Contract(roundings=()), op).roundings == frozenset()
    assert precision_of("bfloat16", Contract(roundings=("keys",)), op).roundings == {"keys"}
    # A dtype that is no narrower than that of the computation rounds nothing.
    assert precision_of("float32", Contract(roundings=("keys",)), op).roundings == frozenset()
    assert precision_of("bfloat16", Contract(compute="bfloat16", roundings=("keys",)), op).roundings == frozenset()
    assert precision_of("bfloat16", Contract(compute="bfloat16"), op).unit == 2.0**-8
    assert precision_of("float32", Contract(compute="float64"), op).roundings == WANTED[op]
    assert precision_of("float16", Contract(compute="bfloat16"), op).roundings == frozenset()


@pytest.mark.parametrize("name", list(FORMATS))
def test_half_an_ulp_is_what_rounding_to_nearest_may_add(name: str) -> None:
    found, target = precision_of(name, Contract()), FORMATS[name]
    least = Fraction(2) ** (target.emin - target.precision + 1)
    values = [Fraction(0), least, 3 * least, Fraction(2) ** target.emin, Fraction(1), Fraction(3, 2), Fraction(7, 4)]
    for value in values:
        half = found.half_step(value)
        # The next number of the format is two half steps above.
        above = value + 2 * half
        assert Fraction(float(target.round_floats(np.array([float(above)]))[0])) == above
        assert 2 * half >= least
        middle = value + half
        if name != "float64":
            assert Fraction(float(target.round_floats(np.array([float(middle)]))[0])) in {value, above}
            assert float(found.half_ulp(np.array([float(value)]))[0]) == float(half)
    assert (found.half_ulp(np.array([0.0, 1e-320])) > 0).all()


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_spacing_at_powers_of_two(name: str) -> None:
    target = FORMATS[name]
    u = target.unit_roundoff
    ulp = ulp_of(np.array([1.0, np.nextafter(1.0, 0), -1.0, 0.0]), target)
    assert ulp.tolist()[:3] == [2 * u, u, 2 * u]
    assert ulp[3] == 2.0 ** (target.emin - target.precision + 1)


@pytest.mark.parametrize("name", list(FORMATS))
def test_eta_and_what_is_flushed(name: str) -> None:
    target = FORMATS[name]
    smallest = 2.0 ** (target.emin - target.precision + 1)
    # Half the smallest subnormal of float64 is no float64.
    assert eta(target) == (smallest if name == "float64" else smallest / 2) > 0
    assert Precision(target, target, True, frozenset()).flushed == 2.0**target.emin
    assert Precision(target, target, False, frozenset()).flushed == 0


def test_there_is_one_formula() -> None:
    said = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "verify").rglob("*.py"))
        if "backends" not in path.parts and re.search(r"smallest\)? / 2|target\.emin if", path.read_text("utf-8"))
    ]
    assert said == ["verify/judging/precision.py"]
