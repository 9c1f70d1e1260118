"""The witnesses in docs/findings.md print what stands below them."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "findings.md").read_text(encoding="utf-8")
WITNESSES = re.findall(
    r"^## (.+?)$.*?```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", TEXT, flags=re.DOTALL | re.MULTILINE
)
COMMANDS = re.findall(r"^kernelproof verify (\S+) --case '(.+?)'$", TEXT, flags=re.MULTILINE)


def test_every_finding_has_a_witness() -> None:
    assert len(WITNESSES) == TEXT.count("\n## ") - 1  # but for what passed


@pytest.mark.parametrize(("source", "printed"), [each[1:] for each in WITNESSES], ids=[each[0] for each in WITNESSES])
def test_a_witness_prints_what_stands_below_it(source: str, printed: str) -> None:
    if "needs a CUDA device" in source:
        pytest.skip("needs a CUDA device and adasplash; its numbers are kept in reports/gallery")
    needed = set(re.findall(r"^(?:import|from) (\w+)", source, flags=re.MULTILINE))
    missing = sorted(name for name in needed if find_spec(name) is None)
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed; pip install {' '.join(missing)}")
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", source], capture_output=True, text=True, check=False)
    assert found.stderr == ""
    assert found.stdout == printed


@pytest.mark.parametrize(("target", "case"), COMMANDS)
def test_a_command_finds_something(target: str, case: str) -> None:
    for package in {"torch", target.partition(".")[0]} - {"mosaics"}:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; pip install {package}")
    from kernelproof import api

    found = api.verify(target, case=case, serial=True)
    assert not found.passed
    assert any(check.verdict == "FAIL" for check in found.targets[0].checks)
