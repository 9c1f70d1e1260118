"""The script of a curve that falls: the difference of two weights, which each alone may be right near a kink."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from kernelproof.api import verify

SOURCE = """
import kernelproof

BACKEND = kernelproof.backend("numpy")

def f(z, order):
    w = BACKEND.entmax(z, order=order)
    lead = z[..., 0] - z[..., 1]
    # Below order 1 the weight rises steeply from 0 to 1; here it does so too early, and comes back.
    w[(lead > 0.03) & (lead < 0.04)] = [1.0, 0.0]
    return w
"""
LINE = "entmax order=1/16 rule=adaptive:1 dtype=float32 family=two_keys shape=65x2 feature=wide seed=0"


def test_a_fall_is_shown_by_two_rows(tmp_path: Path) -> None:
    (tmp_path / "curved.py").write_text(SOURCE, encoding="utf-8")
    found = verify(f"{tmp_path / 'curved.py'}:f", case=LINE, serial=True).targets[0]
    curve = next(check for check in found.checks if check.id == "curve")
    assert curve.failed
    assert curve.script is not None
    assert "kernelproof" not in curve.script
    path = tmp_path / "script.py"
    path.write_text(curve.script, encoding="utf-8")
    run = [sys.executable, str(path)]
    first = subprocess.run(run, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert first.returncode == 1
    assert "0] - got[" in first.stdout
    mended = "\n".join(line for line in SOURCE.split("\n") if "0.04" not in line)
    (tmp_path / "curved.py").write_text(mended, encoding="utf-8")
    again = subprocess.run(run, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
