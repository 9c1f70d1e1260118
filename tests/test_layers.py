"""The seams: every module of a seam folder brings its object, and backends share no arithmetic with the truth."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("reference", "theory", "verify", "reports")
SEAMS = {"backends": ("BACKEND", "name"), "cases.families": ("FAMILY", "id"), "checks": ("CHECK", "id")}
ALLOWED = frozenset(
    {f"kernelproof.reference.{name}" for name in ("model", "exact_numbers", "per_row", "errors", "compiled_cache")}
)


def modules_of(seam: str) -> list[str]:
    folder = ROOT.joinpath("verify", *seam.split("."))
    return [f"kernelproof.verify.{seam}.{found.name}" for found in iter_modules([str(folder)]) if found.name[0] != "_"]


@pytest.mark.parametrize(("seam", "module"), [(seam, module) for seam in SEAMS for module in modules_of(seam)])
def test_every_module_of_a_seam_brings_its_object(seam: str, module: str) -> None:
    name, identity = SEAMS[seam]
    brought = getattr(import_module(module), name, None)
    assert brought is not None, f"{module} has no {name}; a helper belongs in another folder"
    assert isinstance(getattr(brought, identity), str)


@pytest.mark.parametrize("seam", SEAMS)
def test_ids_are_unique(seam: str) -> None:
    name, identity = SEAMS[seam]
    ids = Counter(getattr(getattr(import_module(module), name), identity) for module in modules_of(seam))
    assert ids
    assert [one for one, count in ids.items() if count > 1] == []


def file_of(module: str) -> Path | None:
    """The file of a module of ours, or None if there is none of that name."""
    floor, *rest = module.split(".")[1:] or [""]
    base = (ROOT / floor).joinpath(*rest) if (ROOT / floor / "__init__.py").is_file() and floor else None
    base = base or (ROOT / "src" / "kernelproof").joinpath(floor, *rest)
    return next((file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()), None)


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node` but those under ``if TYPE_CHECKING``, which never run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from runtime_nodes(child)


def imports_of(file: Path) -> set[str]:
    """The modules of ours that `file` imports, as exactly as the file says."""
    found = set()
    for node in runtime_nodes(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if file_of(inner) is not None else node.module)
    return {name for name in found if name.partition(".")[0] == "kernelproof" and file_of(name) is not None}


def every_module() -> dict[str, Path]:
    """Every module of the package by its name, kept results apart."""
    found = {}
    for top in ("reference", "theory", "verify", "reports", "src/kernelproof"):
        for path in sorted((ROOT / top).rglob("*.py")):
            inner = path.relative_to(ROOT / top).with_suffix("").parts
            if "gallery" not in inner and (top != "src/kernelproof" or inner[0] not in FLOORS):
                parts = ["kernelproof", *([] if top == "src/kernelproof" else [top]), *inner]
                found[".".join(parts).removesuffix(".__init__")] = path
    return found


def reached_from(module: str) -> dict[str, str]:
    """Every module of ours that importing `module` may run, and which module imports it; `ALLOWED` are ends."""
    reached = {module: ""}
    waiting = [module]
    while waiting:
        here = waiting.pop()
        file = file_of(here)
        assert file is not None
        for name in imports_of(file) - reached.keys():
            reached[name] = here
            if name not in ALLOWED and not name.startswith("kernelproof.reference"):
                waiting.append(name)
    return reached


@pytest.mark.parametrize("module", modules_of("backends"))
def test_a_backend_reaches_only_names_and_errors_of_the_truth(module: str) -> None:
    wrong = {
        name: importer
        for name, importer in reached_from(module).items()
        if name.startswith("kernelproof.reference") and name not in ALLOWED
    }
    assert wrong == {}


def test_the_walk_sees_what_it_must() -> None:
    """A walk that finds nothing would pass everything."""
    assert "kernelproof.reference.model" in reached_from("kernelproof.reference.model")
    assert "kernelproof.reference.errors" in imports_of(ROOT / "reference" / "model.py")
    assert "kernelproof.reference.rows" in imports_of(ROOT / "reference" / "weighted_means.py")
