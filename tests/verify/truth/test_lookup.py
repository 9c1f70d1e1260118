"""Where truths come from: each is computed once while a lookup is open, and the checks ask the cache as well."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernelproof.reference.errors import UndecidedError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of, resolve
from kernelproof.verify.checks import checks
from kernelproof.verify.records import Contract, Inputs, Outcome
from kernelproof.verify.truth import truth as oracle
from kernelproof.verify.truth.cache import CacheFile, Store, Tally
from kernelproof.verify.truth.lookup import lookup, truth_for

ROOT = Path(__file__).resolve().parents[3]
ROW = Case.parse("entmax order=8 rule=adaptive:1 dtype=float64 family=random shape=2x7 feature=1 seed=0")
MEAN = Case.parse(
    "attention order=inf rule=adaptive:1 dtype=float64 family=masks shape=1x1x3x5x2x2 feature=causal seed=0"
)
KEY_NORM = "attention order=inf rule=adaptive:1 dtype=float64 family=random shape=1x1x2x3x2x2 feature=keynorm seed=0"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Case, str]]:
    """The cases whose truth was computed, with the units."""
    found: list[tuple[Case, str]] = []
    real = oracle.truth_of

    def counted(case: Case, inputs: Inputs, scores: str = "differences") -> object:
        found.append((case, scores))
        return real(case, inputs, scores)

    monkeypatch.setattr(oracle, "truth_of", counted)
    return found


def test_a_truth_is_computed_once_while_a_lookup_is_open(computed: list[tuple[Case, str]]) -> None:
    inputs = inputs_of(ROW)
    with lookup(None):
        first = truth_for(ROW, inputs, Contract())
        assert truth_for(ROW, resolve(inputs, Contract(causal="top-left", scores="differences")), Contract()) is first
        assert len(computed) == 1
        assert truth_for(ROW, replace(inputs, cotangent=None), Contract()) is not first
    truth_for(ROW, inputs, Contract())
    assert len(computed) == 3


def test_contracts_that_mean_something_else_have_their_own(computed: list[tuple[Case, str]]) -> None:
    built = inputs_of(MEAN)
    with lookup(None):
        for word in ("bottom-right", "top-left", "bottom-right"):
            contract = Contract(causal=word)
            truth, reason = truth_for(MEAN, resolve(built, contract), contract)
            assert truth is not None
            assert reason == ""
        assert len(computed) == 2
        for scores in ("dots", "differences", "dots"):
            case = Case.parse(KEY_NORM)
            truth_for(case, inputs_of(case), Contract(scores=scores))
    assert computed[2:] == [(case, scores) for scores in ("dots", "differences", "dots")]


def test_the_checks_read_the_cache(cache_place: CacheFile, computed: list[tuple[Case, str]]) -> None:
    inputs, contract = inputs_of(ROW), Contract()
    check = checks()["convergence"]
    for turn in range(2):
        store = Store(cache_place)
        computed.clear()
        with lookup(store):
            truth = truth_for(ROW, inputs, contract)[0]
            outcomes = {}
            for name, call in check.calls(ROW, inputs).items():
                at = replace(ROW, order=call.order or ROW.order)
                held = truth_for(at, replace(inputs, cotangent=None), contract)[0]
                assert held is not None
                outcomes[name] = Outcome({"output": held.output.head.astype(np.float64)})
            judged = check.judge(ROW, inputs, truth, outcomes, contract)
        assert judged.decided
        assert not judged.failed
        assert len(computed) == (0 if turn else 4)
        assert store.take() == (Tally(hits=4) if turn else Tally(misses=4))


def test_a_limit_that_is_undecided_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, check = inputs_of(ROW), checks()["convergence"]
    truth = truth_for(ROW, inputs, Contract())[0]
    assert truth is not None
    outcomes = {name: Outcome({"output": truth.output.head}) for name in check.calls(ROW, inputs)}

    def undecided(*_: object) -> None:
        raise UndecidedError

    monkeypatch.setattr(oracle, "truth_of", undecided)
    judged = check.judge(ROW, inputs, truth, outcomes, Contract())
    assert (judged.decided, judged.failed, judged.undecided) == (0, 0, 1)


def test_no_check_computes_a_truth_past_the_lookup() -> None:
    rooms = ("cases", "targets", "judging", "checks", "workers", "witness", "fuzz", "studies", "record")
    past = [
        path.name
        for room in rooms
        for path in sorted((ROOT / "verify" / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.ImportFrom) and "truth_of" in {each.name for each in node.names})
        or (isinstance(node, ast.Constant) and node.value == oracle.__name__)
    ]
    assert past == []
