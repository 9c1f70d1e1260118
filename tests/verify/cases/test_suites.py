"""Suites: every combination of op, rule, order and dtype is tried, and every family and recipe in turn."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kernelproof.reference.errors import DomainError
from kernelproof.verify.cases.axes import PAIRS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.coverage import pointless, recipes_dealt
from kernelproof.verify.cases.families import families, once_of
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.plan import plan as whole_plan
from kernelproof.verify.cases.plan import rule_text
from kernelproof.verify.cases.suites import ORDERS, RULES, SUITES, Selection, parse_numbers
from kernelproof.verify.records import OPS


@pytest.fixture(autouse=True)
def _combinations_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan no combinations, which take most of the time of a plan: `plan` would leave them out."""
    monkeypatch.setattr("kernelproof.verify.cases.plan._combined", lambda *_: ())


def plan(selection: Selection, **more: bool) -> tuple[Case, ...]:
    """The cases of the families with recipes; `test_pairs` has tests of the combinations, which have none."""
    return tuple(case for case in whole_plan(selection, **more) if case.family != PAIRS)


@pytest.mark.parametrize("suite", ["quick", "standard"])
def test_every_combination_and_every_family_is_there(suite: str) -> None:
    cases = plan(Selection(suite=suite))
    assert len(set(cases)) == len(cases)
    seen = {(case.op, case.order, case.dtype, case.rule.partition(":")[0]) for case in cases}
    for dtype in SUITES[suite].dtypes:
        for order in ORDERS:
            assert ("entmax", order, dtype, "adaptive") in seen
            for op in OPS[1:]:
                assert all((op, order, dtype, rule) in seen for rule in RULES)
    for op in OPS:
        held = {name for name, family in families().items() if next(iter(family.recipes(suite, op)), None)}
        assert {case.family for case in cases if case.op == op} == held
    assert any(case.alpha for case in cases)
    assert any(case.order == "0" for case in cases)


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(("orders", "dtypes"), [(("2",), ()), (("2",), ("float8_e4m3fn",)), (("inf",), ("float32",))])
@pytest.mark.parametrize("suite", ["quick", "standard"])
def test_a_run_of_one_order_tries_every_family(
    suite: str, orders: tuple[str, ...], dtypes: tuple[str, ...], seed: int
) -> None:
    cases = plan(Selection(suite=suite, orders=orders, dtypes=dtypes, seed=seed))
    assert len(set(cases)) == len(cases)
    assert {case.order for case in cases} == set(orders)
    for op in OPS:
        for name, family in families().items():
            seen = [case for case in cases if (case.op, case.family) == (op, name)]
            held = next(iter(family.recipes(suite, op)), None) is not None
            asked = [dtype for dtype in dtypes or SUITES[suite].dtypes if not pointless(op, name, orders[0], dtype)]
            assert bool(seen) == (held and bool(asked)), (op, name)
            assert not any(pointless(op, name, case.order, case.dtype) for case in seen)


def test_a_run_of_one_alpha_tries_every_family() -> None:
    cases = plan(Selection(suite="quick", alphas=("3/2",), dtypes=("float64",)))
    assert {case.family for case in cases} == {
        name for name, family in families().items() if next(iter(family.recipes("quick", "entmax")), None)
    }
    assert {case.alpha for case in cases} == {"3/2"}


def recipes_of(cases: Sequence[Case]) -> set[tuple[tuple[int, ...], str]]:
    """Without the case of as many keys as are kept, which no family lists: its size is that of the rule."""
    return {(case.shape, case.feature) for case in cases if not as_many_as_kept(case)}


def as_many_as_kept(case: Case) -> bool:
    kept = case.rule.split(":")[1] if case.rule.startswith("nearest:") else ""
    return (case.op, case.family, case.shape, case.feature) == ("weights", "random", (3, int(kept or -1)), "1")


def test_as_many_keys_as_are_kept_are_tried() -> None:
    for suite in ("quick", "standard"):
        held = {(case.shape[-1], case.dtype) for case in plan(Selection(suite=suite)) if as_many_as_kept(case)}
        assert len({size for size, _ in held} - {1}) >= 2
        assert {dtype for _, dtype in held} == set(SUITES[suite].dtypes)


def test_the_standard_suite_tries_every_recipe() -> None:
    cases = plan(Selection(suite="standard"))
    for op in OPS:
        for name, family in families().items():
            wanted = {*family.recipes("standard", op), *once_of(name, "standard", op)}
            assert recipes_of([case for case in cases if (case.op, case.family) == (op, name)]) == wanted


@pytest.mark.parametrize("orders", [("2",), ("inf",), ("3/2", "64")])
@pytest.mark.parametrize("suite", ["quick", "standard"])
def test_a_run_of_few_orders_tries_every_recipe_at_each(suite: str, orders: tuple[str, ...]) -> None:
    cases = plan(Selection(suite=suite, orders=orders, seed=2))
    for op in OPS if len(orders) == 1 else ("entmax",):
        for name, family in families().items():
            for order in orders:
                some = [case for case in cases if (case.op, case.order, case.family) == (op, order, name)]
                wanted = {*family.recipes(suite, op), *once_of(name, suite, op)}
                wanted = set() if pointless(op, name, order, "float64") else wanted
                assert recipes_of(some) == wanted, (op, name, order)
                if op == "entmax" and len(orders) == 1:
                    held = {(case.shape, case.feature) for case in some if case.dtype == "float32"}
                    assert held == wanted, (name, order)
    entmax = [case for case in cases if case.op == "entmax"]
    assert len(entmax) <= SUITES[suite].entmax_budget + 4 * len(orders) * len(SUITES[suite].dtypes)


@pytest.mark.parametrize(
    ("suite", "dtypes"), [("quick", ()), ("standard", ()), ("standard", ("float32",)), ("quick", ("bfloat16",))]
)
def test_every_order_meets_one_key_two_keys_and_high_ranks(suite: str, dtypes: tuple[str, ...]) -> None:
    cases = plan(Selection(suite=suite, ops=("entmax", "weights"), dtypes=dtypes, seed=1))
    for op in ("entmax", "weights"):
        for order in ORDERS:
            shapes = [case.shape for case in cases if (case.op, case.order) == (op, order)]
            assert {1, 2} <= {shape[-1] for shape in shapes}, (op, order)
            assert {3, 4} <= {len(shape) for shape in shapes}, (op, order)


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("suite", ["quick", "standard"])
def test_a_lost_maximum_shift_is_tried_at_the_gaussian_in_every_dtype(suite: str, seed: int) -> None:
    cases = plan(Selection(suite=suite, ops=("entmax",), seed=seed))
    for dtype in SUITES[suite].dtypes:
        at = {(case.family, case.feature) for case in cases if (case.order, case.dtype) == ("inf", dtype)}
        assert ("offsets", "5") in at, dtype


@pytest.mark.parametrize("suite", ["quick", "standard"])
def test_two_keys_are_swept_at_every_order_below_1(suite: str) -> None:
    cases = plan(Selection(suite=suite, ops=("entmax",)))
    below = {(case.order_label, case.dtype) for case in cases if case.kernel.order < 1}
    swept = {(case.order_label, case.dtype) for case in cases if (case.family, case.feature) == ("two_keys", "wide")}
    assert {label for label, _ in below} == {"1/16", "1/2", "α=3"}
    assert below <= swept


def test_the_suite_large_has_large_batches_of_the_orders_asked_for_and_nothing_else() -> None:
    cases = plan(Selection(suite="large", ops=("entmax",), orders=("1", "2")), fixed=True)
    assert {case.family for case in cases} == {"large"}
    assert {case.shape for case in cases} == {(16384, 4096), (65536, 1024), (2048, 32768)}
    assert {(case.op, case.order, case.dtype) for case in cases} == {("entmax", order, "float32") for order in "12"}
    assert not any(
        case.family == "large" for case in plan(Selection(suite="exhaustive", orders=("1",), ops=("entmax",)))
    )


def test_the_whole_grid_stays_affordable() -> None:
    # About 0.02 s of two cores a case: these are 10 s and a minute.
    assert len(plan(Selection(suite="quick"))) <= 460
    assert len(plan(Selection(suite="standard"))) <= 2900


def test_how_many_recipes_a_place_got() -> None:
    cases = plan(Selection(suite="quick", ops=("entmax",), orders=("2",)))
    held = len(set(families()["lengths"].recipes("quick", "entmax")))
    assert recipes_dealt(cases, "quick")["entmax", "lengths"] == (held, held)
    grid = recipes_dealt(plan(Selection(suite="quick")), "quick")
    assert grid["entmax", "lengths"][0] < held
    assert not recipes_dealt((), "quick")


def test_plans_depend_on_the_seed_and_nothing_else() -> None:
    assert plan(Selection(suite="quick")) == plan(Selection(suite="quick"))
    assert plan(Selection(suite="quick")) != plan(Selection(suite="quick", seed=1))


def test_selections() -> None:
    one = plan(Selection(suite="quick", ops=("weights",), orders=("3",), dtypes=("bfloat16",)))
    assert {(case.op, case.order, case.dtype) for case in one} == {("weights", "3", "bfloat16")}
    alphas = plan(Selection(suite="quick", alphas=("4/3", "2")))
    assert {(case.op, case.alpha) for case in alphas} == {("entmax", "4/3"), ("entmax", "2")}
    assert not plan(Selection(suite="quick", ops=("entmax",), orders=("0",)))


def test_alpha_only_targets_get_the_orders_that_no_float_expresses() -> None:
    cases = plan(Selection(suite="quick", orders=("3", "2")), alpha_only=True)
    assert {case.alpha for case in cases} == {None, "4/3"}


def test_values_of_alpha_that_were_asked_for_are_all_that_is_asked() -> None:
    for alphas in (("4/3",), ("5/3", "2")):
        cases = plan(Selection(suite="quick", alphas=alphas), alpha_only=True)
        assert {case.alpha for case in cases} == set(alphas)


def test_pointless_cells_have_a_reason() -> None:
    assert pointless("entmax", "kink", "inf", "float64")
    assert pointless("weights", "masks", "2", "float8_e4m3fn")
    assert pointless("attention", "masks", "2", "float8_e4m3fn") is None


def test_rules_of_large_orders_tend_to_the_gaussian() -> None:
    assert rule_text("fixed", "weights", "10000", 0) == "fixed:141"
    assert rule_text("anchored", "weights", "64", 1) == "anchored:64"
    assert rule_text("fixed", "weights", "64", 2) == "fixed:3"
    assert {rule_text("nearest", "weights", "0", turn).split(":")[2] for turn in range(4)} == {"fixed", "adaptive"}


@pytest.mark.parametrize(
    ("text", "name"), [("x", "order"), ("-inf", "order"), ("1,,2", "order"), ("-0.5", "alpha"), ("nan", "order")]
)
def test_bad_numbers(text: str, name: str) -> None:
    with pytest.raises(DomainError, match=name):
        parse_numbers(text, name)


@pytest.mark.parametrize("op", ["regression", "attention"])
def test_each_dtype_has_calls_of_many_queries_and_keys_with_some_rows_checked(op: str) -> None:
    held = [case for case in plan(Selection("standard", ops=(op,))) if case.shape[-3] > 128]
    assert {case.dtype for case in held} == set(Selection("standard").grid_dtypes)
    for case in held:
        inputs = inputs_of(case)
        assert "fixed" not in case.rule
        assert inputs.rows is not None
        assert len(inputs.rows) < inputs.arrays["q"][..., 0].size
        assert ("causal" in inputs.options) is (case.feature == "causal")
