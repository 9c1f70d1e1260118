"""The rooms of verify/: a case passes them in order, no imports run in a circle, and no further arrows creep in."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from kernelproof.api import verify

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("reference", "theory", "verify", "reports")
ROOMS = (
    "records",
    "registry",
    "importing",
    "process",
    "backends",
    "cases",
    "targets",
    "hosts",
    "judging",
    "truth",
    "checks",
    "workers",
    "record",
    "witness",
    "fuzz",
    "studies",
    "bench",
)
"""The rooms of verify/, and the modules that lie beside them: each imports only what stands before it."""
ARROWS = 70
"""Pairs of rooms of which one imports the other. Lower it where an arrow goes; a new arrow needs a reason."""
ENTERED = 103
"""Files of the package whose functions run while one row of logits is verified on one backend."""
ROW = "entmax order=2 rule=adaptive:1 dtype=float64 family=random shape=1x8 feature=1 seed=0"


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    top = ROOT / "src" / "kernelproof"
    files = [(ROOT, path) for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]
    files += [(top, path) for folder in (top, top / "commands") for path in sorted(folder.glob("*.py"))]
    found = {}
    for root, path in files:
        if "gallery" not in path.parts:
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(("kernelproof", *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


def imports_of(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules that the file at `path` imports: at its top, in functions, and for type checkers alone."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if (name := inner if inner in known else node.module) in known:
                    yield name
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Module -> the modules that it imports."""
    known = modules()
    return {name: set(imports_of(path, known)) - {name} for name, path in known.items()}


def room_of(module: str) -> str | None:
    """The room of a module of verify/; None for one of another floor, and for verify/__init__.py."""
    parts = module.split(".")
    return parts[2] if parts[1:2] == ["verify"] and len(parts) > 2 else None


@pytest.fixture(scope="module")
def arrows(graph: dict[str, set[str]]) -> dict[tuple[str, str], list[str]]:
    """(room, room that it imports) -> the imports."""
    found = defaultdict(list)
    for module, imported in graph.items():
        for other in imported:
            here, there = room_of(module), room_of(other)
            if here is not None and there is not None and here != there:
                found[here, there].append(f"{module} -> {other}")
    return dict(found)


def circle_of(graph: Mapping[str, set[str]]) -> list[str]:
    """The nodes of a circle in `graph`; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_is_known(graph: dict[str, set[str]]) -> None:
    assert {room for room in map(room_of, graph) if room is not None} == set(ROOMS)


def test_no_imports_run_in_a_circle(graph: dict[str, set[str]]) -> None:
    # A package is loaded before its modules, so that importing one of them is no arrow to the package.
    assert circle_of(graph) == []


def test_a_circle_is_seen() -> None:
    assert set(circle_of({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()})) == {"a", "b", "c"}


def test_rooms_import_only_what_stands_before_them(arrows: dict[tuple[str, str], list[str]]) -> None:
    wrong = [each for (here, there), held in arrows.items() if ROOMS.index(there) > ROOMS.index(here) for each in held]
    assert wrong == []


def test_no_arrow_creeps_in(arrows: dict[tuple[str, str], list[str]]) -> None:
    assert len(arrows) <= ARROWS, sorted(arrows)
    assert len(arrows) == ARROWS, f"there are fewer arrows than ARROWS: lower it to {len(arrows)}"


def test_one_row_enters_few_files() -> None:
    entered: set[str] = set()

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            entered.add(str(frame.f_globals.get("__name__")))

    assert verify("numpy", case=ROW, serial=True, cache=False).passed  # what is imported by now is not counted
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        assert verify("numpy", case=ROW, serial=True, cache=False).passed
    finally:
        sys.setprofile(before)
    files = sorted(name for name in entered if name.partition(".")[0] == "kernelproof")
    assert files
    assert len(files) <= ENTERED, files
