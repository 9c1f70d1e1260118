"""A target that looks the answer up gives none; one that only imports kernelproof is as good as any."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.hosts.remote import Remote, describe_in_host, stop_all
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.target import find

CASE = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=random shape=2x5 feature=1 seed=0")
HEAD = """
import numpy as np

def right(z, order):
    import kernelproof
    return kernelproof.backend("numpy").entmax(z, order=order)
"""
LOOKED_UP = {
    "through the public name": """
def fn(z, order):
    from kernelproof import reference
    return reference.entmax(z, order=order).weights.round("float64")
""",
    "imported before": """
from kernelproof.reference.ops.entmax import entmax
def fn(z, order):
    return entmax(z, order=order).weights.round("float64")
""",
    "in vain, and caught": """
def fn(z, order):
    try:
        from kernelproof.reference import entmax
        entmax("nothing", order=order)
    except Exception:
        pass
    return right(z, order)
""",
    "the solver": """
def fn(z, order):
    from kernelproof.reference import solver
    return right(z, order)
""",
    "from the cache": """
import pathlib, sqlite3
def fn(z, order):
    sqlite3.connect(str(pathlib.Path(CACHE) / "truth-1.sqlite")).close()
    return right(z, order)
""",
    "from the cache, at its import": """
import pathlib
with open(pathlib.Path(CACHE) / "truth-1.sqlite", "a"):
    pass
def fn(z, order):
    return right(z, order)
""",
}
ALLOWED = {
    "it declares": """
from kernelproof import declare
@declare(op="entmax", grade="C")
def fn(z, order):
    return right(z, order)
""",
    "a test of it verifies": """
import kernelproof
def test_it():
    assert kernelproof.verify(fn).passed
def fn(z, order):
    return right(z, order)
""",
    "it knows the truth and does not ask": """
from kernelproof.reference import entmax
HELD = entmax([0.0, 1.0], order=2)
def fn(z, order):
    return right(z, order)
""",
}


def answer(folder: Path, body: str) -> Outcome:
    path = folder / "mine.py"
    path.write_text(f"CACHE = {str(folder / 'truths')!r}\n{HEAD}\n{body}", encoding="utf-8")
    (folder / "truths").mkdir()
    place = find(f"{path}:fn")
    found = describe_in_host(place, Limits(seconds=30.0), probe=False, cache=str(folder / "truths"))
    assert not isinstance(found, str)
    remote = Remote(found[0], Limits(seconds=60.0), str(folder / "truths"))
    (outcome,) = remote.answer(CASE, [Call(inputs_of(CASE))])
    stop_all()
    return outcome


@pytest.mark.parametrize("name", LOOKED_UP)
def test_an_answer_that_is_looked_up_is_none(tmp_path: Path, name: str) -> None:
    outcome = answer(tmp_path, LOOKED_UP[name])
    assert not outcome.arrays
    assert "which a target must not do" in str(outcome.error)


@pytest.mark.parametrize("name", ALLOWED)
def test_who_does_not_ask_has_an_answer(tmp_path: Path, name: str) -> None:
    outcome = answer(tmp_path, ALLOWED[name])
    assert outcome.error is None
    assert outcome.arrays["output"].shape == (2, 5)
