"""The wheel holds all of the package, and the package asks for all that it imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kernelproof

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("reference", "theory", "verify", "reports")
CONFIG: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUPTOOLS: dict[str, Any] = CONFIG["tool"]["setuptools"]
PROJECT: dict[str, Any] = CONFIG["project"]

# Where the name that is imported is not the name that is installed.
DISTRIBUTIONS = {"flint": "python-flint", "sklearn": "scikit-learn"}
# Not asked for by name, because something asked for brings it on every platform where it is used.
BROUGHT = {
    "click": "typer",
    "llvmlite": "numba",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
    "triton": "torch",
}


def source_folders() -> list[tuple[str, Path]]:
    """(package, folder) of every folder of the package that holds Python files; kept results are no source."""
    top = ROOT / "src" / "kernelproof"
    own = [
        folder for folder in sorted(top.iterdir()) if folder.name not in FLOORS and (folder / "__init__.py").exists()
    ]
    folders = [("kernelproof", top), *((f"kernelproof.{folder.name}", folder) for folder in own)]
    for floor in FLOORS:
        for folder in sorted({path.parent for path in (ROOT / floor).rglob("*.py")}):
            inner = folder.relative_to(ROOT).parts
            if "gallery" not in inner and "__pycache__" not in inner:
                folders.append((".".join(("kernelproof", *inner)), folder))
    return folders


def source_files() -> list[Path]:
    return [path for _, folder in source_folders() for path in sorted(folder.glob("*.py"))]


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def requirements(*extras: str) -> list[Requirement]:
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def test_every_folder_of_source_is_a_package() -> None:
    assert [str(folder) for _, folder in source_folders() if not (folder / "__init__.py").is_file()] == []


def test_package_list_is_the_folders() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(package for package, _ in source_folders())


def test_every_data_file_is_in_the_wheel() -> None:
    patterns = [
        f"{package.removeprefix('kernelproof').removeprefix('.').replace('.', '/')}/{pattern}".removeprefix("/")
        for package, found in SETUPTOOLS["package-data"].items()
        for pattern in found
    ]
    files = [
        path.relative_to(ROOT).as_posix()
        for floor in FLOORS
        for path in sorted((ROOT / floor).rglob("*"))
        if path.is_file() and path.suffix != ".py" and not {"gallery", "__pycache__"} & set(path.parts)
    ]
    assert [file for file in files if not any(fnmatch(file, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(fnmatch(file, pattern) for file in [*files, "py.typed"])] == []
    assert (ROOT / "src" / "kernelproof" / "py.typed").is_file()


def test_version_is_one() -> None:
    assert kernelproof.__version__ == PROJECT["version"]
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {PROJECT['version']}\n" in citation


def test_license_files_are_here() -> None:
    assert [name for name in PROJECT["license-files"] if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("requirement", requirements("torch", "dev"), ids=lambda requirement: requirement.name)
def test_constraints_pin_what_is_asked_for(requirement: Requirement) -> None:
    version = pinned()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version)


def test_torch_is_the_version_that_was_tested() -> None:
    assert pinned()["torch"] == "2.13.0"


def test_every_import_is_asked_for() -> None:
    # What users can install: the wheel is tested beside the tools of developers.
    asked = {canonicalize_name(one.name) for one in requirements(*PROJECT["optional-dependencies"].keys() - {"dev"})}
    missing = set()
    for file in source_files():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for top in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"kernelproof"}:
                if top not in BROUGHT and canonicalize_name(DISTRIBUTIONS.get(top, top)) not in asked:
                    missing.add(f"{file.relative_to(ROOT)}: {top}")
    assert missing == set()


def test_python_version_is_said_once() -> None:
    minimum = PROJECT["requires-python"].removeprefix(">=")
    assert CONFIG["tool"]["ruff"]["target-version"] == f"py{minimum.replace('.', '')}"
    assert CONFIG["tool"]["pyright"]["pythonVersion"] == minimum
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"version_info < \({minimum.replace('.', ', ')}\)", makefile)


LOCKS = ("requirements.lock", "requirements-cpu.lock", "requirements-cuda.lock")


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Package -> (version, hashes), of a lock."""
    text = (ROOT / name).read_text("utf-8")
    found: dict[str, tuple[str, list[str]]] = {}
    for entry in re.split(r"\n(?=[^\s#])", text)[1:]:
        head, *lines = (line.strip().removesuffix("\\").strip() for line in entry.splitlines())
        package, _, version = head.partition("==")
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in lines), entry
        found[canonicalize_name(package)] = version, lines
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_a_version_and_hashes(name: str) -> None:
    assert locked(name)
    assert all(version and hashes for version, hashes in locked(name).values())
    # Neither the index that it was made from, nor a folder.
    assert not re.search(r"https?:|://|index-url|find-links", (ROOT / name).read_text("utf-8"))


def test_the_locks_are_made_from_the_constraints() -> None:
    pins = pinned()
    main = {package: version for package, (version, _) in locked("requirements.lock").items()}
    assert main == {package: pins[package] for package in main}
    asked = {canonicalize_name(one.name) for one in requirements("torch", "dev") if one.name != "torch"}
    assert asked <= set(main)
    assert "setuptools" in main  # builds the project, with --no-build-isolation
    assert locked("requirements-cpu.lock")["torch"][0] == f"{pins['torch']}+cpu"
    assert locked("requirements-cuda.lock")["torch"][0] == pins["torch"]
    assert not set(main) & (set(locked("requirements-cuda.lock")) | {"torch"})


def test_ci_installs_from_the_locks() -> None:
    install = (ROOT / ".ci" / "install").read_text("utf-8")
    assert "make install" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert install.count("--no-deps --require-hashes -r") == 2
    assert "--no-deps --no-build-isolation -e ." in install
