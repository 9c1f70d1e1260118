"""per_row: a target that takes the first number for all, or does not sum its gradients, is red by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.meta.planting import check_of, failing, loaded_here
from tests.verify.witness.planted_faults import PLANTED, Fault, text_of
from tests.verify.witness.test_script import pasted

from kernelproof.api import verify
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.checks.per_row import ORDERS, resolved

SOURCE = '''
import numpy as np
from kernelproof import backend
from kernelproof.reference import Adaptive, Kernel
from kernelproof.reference.per_row import PerRow

NUMPY = backend("numpy")
KERNELPROOF = {"orders": ["1/2..inf"], "per_row": ["order", "beta"], "array_library": "numpy"}


class Right:
    def entmax(self, z, *, order=None, alpha=None):
        return NUMPY.entmax(z, order=self.of(order), alpha=alpha)

    def weights(self, scores, kernel, rule):
        return NUMPY.weights(scores, kernel, rule)

    def vjp(self, op, cotangent, *args, **options):
        return self.turned(NUMPY.vjp(op, cotangent, *args, **options), args[0])

    def of(self, order):
        return order

    def turned(self, found, z):
        return found


class First(Right):
    """The order of row 0 for all."""
    def of(self, order):
        return order if np.ndim(order) == 0 else np.full_like(order, order.ravel()[0])


class EachRow(Right):
    """A gradient in the orders that is not summed over the rows that share one."""
    def turned(self, found, z):
        if np.ndim(found.get("order", 0)) and found["order"].shape != (*z.shape[:-1], 1):
            found["order"] = np.broadcast_to(found["order"], (*z.shape[:-1], 1)).copy()
        return found


class Mean(Right):
    """The mean over the rows that share an order in the place of the sum."""
    def turned(self, found, z):
        if np.ndim(found.get("order", 0)):
            found["order"] = found["order"] * (found["order"].size / (z.size // z.shape[-1]))
        return found


class FirstBeta(Right):
    def weights(self, scores, kernel, rule):
        if isinstance(rule, Adaptive) and isinstance(rule.exact, PerRow):
            rule = Adaptive(float(rule.exact.numbers[0]))
        return NUMPY.weights(scores, kernel, rule)
'''
ENTMAX = "entmax order=2 rule=adaptive:1 dtype=float64 family=random shape=3x4x7 feature=1 seed=0"
WEIGHTS = "weights order=2 rule=adaptive:2 dtype=float32 family=random shape=3x4x7 feature=1 seed=0"

FAULTS = (
    Fault(
        "per_row",
        "first",
        """
KERNELPROOF = {**Right.KERNELPROOF, "per_row": ["order"], "orders": ["1..8"], "gradients": []}
vjp = None

def weights_of(self, z, n):
    return super().weights_of(z, float(np.ravel(n)[0]))
""",
        "entmax order=2 rule=adaptive:1 dtype=float64 family=random shape=4x7 feature=1 seed=0",
    ),
)


def test_a_planted_fault_is_found_and_its_script_shows_it(tmp_path: Path) -> None:
    """The script runs the case again: each row has a truth of its own."""
    path = tmp_path / "planted_target.py"
    path.write_text(text_of(FAULTS[0], mended=False), encoding="utf-8")
    with loaded_here(tmp_path):
        results = verify(f"{path}:{PLANTED}", case=FAULTS[0].case, serial=True)
    assert failing(results).keys() == {"per_row"}
    script = check_of(results, "per_row").script
    assert script is not None and FAULTS[0].case in script
    for mended, code in ((False, 1), (True, 0)):
        path.write_text(text_of(FAULTS[0], mended=mended), encoding="utf-8")
        assert pasted(script, tmp_path).returncode == code


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "per_row_targets.py"
    path.write_text(SOURCE, encoding="utf-8")
    with loaded_here(tmp_path):
        yield path


@pytest.mark.parametrize("case", [ENTMAX, WEIGHTS])
def test_rows_with_numbers_of_their_own_pass(case: str, file: Path) -> None:
    results = verify(f"{file}:Right", case=case, serial=True)
    assert failing(results) == {}
    assert check_of(results, "per_row").decided > 40


@pytest.mark.parametrize(
    ("name", "case", "words"),
    [
        ("First", ENTMAX, "with order for each row, 1 in the rows"),
        ("EachRow", ENTMAX, "the gradient in order has the shape (3, 4, 1), not (1, 4, 1)"),
        ("Mean", ENTMAX, "with order for each row"),
        ("FirstBeta", WEIGHTS, "with beta for each row"),
    ],
)
def test_a_fault_is_red_by_name(name: str, case: str, words: str, file: Path) -> None:
    results = verify(f"{file}:{name}", case=case, serial=True)
    assert failing(results).keys() == {"per_row"}
    worst = check_of(results, "per_row").worst
    assert worst is not None
    assert words in worst.message


def test_nothing_is_said_of_a_target_that_declares_nothing(file: Path) -> None:
    file.write_text(SOURCE.replace(', "per_row": ["order", "beta"]', ""), encoding="utf-8")
    results = verify(f"{file}:First", case=ENTMAX, serial=True)
    assert failing(results) == {}
    assert all(check.id != "per_row" for run in results.targets for check in run.checks)


def test_orders_and_their_alphas_are_exact_in_short_dtypes() -> None:
    for words in ORDERS.values():
        for order in map(resolved, words):
            for name in ("float16", "bfloat16", "float8_e5m2"):
                for number in (order, 1 + 1 / order):
                    assert float(np.array(number).astype(FORMATS[name].dtype)) == number


def test_a_range_of_orders_is_asked_where_it_lies(file: Path) -> None:
    file.write_text(SOURCE.replace('"1/2..inf"', '"2..inf"'), encoding="utf-8")
    results = verify(f"{file}:First", case=ENTMAX, serial=True)
    assert failing(results).keys() == {"per_row"}
