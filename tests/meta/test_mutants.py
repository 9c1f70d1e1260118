"""The mutants: how many there are, which of them pass the tests that releases have, and that the score works.

The score of all of them is ``make mutants``: it takes minutes, and CI runs it.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelproof import reference
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.hosts.guard import Guard, described
from kernelproof.verify.records import OPS, Call, Inputs
from kernelproof.verify.targets.caller import Caller
from kernelproof.verify.targets.declaration import Declaration, declared
from kernelproof.verify.targets.target import find

FOLDER = Path(__file__).parent / "mutants"
torch = pytest.importorskip("torch")
sys.path.append(str(FOLDER))
import score  # noqa: E402 (the folder is no package)
import survivors  # noqa: E402 (the folder is no package)
from mutant_registry import Mutant  # noqa: E402 (the folder is no package)

ALL = list(score.implementations())
PLAUSIBLE = [(text, name) for text, name, mark in ALL if mark.plausible]


def test_there_are_enough_of_each_kind() -> None:
    assert sum(mark.fault != "" for _, _, mark in ALL) >= 200
    assert len(PLAUSIBLE) >= 25
    assert sum(mark.fault == "" for _, _, mark in ALL) >= 40
    assert len({name for _, name, _ in ALL}) == len(ALL)


def test_they_are_of_every_op_array_and_dtype_and_some_give_wrong_gradients() -> None:
    found: dict[bool, list[Declaration]] = {True: [], False: []}
    for text, name, mark in ALL:
        function = getattr(importlib.import_module(Path(text.rpartition(":")[0]).stem), name)
        found[mark.fault != ""].append(function.KERNELPROOF)
    for declarations in found.values():
        assert {op for each in declarations for op in each.op or ("entmax",)} == set(OPS)
        assert {dtype for each in declarations for dtype in each.dtypes or ()} == set(FORMATS)
        assert "jax" in {each.array_library for each in declarations}
    assert {"z", "alpha", "beta", "h"} <= {name for each in found[True] for name in each.gradients or ()}


def test_each_mutant_names_its_fault_in_one_sentence() -> None:
    faults = [mark.fault for _, _, mark in ALL if mark.fault]
    # A sentence, or the noun that is wrong; the score prints it in one line.
    assert [fault for fault in faults if not 7 <= len(fault) <= 110 or "\n" in fault or fault.endswith(".")] == []


def test_those_that_are_judged_wrongly_are_named_and_become_fewer() -> None:
    # A ratchet: who mends what the tester lacks takes the names out, and lowers the number.
    assert set(survivors.KNOWN) <= {name for _, name, _ in ALL}
    assert len(survivors.KNOWN) == sum(len(names.split()) for names in survivors.REASONS.values()) == 0


def test_a_sample_covers_every_file_and_the_same_hash_draws_it_again() -> None:
    files = {text.rpartition(":")[0] for text, _, _ in ALL}
    sample = score.drawn(ALL, 40, "0b5e7ab")
    assert sample == score.drawn(ALL, 40, "0b5e7ab") != score.drawn(ALL, 40, "c0ffee5")
    assert {text.rpartition(":")[0] for text, _, _ in sample} == files
    assert len(sample) == max(40, len(files)) == len({name for _, name, _ in sample})


def asked(text: str) -> Any:
    """The target, one case within what it can be asked, and inputs of N(0, 1)."""
    found = described(find(text))
    assert not isinstance(found, str), found
    target = found[0]
    scope = target.scopes[0]
    order = scope.order or (scope.orders[0].partition("..")[0] if scope.orders else "2")
    rule = (
        "adaptive:1" if scope.op == "entmax" else "nearest:3:adaptive:1" if "nearest" in scope.rules else "adaptive:1"
    )
    dtype = next(name for name in ("float64", "float32") if name in scope.dtypes)
    shape = (16, 64) if scope.op in {"entmax", "weights"} else (2, 2, 2, 8, 16, 4, 4)
    case = Case(scope.op, order, None, rule, dtype, "random", shape, "1", 0)
    rng = np.random.default_rng(0)
    if scope.op in {"entmax", "weights"}:
        arrays = {"z" if scope.op == "entmax" else "scores": rng.normal(size=shape).astype(dtype)}
    else:
        arrays = {
            name: rng.normal(size=(2, 2, size, 4)).astype(dtype) for name, size in (("q", 8), ("k", 16), ("v", 16))
        }
    return target, case, Inputs(arrays)


def truth(case: Case, inputs: Inputs) -> Any:
    given = list(inputs.arrays.values())
    if case.op == "entmax":
        return reference.entmax(given[0], case.order).weights.round(case.dtype)
    if case.op == "weights":
        return reference.weights(given[0], *case.mechanism).weights.round(case.dtype)
    q, k, v = given
    return reference.attention(q, k, v, *case.mechanism).y.round(case.dtype)


@pytest.mark.parametrize(("text", "name"), PLAUSIBLE, ids=[name for _, name in PLAUSIBLE])
def test_a_plausible_mutant_passes_what_releases_are_tested_with(text: str, name: str) -> None:
    target, case, inputs = asked(text)
    caller = Caller(target)
    # Guarded: what a mutant changes of the process must not reach other tests.
    with np.errstate(all="ignore"), Guard(caller) as guard:
        outcome = guard.call(case, Call(inputs))
    assert outcome.error is None
    torch.testing.assert_close(torch.from_numpy(outcome.arrays["output"]), torch.from_numpy(truth(case, inputs)))
    gives = target.scopes[0].gradients
    if target.array_library == "torch" and case.dtype == "float64" and (gives is None or "z" in gives):
        z = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 6))).requires_grad_(True)
        assert torch.autograd.gradcheck(caller.found, (z,))
    assert declared(caller.found, name).order is not None or target.scopes[0].orders


def test_the_score_kills_a_mutant_and_calls_its_twin_right() -> None:
    command = [sys.executable, str(FOLDER / "score.py"), "no_max_shift", "softmax_of_numpy", "--suite", "quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 1 / 1" in done.stdout
    assert "false alarms 0 / 1" in done.stdout


def test_the_score_is_red_if_a_mutant_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    # A correct implementation under the mark of a mutant lives, and that must show.
    text, name, _ = next(each for each in ALL if each[1] == "softmax_of_numpy")
    marked = [(text, name, Mutant("nothing at all"))]
    monkeypatch.setattr(score, "implementations", lambda: iter(marked))
    monkeypatch.setattr(score, "LIMITS", score.LIMITS)
    assert score.main(["--suite", "quick"]) == 1
