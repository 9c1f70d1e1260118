"""The environment of a run: versions, processor, GPU, modes of arithmetic, threads and commit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from kernelproof.verify.process.spawning import THREADS
from kernelproof.verify.process.state import flushes, rounds_to_nearest

PACKAGES = (
    "numpy",
    "numba",
    "torch",
    "triton",
    "jax",
    "scipy",
    "mpmath",
    "gmpy2",
    "python-flint",
    "ml-dtypes",
    "entmax",
    "adasplash",
)


def environment(*, with_torch: bool, seed: int = 0) -> dict[str, Any]:
    """The environment of this process, as plain data.

    Args:
        with_torch: import torch, and ask it for the GPU and its modes.
        seed: the seed of the run.
    """
    return {
        "kernelproof": _version("kernelproof"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "cpu": {"model": cpu_model(), "cores": os.cpu_count()},
        "gpu": None,
        **(_torch() if with_torch else {}),
        "threads": {name: os.environ.get(name) for name in THREADS},
        "flush to zero": any(flushes()),
        "seed": seed,
        "commit": commit(),
    }


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 (hosts need only `modes`)

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The name of the processor, as far as the platform knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def modes() -> dict[str, Any]:
    """The modes of arithmetic of this thread and process, as plain data; those of torch only if it is loaded.

    They are found by arithmetic, because no variable shows a mode that a library has set in the processor.
    """
    flushed = flushes()
    found: dict[str, Any] = {
        "flush to zero": {"float64": flushed[0], "float32": flushed[1]},
        "rounds to nearest": rounds_to_nearest(),
    }
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_float32_matmul_precision"):
        found["torch"] = _torch_modes(torch) | {"default dtype": str(torch.get_default_dtype())}
    jax = sys.modules.get("jax.numpy")
    if jax is not None:
        # The compiler of jax sets the mode in threads of its own.
        with suppress(Exception):
            least = jax.asarray(np.array([2.0**-126], dtype=np.float32))
            found["jax"] = {"flush to zero": {"float32": not np.asarray(least * jax.float32(0.5)).any()}}
    return found


def _torch_modes(torch: Any) -> dict[str, Any]:
    return {
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
        "tf32 in convolutions": bool(torch.backends.cudnn.allow_tf32),
        "matmul precision": torch.get_float32_matmul_precision(),
        "deterministic": bool(torch.are_deterministic_algorithms_enabled()),
        "threads": torch.get_num_threads(),
    }


def commit() -> str | None:
    """The commit of the source that this package runs from, followed by "with changes" if files differ from it.

    None where the package was installed without a repository.
    """
    root = Path(__file__).resolve().parents[2]
    head = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    return f"{head} with changes" if head and _git(root, "status", "--porcelain") != "" else head


def _git(root: Path, *words: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    found = subprocess.run(  # noqa: S603 (git itself, with fixed arguments)
        [git, "-C", str(root), *words], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() if found.returncode == 0 else None


def _torch() -> dict[str, Any]:
    try:
        torch = import_module("torch")
    except ImportError:
        return {}
    found: dict[str, Any] = {"torch": _torch_modes(torch) | {"cuda": torch.version.cuda}}
    if torch.cuda.is_available():
        found["gpu"] = {"model": torch.cuda.get_device_name(0), "count": torch.cuda.device_count(), "driver": _driver()}
    return found


def _driver() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    found = subprocess.run(  # noqa: S603 (nvidia-smi itself, with fixed arguments)
        [program, "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip().partition("\n")[0] or None


def numba_is_cold() -> bool:
    """Whether the numba backend has no compiled functions in its cache yet, so that the first run compiles them."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[1] / "backends" / "numba"
    return next(folder.rglob("*.nbi"), None) is None if folder.is_dir() else True
