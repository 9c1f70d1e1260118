"""How soon the command answers. Run with ``make benchmarks``."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest


def test_help(benchmark: Any) -> None:
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled here; run make benchmarks")

    def ask() -> None:
        subprocess.run([sys.executable, "-m", "kernelproof.cli", "--help"], capture_output=True, check=True)

    benchmark.pedantic(ask, rounds=5, warmup_rounds=1)
    # The limit of the specification; the best of five, for other work may be going on.
    assert benchmark.stats.stats.min < 0.4
