"""Every script of a report runs as pasted: it fails on the fault, and not on the target mended."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kernelproof
from kernelproof.api import verify
from kernelproof.verify.judging.claims import Claim, least_float, rounded
from kernelproof.verify.record.schema import Results, Verdict
from kernelproof.verify.witness.literals import numbers
from kernelproof.verify.witness.script import variable

pytestmark = pytest.mark.shrinks

FAULTY = Path(__file__).parents[1] / "fuzz" / "faulty.py"
MENDED = "\n\ndef {name}(z, order):\n    return RIGHT(z, order=order)\n"


def pasted(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-"], input=script, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def failed(results: Results) -> dict[str, str]:
    """check -> script of every check that failed."""
    checks = [check for target in results.targets for check in target.checks]
    bad = [check for check in checks if check.verdict in {Verdict.FAIL, Verdict.CRASH}]
    assert bad
    assert all(check.script for check in bad), [check.id for check in bad if not check.script]
    return {check.id: check.script or "" for check in bad}


@pytest.mark.parametrize(
    ("name", "must"),
    [
        pytest.param("ties", "accuracy", marks=pytest.mark.nightly),
        ("support3", "simplex"),
        pytest.param("order_two", "accuracy", marks=pytest.mark.nightly),
        ("nan_to_zero", "special_values"),
        pytest.param("raises_on_ties", "accuracy", marks=pytest.mark.nightly),
        ("changes", "determinism"),
        ("writes", "input_untouched"),
        ("widens", "dtype_kept"),
    ],
)
def test_scripts_of_a_report_fail_on_the_fault_and_not_on_the_mended_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, must: str
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(FAULTY.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = verify(f"mine.py:{name}", suite="quick", order="1,2", dtype="float32", out=tmp_path / "report", serial=True)
    scripts = failed(found)
    assert must in scripts
    for script in scripts.values():
        run = pasted(script, tmp_path)
        assert run.returncode == 1, (script, run.stdout, run.stderr)
        assert "Traceback" not in run.stderr or name == "raises_on_ties", run.stderr
    mine.write_text(FAULTY.read_text(encoding="utf-8") + MENDED.format(name=name), encoding="utf-8")
    for script in scripts.values():
        run = pasted(script, tmp_path)
        assert run.returncode == 0, (script, run.stdout, run.stderr)


def test_every_report_of_a_run_shows_the_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FAULTY.parent)
    out = tmp_path / "report"
    found = verify("faulty.py:ties", suite="quick", order="2", dtype="float64", out=out, serial=True)
    kept = json.loads((out / "results.json").read_text(encoding="utf-8"))
    in_markdown = re.findall(r"```python\n(.*?)\n```", (out / "report.md").read_text(encoding="utf-8"), re.DOTALL)
    page = (out / "index.html").read_text(encoding="utf-8")
    scripts = failed(found)
    assert {each["script"] for each in kept["targets"][0]["checks"] if each["script"]} == set(scripts.values())
    assert {text.strip() for text in in_markdown} == {script.strip() for script in scripts.values()}
    assert page.count("from faulty import ties as target") == len(scripts)


def test_a_script_needs_the_target_and_numpy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FAULTY.parent)
    found = verify("faulty.py:ties", suite="quick", order="2", dtype="float64", serial=True)
    for script in failed(found).values():
        assert "kernelproof" not in script
        assert "import numpy as np" in script


def test_ops_with_kernels_and_rules_and_gradients_have_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FAULTY.parent)
    found = verify("faulty.py:ops", suite="quick", op="entmax,weights", order="2", serial=True)
    scripts = failed(found)
    assert "gradients" in scripts
    assert "target.vjp(" in scripts["gradients"]
    assert "target.weights(" in scripts["accuracy"]
    for script in scripts.values():
        assert pasted(script, FAULTY.parent).returncode == 1, script


@pytest.mark.nightly
def test_what_ends_the_process_ends_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FAULTY.parent)
    found = kernelproof.fuzz("faulty.py:dies", examples=80, seed=1, order="1,2", dtype="float32", op="entmax")
    finding = next(each for each in found.findings if each.check == "crash")
    run = pasted(finding.script, FAULTY.parent)
    assert run.returncode == 1
    assert "exit code 0" in run.stdout
    healthy = finding.script.replace("dies", "right")
    assert pasted(healthy, FAULTY.parent).returncode == 0


@pytest.mark.nightly
@pytest.mark.torch
def test_tensors_and_their_gradients_have_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'kernelproof[torch]'")
    (tmp_path / "soft.py").write_text(
        "import torch\n"
        "class Soft(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(context, z):\n"
        "        p = torch.softmax(z.double(), -1)\n"
        "        context.save_for_backward(p)\n"
        "        return p.to(z.dtype)\n"
        "    @staticmethod\n"
        "    def backward(context, g):\n"
        "        (p,) = context.saved_tensors\n"
        "        return (p * (g - (p * g).sum(-1, keepdim=True)) * 1.5).to(g.dtype)\n"
        "def soft(z):\n"
        "    return Soft.apply(z)\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    found = verify("soft.py:soft", suite="quick", order="inf", dtype="bfloat16,float32")
    scripts = failed(found)
    assert "gradients" in scripts
    run = pasted(scripts["gradients"], tmp_path)
    assert run.returncode == 1, run.stderr
    assert "WRONG" in run.stdout
    assert "kernelproof" not in scripts["gradients"]


def test_literals_read_back_to_the_same_bits() -> None:
    values = np.array([[0.1, -0.0, np.inf, -np.inf, np.nan, 1e-45]], dtype=np.float32)
    back = np.array(eval(numbers(values), {"inf": np.inf, "nan": np.nan}), dtype=np.float32)  # noqa: S307 (ours)
    assert back.tobytes() == values.tobytes()


def test_bounds_are_rounded_inwards_and_values_once() -> None:
    from fractions import Fraction

    from kernelproof.reference.formats import FORMATS

    third = Fraction(1, 3)
    assert Fraction(least_float(third)) >= third > Fraction(np.nextafter(least_float(third), 0))
    # Just above the midpoint of two float32 neighbours: by way of float64 it would be a tie, and go down.
    assert rounded(1 + 2.0**-24, 2.0**-70, FORMATS["float32"]) == 1 + 2.0**-23
    assert Claim("x", np.nan, np.nan, np.nan, np.nan).met
    assert not Claim("x", 1.0, 0.0, 2.0, np.nan).met
    assert variable("forward") == "got"


@pytest.mark.parametrize("child", ["pass", "raise RuntimeError('in the child')"])
def test_a_child_that_comes_back_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forks.py").write_text(
        "import os\n"
        "import numpy as np\n"
        "def twice(z):\n"
        "    if os.fork() == 0:\n"
        f"        {child}\n"
        "    e = np.exp(z - z.max(-1, keepdims=True))\n"
        "    return e / e.sum(-1, keepdims=True)\n"
    )
    case = "entmax order=inf rule=adaptive:1 dtype=float64 family=random shape=3x8 feature=1 seed=0"
    scripts = failed(verify("forks.py:twice", case=case))
    assert scripts
    script = scripts["accuracy"]
    assert pasted(script, tmp_path).returncode == 1
    source = (tmp_path / "forks.py").read_text()
    (tmp_path / "forks.py").write_text(source.replace("os.fork()", "1"))
    assert pasted(script, tmp_path).returncode == 0
