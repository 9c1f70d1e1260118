"""README and docs: their code runs, their links lead somewhere, and no field of a declaration is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from kernelproof.verify.targets.declaration import FIELDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)```", README, flags=re.DOTALL | re.MULTILINE)


# One block compiles what the tests of truth in bulk compile: on the same worker it is compiled once.
@pytest.mark.xdist_group("bulk")
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_code_of_the_readme_runs(number: int) -> None:
    # What `verify` does is tested elsewhere, and takes its time.
    source = re.sub(r"^kernelproof\.verify\(.*$", "", BLOCKS[number], flags=re.MULTILINE)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(source, f"README.md, block {number}", "exec"), names)  # noqa: S102 (it is our own page)
    assert len(names) > 2


def test_the_regression_of_the_readme_is_that_of_the_examples() -> None:
    def body(source: str) -> str:
        (found,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
        held = [
            node for node in found.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        ]
        return "\n".join(map(ast.unparse, [*found.decorator_list, *held]))

    (shown,) = (block for block in BLOCKS if "def nw(" in block)
    assert body(shown) == body((ROOT / "examples" / "nadaraya_watson.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_every_field_of_a_declaration_has_a_row_with_its_default() -> None:
    text = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`(?:,? (?:or )?`\w+`)*) \| ([^|]+) \|[^|]+\|$", text, flags=re.MULTILINE)
    told = {name for names, _ in rows for name in re.findall(r"\w+", names.replace(" or ", " "))}
    assert set(FIELDS) == told
