"""What costs time to import is imported where it is used: the command's help and the bare package stay quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("dask", "flint", "gmpy2", "jax", "jinja2", "matplotlib", "mpmath", "numba", "numpy", "scipy", "sympy", "torch")


def loaded_after(program: str) -> list[str]:
    """Which of `HEAVY` a new Python has loaded after `program`."""
    report = f"import sys\nprint('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])\n"
    run = subprocess.run([sys.executable, "-c", program + report], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1].split()[1:]


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import kernelproof\n") == []


def test_listing_the_public_names_loads_nothing_heavy() -> None:
    assert loaded_after("import kernelproof\ndir(kernelproof)\nkernelproof.__version__\n") == []


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['kernelproof', *{arguments!r}]\n"
        "from kernelproof.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
    )
    assert loaded_after(program) == []


def test_a_worker_loads_what_every_case_needs_and_no_more() -> None:
    program = (
        "from kernelproof.verify.checks import checks\n"
        "from kernelproof.verify.truth.lookup import load_oracle\n"
        "from kernelproof.verify.workers import worker\n"
        "checks()\nload_oracle()\n"
    )
    assert set(loaded_after(program)) <= {"flint", "gmpy2", "mpmath", "numpy"}
