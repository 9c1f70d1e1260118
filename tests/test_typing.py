"""What a type checker says of a user's script: the package is ``py.typed``, so that its words are checked there too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"

SCRIPT = """
import kernelproof
import kernelproof.verify.cases.case
import kernelproof.verify.records
from kernelproof import variant
from kernelproof.reference import entmax
from kernelproof.verify.records import Contract

results = kernelproof.verify("numpy", order=1, dtype="float32", array_library="numpy", timeout=5.0)
passed: bool = results.passed
worst: float = kernelproof.worst_case("numpy", blocks=1, op="entmax").seconds
found: int = len(kernelproof.fuzz("numpy", examples=1, contract={"grade": "B"}).findings)
contract: Contract = kernelproof.verify.records.Contract(grade="A")
case = kernelproof.verify.cases.case.Case.parse("...")
"""

WRONG = {
    'kernelproof.worst("numpy")': 'has no attribute "worst"',
    'kernelproof.verify("numpy", orders=1)': 'Unexpected keyword argument "orders"',
    'kernelproof.verify("numpy", suite=1)': 'Argument "suite" has incompatible type "int"',
    'kernelproof.fuzz("numpy", array="numpy")': 'Unexpected keyword argument "array"',
    'kernelproof.worst_case("numpy", dtype=32)': 'Argument "dtype" to "worst_case" has incompatible type "int"',
    'text: str = kernelproof.verify("numpy")': 'expression has type "Results"',
}


def test_a_script_of_a_user_is_checked_with_the_true_signatures(tmp_path: Path) -> None:
    lines = SCRIPT.strip().splitlines()
    (tmp_path / "script.py").write_text("\n".join([*lines, *WRONG]) + "\n", encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "script.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in found.stdout.splitlines() if line.startswith("script.py:") and "error:" in line]
    told = {line: int(line.split(":")[1]) for line in said}
    assert [line for line, number in told.items() if number <= len(lines)] == [], found.stderr
    for number, words in enumerate(WRONG.values(), len(lines) + 1):
        assert any(words in line for line, at in told.items() if at == number), (words, said)
