"""exp and log of double words against arb, within their proved bounds, and the tables they stand on."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction as F

import numpy as np
import pytest
from flint import arb, ctx

from kernelproof.reference.bulk import double_word, elementary_functions
from kernelproof.reference.bulk.double_word import Word
from kernelproof.reference.bulk.proposals import approximate_exp, approximate_log

COUNT = 5000


def exact(word: Word) -> arb:
    return arb(word[0]) + arb(word[1])


def with_tails(heads: list[float], seed: int) -> Iterator[Word]:
    rng = np.random.default_rng(seed)
    for head in heads:
        yield double_word.two_sum(head, head * float(rng.uniform(-1, 1)) * 2.0**-53)


def exponents() -> list[float]:
    """Spread over the domain, close to 0, and halfway between steps of the reduction, where it is worst."""
    rng = np.random.default_rng(0)
    halves = (rng.integers(-120000, 100, COUNT) + 0.5) * (np.log(2) / elementary_functions.STEPS)
    close = rng.choice([-1.0, 1.0], COUNT) * 2.0 ** rng.uniform(-70, 0, COUNT)
    return [*rng.uniform(-650, 1, COUNT).tolist(), *close.tolist(), *halves.tolist(), -650.0, 0.0, 1.0]


def arguments() -> list[float]:
    """Spread over the binades, close to 1, and at the ends of every cell of the table."""
    rng = np.random.default_rng(1)
    cells = 1.0 + np.arange(elementary_functions.CELLS) / elementary_functions.CELLS
    ends = [*cells.tolist(), *np.nextafter(cells[1:], 0.0).tolist(), 2.0 - 2.0**-52]
    near = 1.0 + rng.choice([-1.0, 1.0], COUNT) * 2.0 ** rng.uniform(-53, -1, COUNT)
    return [*(2.0 ** rng.uniform(-900, 2, COUNT)).tolist(), *near.tolist(), *ends, *(x / 2 for x in ends), 1.0]


def test_exp_is_within_its_bound() -> None:
    with ctx.workprec(256):
        errors = [
            abs(exact(elementary_functions.exp_word(*x)) / exact(x).exp() - 1) for x in with_tails(exponents(), 2)
        ]
        assert all(error < elementary_functions.EXP_ERROR for error in errors)
        assert any(error > elementary_functions.EXP_ERROR / 16 for error in errors)


def test_log_is_within_its_bound() -> None:
    with ctx.workprec(256):
        errors = []
        for x in with_tails(arguments(), 3):
            truth = exact(x).log()
            errors.append(abs(exact(elementary_functions.log_word(*x)) - truth) / (1 + abs(truth)))
        assert all(error < elementary_functions.LOG_ERROR for error in errors)
        assert any(error > elementary_functions.LOG_ERROR / 16 for error in errors)


@pytest.mark.parametrize(("reach", "bound"), [(2.0**-9, elementary_functions.RATIO_ERROR), (2.0**-8, 2.0**-99)])
def test_log_ratio_is_within_its_bounds(reach: float, bound: float) -> None:
    rng = np.random.default_rng(4)
    close = reach * 2.0 ** -rng.uniform(0, 60, COUNT)
    points = [*(reach * rng.uniform(-1, 1, COUNT)).tolist(), *close.tolist(), reach, -reach]
    with ctx.workprec(512):
        for x in with_tails(points, 5):
            z = exact(x)
            assert abs(exact(elementary_functions.log_ratio(*x)) * z / (1 + z).log() - 1) < bound


def test_log_phi_is_within_its_bound() -> None:
    rng = np.random.default_rng(7)
    close = 2.0**-9 * 2.0 ** -rng.uniform(0, 60, COUNT)
    points = [*(2.0**-9 * rng.uniform(-1, 1, COUNT)).tolist(), *close.tolist(), 2.0**-9, -(2.0**-9)]
    with ctx.workprec(512):
        errors = []
        for x in with_tails(points, 8):
            z = exact(x)
            truth = ((1 + z).log() - z / (1 + z)) / (z * z)
            errors.append(abs(exact(elementary_functions.log_phi(*x)) / truth - 1))
        assert all(error < elementary_functions.PHI_ERROR for error in errors)
        assert any(error > elementary_functions.PHI_ERROR / 64 for error in errors)


def test_reduced_arguments_of_log_are_small() -> None:
    for i, r in enumerate(elementary_functions._RECIPROCAL):
        ends = [F(float(r)) * (1 + F(i + side, elementary_functions.CELLS)) - 1 for side in (0, 1)]

        assert max(abs(end) for end in ends) <= F(1, 256)
        assert float(r) * 1024 == int(float(r) * 1024)


def test_the_step_of_exp_is_exact_in_its_first_parts() -> None:
    first, second, third = (
        F(part) for part in (elementary_functions._C1, elementary_functions._C2, elementary_functions._C3)
    )
    for part in (first, second):
        assert part.numerator.bit_length() <= 33
    with ctx.workprec(300):
        rest = arb(2).log() / elementary_functions.STEPS - sum(
            arb(p.numerator) / p.denominator for p in (first, second, third)
        )
        assert abs(rest) < arb(2) ** -126 and 0 < third < F(1, 2**72)


def test_proposals_are_close_enough_to_start_from() -> None:
    xs = np.random.default_rng(6).uniform(-690, 1, 2000)
    assert max(abs(approximate_exp(x) / np.exp(x) - 1) for x in xs) < 2.0**-48
    ys = 2.0 ** (xs / 2)
    assert max(abs(approximate_log(y) - np.log(y)) / abs(np.log(y)) for y in ys) < 2.0**-48
    assert approximate_exp(-1000.0) == 0.0
