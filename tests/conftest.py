"""What every test gets: Hypothesis profiles, a watch on working precision, and visible skips."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flint
import mpmath
import pytest
from hypothesis import settings
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# dev explores; ci must give the same answer twice; nightly has time. No deadline: a first call may compile.
settings.register_profile("dev", max_examples=30, deadline=None, print_blob=True)
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=2000, deadline=None, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
settings.load_profile(PROFILE)


def working_precisions() -> dict[str, int]:
    """The bits that the arithmetics of this process work with now."""
    return {"mpmath.mp": mpmath.mp.prec, "mpmath.iv": mpmath.iv.prec, "flint.ctx": flint.ctx.prec}


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of one run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(autouse=True, scope="session")
def own_cache(common_folder: Path) -> Iterator[None]:
    """A cache of truth of the tests' own: nothing is read from that of the user, and nothing written to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERNELPROOF_CACHE", str(common_folder / "cache-of-truth"))
        yield


@pytest.fixture(autouse=True, scope="session")
def compiled_once(common_folder: Path) -> Iterator[None]:
    """Have one worker compile a function while the others wait: they read it from Numba's cache."""
    if fcntl is None:
        yield
        return
    compile_one, folder = Dispatcher.compile, common_folder / "compiling"
    folder.mkdir(exist_ok=True)

    def compile_or_wait(self: Any, signature: Any) -> Any:
        name = hashlib.sha256(f"{self.py_func.__module__}.{self.py_func.__qualname__}".encode()).hexdigest()
        # Numba's own lock first: a thread that holds it may need this function, inside another.
        with global_compiler_lock, (folder / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return compile_one(self, signature)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatcher, "compile", compile_or_wait)
        yield


@pytest.fixture(autouse=True)
def witnesses_as_found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scripts of failures show the cases that failed, not shrunk: that takes a hundred calls for each check.

    A test of scripts or of shrinking has the mark ``shrinks``, and shrinks as a user's run does.
    """
    if request.node.get_closest_marker("shrinks") is None:
        monkeypatch.setattr("kernelproof.verify.fuzz.scripts.SUBJECTS", 0)


@pytest.fixture(autouse=True)
def few_calls_after_a_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run that a test makes in this process call its targets a few times at its end, not 4096 times each.

    A test of what targets do then has the mark ``repeats``.
    """
    if request.node.get_closest_marker("repeats") is None:
        monkeypatch.setattr("kernelproof.verify.workers.runner.CALLS", 64)


@pytest.fixture(autouse=True)
def modules_forgotten(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget the modules that a test wrote into its own folder: another test may write one of the same name."""
    folder = str(request.getfixturevalue("tmp_path")) if "tmp_path" in request.fixturenames else ""
    yield
    for name in [name for name, each in list(sys.modules.items()) if folder and within(each, folder)]:
        del sys.modules[name]


def within(module: object, folder: str) -> bool:
    """Whether a module was read from a file in `folder`; tests change the attribute ``__file__`` of others."""
    spec = getattr(module, "__dict__", {}).get("__spec__")
    return str(getattr(spec, "origin", None)).startswith(folder)


@pytest.fixture(autouse=True)
def precision_restored() -> Iterator[None]:
    """Fail a test that leaves a working precision changed, and put it right for the next."""
    before = working_precisions()
    yield
    after = working_precisions()
    mpmath.mp.prec, mpmath.iv.prec, flint.ctx.prec = before.values()
    changed = {name: f"{before[name]} -> {bits}" for name, bits in after.items() if bits != before[name]}
    if changed:
        pytest.fail(f"the working precision was left changed: {changed}; set it inside a `with`")


def why_not_torch() -> str | None:
    """None where PyTorch is here, or the reason to skip."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed; pip install 'kernelproof[torch]'"
    return None


def why_not_cuda() -> str | None:
    """None where PyTorch sees a CUDA device, or the reason to skip."""
    reason = why_not_torch()
    if reason is not None:
        return reason
    import torch

    if not torch.cuda.is_available():
        return f"no CUDA device here (PyTorch {torch.__version__}); run on a machine with an NVIDIA GPU"
    return None


def why_not_nightly() -> str | None:
    """None in the nightly profile, or the reason to skip."""
    if PROFILE != "nightly":
        return f"a long test; runs with HYPOTHESIS_PROFILE=nightly, not {PROFILE}"
    return None


def why_not_jax() -> str | None:
    """None where JAX is here, or the reason to skip."""
    return None if importlib.util.find_spec("jax") else "JAX is not installed; pip install 'kernelproof[jax]'"


def why_not_triton() -> str | None:
    """None where PyTorch and Triton are here, or the reason to skip."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; pip install 'kernelproof[triton]' (wheels for Linux)"
    return why_not_torch()


def why_not_cc() -> str | None:
    """None where there is a C compiler, or the reason to skip."""
    return None if shutil.which("cc") else "there is no C compiler called cc"


@pytest.hookimpl(optionalhook=True)  # pytest runs without xdist too
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:  # noqa: ARG001 (pytest matches hooks by name)
    """One worker more than there are cores, at most 8: many tests wait for a child process to run out of time."""
    return min((os.cpu_count() or 1) + 1, 8)


def group_of(item: pytest.Item) -> str:
    """The name of what `item` shares with other tests, or ""; tests of one group run on one worker."""
    path = item.path.as_posix()
    if "/backends/" in path and "numba" in item.nodeid:
        return "numba"
    if "/reference/bulk/" in path:
        return "bulk"
    fixtures = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
    # Not those of this file, which every test has; the widest, so that a module shares what its folder shares.
    shared = {one.baseid for defined in fixtures for one in defined if one.scope in {"module", "session"}}
    return min((place for place in shared if "/" in place), key=len, default="")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep on one worker the tests that share something costly: compiled functions, or a fixture of their module."""
    for item in items:
        group = "" if item.get_closest_marker("xdist_group") else group_of(item)
        if group:
            item.add_marker(pytest.mark.xdist_group(group))


NEEDS = {
    "torch": why_not_torch,
    "jax": why_not_jax,
    "triton": why_not_triton,
    "cc": why_not_cc,
    "cuda": why_not_cuda,
    "nightly": why_not_nightly,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with its reason, a test marked with what is not here: one of `NEEDS`."""
    for marker, why_not in NEEDS.items():
        if item.get_closest_marker(marker) is not None and (reason := why_not()) is not None:
            pytest.skip(reason)
