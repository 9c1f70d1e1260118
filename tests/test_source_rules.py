"""House rules that no other tool checks, read off the syntax trees and the text of the repository."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("reference", "theory", "verify", "reports")
LONGEST = 400
ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if "gallery" not in path.parts]


def negated_comparisons(tree: ast.AST) -> list[int]:
    """Lines with ``not (a < b)``, and what De Morgan makes of it: ``not (a < b and c)``.

    Between balls, ``a < b`` is True only if proved; its negation is then "disproved or undecided", read as disproved.
    """

    def is_ordered(node: ast.expr) -> bool:
        if isinstance(node, ast.BoolOp):
            return any(is_ordered(value) for value in node.values)
        return isinstance(node, ast.Compare) and any(isinstance(op, ORDERED) for op in node.ops)

    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and is_ordered(node.operand)
    ]


def works_with_balls(tree: ast.AST) -> bool:
    """True if the module names arb or flint, or takes an arithmetic context."""
    words = {"arb", "flint", "ctx", "arithmetic"}
    return any(
        (isinstance(node, ast.Name) and node.id in words)
        or (isinstance(node, ast.Attribute) and node.attr in words)
        or (isinstance(node, ast.arg) and node.arg in words)
        or (isinstance(node, ast.alias) and words & set(node.name.split(".")))
        or (isinstance(node, ast.ImportFrom) and words & set((node.module or "").split(".")))
        for node in ast.walk(tree)
    )


def repository_texts() -> list[tuple[Path, str]]:
    """(file, text) of every text file that git keeps or would keep."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 -- git of the user
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    texts = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            try:
                texts.append((path, path.read_text("utf-8")))
            except UnicodeDecodeError:
                continue
    return texts


def test_undecided_comparisons_are_not_read_as_false() -> None:
    trees = {path: ast.parse(path.read_text("utf-8")) for path in python_files("reference", "theory")}
    with_balls = {path: tree for path, tree in trees.items() if works_with_balls(tree)}
    assert with_balls
    assert [f"{path}:{line}" for path, tree in with_balls.items() for line in negated_comparisons(tree)] == []


@pytest.mark.parametrize("text", ["not (a < b)", "not a <= b", "not (a > b and c)", "not (a or 0 <= b < c)"])
def test_a_negated_comparison_is_seen(text: str) -> None:
    assert negated_comparisons(ast.parse(text)) == [1]


@pytest.mark.parametrize("text", ["b <= a", "not a", "not (a == b)", "not a.is_finite()", "not f(a < b)"])
def test_other_negations_are_allowed(text: str) -> None:
    assert negated_comparisons(ast.parse(text)) == []


def test_floors_are_imported_by_their_full_name() -> None:
    wrong = []
    for path in python_files(*FLOORS, "src", "tests"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = ["." if node.level else node.module or ""]
            wrong += [f"{path}:{name}" for name in names if name.partition(".")[0] in {*FLOORS, ""}]
    assert wrong == []


def prints(tree: ast.AST) -> list[int]:
    """Lines that print, and do not leave it to `kernelproof.commands.terminal`, which cleans."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"}
    ]


def test_what_is_printed_is_cleaned() -> None:
    files = [*python_files(*FLOORS), *(ROOT / "src" / "kernelproof").glob("**/*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in files if prints(ast.parse(path.read_text("utf-8")))}
    cleans = {"src/kernelproof/commands/terminal.py", "reference/progress.py", "src/kernelproof/reference/progress.py"}
    assert found - cleans == set()
    assert found & cleans


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in python_files(*FLOORS, "src", "tests")}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST} == {}


def test_nothing_names_a_machine() -> None:
    # Put together here, so that this file does not name one.
    places = [f"/{top}/" for top in ("work", "root", "home")]
    assert [f"{path}: {place}" for path, text in repository_texts() for place in places if place in text] == []
