"""The file of a check has everything about it: what is required of each, and no other file knows a check by its id."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
from tests.test_source_rules import ROOT

from kernelproof.verify.checks import checks, headline
from kernelproof.verify.records import ACCURACY, CRASH

FACTS = ("id", "title", "fatal", "rank", "independent")
WORDS = {
    ("verify/records.py", ACCURACY): "the accuracy table, and with it the grade, is made of this check",
    ("verify/cases", "batch"): "an axis of the combinations of levels",
    ("verify/cases", "layout"): "an axis of the combinations of levels",
    ("verify/record/pairs.py", "gradients"): "the pairs of levels with gradients are those of this check",
    ("verify/targets/shapes.py", "batch"): "an axis of the combinations of levels",
    ("verify/bench", "gradients"): "what a comparison in a benchmark is about",
    ("verify/bench", "support"): "an input of a benchmark, by the size of its support",
    ("verify/studies", "convergence"): "the family of the cases of this study",
    ("verify/studies", "simplex"): "the checks by which the study judges every order",
    ("verify/studies", "support"): "the checks by which the study judges every order",
    ("verify/backends", "axis"): "an argument of an op",
    ("verify/hosts", "axis"): "a field of a call",
    ("verify/hosts", "per_row"): "a field of a call",
    ("verify/targets", "axis"): "a parameter of a target",
    ("verify/targets", "layout"): "a field of declarations",
    ("verify/targets", "per_row"): "a field of declarations",
    ("verify/targets", "gradients"): "a field of declarations and of answers",
    ("verify/truth", "gradients"): "a field of a truth",
    ("verify/truth", "support"): "a field of a truth",
    ("verify/witness/templates", "gradients"): "a field of the answer of a program",
    ("reports/paper", "axis"): "a picture of a paper",
    ("reports/paper", "curve"): "a word of a caption",
    ("reports/paper", "support"): "a picture of a paper",
}
"""(file or folder, string) -> what the string means there, which is no check."""


def known_ids(text: str, name: str) -> Iterator[tuple[int, str]]:
    """(line, id) of every string in a module, or quoted in a template, that is the id of a check."""
    if name.endswith(".py"):
        nodes = list(ast.walk(ast.parse(text)))
        parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.Constant) and id(node) not in parts and node.value in checks():
                yield node.lineno, str(node.value)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        yield from ((number, word) for _, word in re.findall(r"""(["'])(\w+)\1""", line) if word in checks())


def excused(name: str, word: str) -> bool:
    return any(word == allowed and name.startswith(place) for place, allowed in WORDS)


def sources() -> list[Path]:
    folders = [path for path in (ROOT / "verify").iterdir() if path.name != "checks"]
    files = [file for each in (*folders, ROOT / "reports", ROOT / "src") for file in [each, *each.rglob("*")]]
    return sorted({file for file in files if file.is_file() and file.suffix in {".py", ".j2", ".jinja"}})


def test_no_other_file_knows_a_check_by_its_id() -> None:
    assert len(sources()) > 100
    found = {
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in sources()
        for line, word in known_ids(path.read_text("utf-8"), path.name)
        if not excused(path.relative_to(ROOT).as_posix(), word)
    }
    assert found == set(), "move what depends on a check into its file, or say in WORDS what the string means"


def test_every_excuse_is_needed() -> None:
    held = {
        (path.relative_to(ROOT).as_posix(), word)
        for path in sources()
        for _, word in known_ids(path.read_text("utf-8"), path.name)
    }
    unused = [
        (place, word) for place, word in WORDS if not any(w == word and name.startswith(place) for name, w in held)
    ]
    assert unused == []


def test_ids_are_seen_in_modules_and_in_templates() -> None:
    listed = 'FATAL = frozenset({"simplex", "kkt"})\nif check == "garbage":\n    pass\n'
    assert {word for _, word in known_ids(listed, "one.py")} == {"simplex", "kkt", "garbage"}
    assert list(known_ids("<p>\n{% if check.id == 'poison' %}accuracy{% endif %}", "one.html.j2")) == [(2, "poison")]


@pytest.mark.parametrize("name", checks())
def test_a_check_states_every_fact_itself(name: str) -> None:
    check = checks()[name]
    assert set(FACTS) <= vars(type(check)).keys()
    assert type(check).__module__ == f"kernelproof.verify.checks.{name}"
    assert check.id == name
    assert check.rank >= 1


@pytest.mark.parametrize("name", checks())
def test_the_test_of_a_check_plants_a_fault_for_it(name: str) -> None:
    """And runs it: a check that was never seen red is no check."""
    test = import_module(f"tests.verify.checks.test_{name}")
    assert {fault.check for fault in test.FAULTS} == {name}
    assert test.test_a_planted_fault_is_found_and_its_script_shows_it


def test_wrong_sums_supports_special_rows_and_gradients_are_grade_f() -> None:
    """As docs/theory.md §4 has it."""
    fatal = {name for name, check in checks().items() if check.fatal}
    assert fatal == {"gradients", "simplex", "special_values", "support"}


def test_the_headline_is_the_end_of_the_process_then_goes_by_rank_and_id() -> None:
    telling = ("special_values", "batch", "layout", "per_row", "axis", "translation", "permutation")
    first = (CRASH, *telling, "gradients", "accuracy", "lean", "support", "simplex", "empty_rows", "dtype_kept")
    order = [*first, *(name for name in checks() if name not in first), "a check of another version"]
    for one, other in pairwise(order):
        assert headline([other, one]) == headline([one, other]) == one
