"""Process-global state: random generators, floating-point modes, the working directory and more; read and restore it.

A call of a target must leave all of it as it was. Each `Part` can read one thing and write it back; parts of a package
exist only once the package is loaded. The thread that makes the calls reads the state, because some modes, such as
flush to zero, belong to a thread.
"""

from __future__ import annotations

import ctypes
import gc
import locale
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelproof.verify.process.variables import Variables

_DEFAULT_MODE = ctypes.c_void_p(-1)
"""FE_DFL_ENV of the C library: round to nearest, keep subnormals."""


@dataclass(frozen=True)
class Part:
    """One piece of process-global state.

    Attributes:
        name: what messages call it.
        read: returns its value, which compares by ==.
        write: restores a value.
        lazy: whether an import may change it rightfully; then it is not compared over a call that imports.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    lazy: bool = False


@contextmanager
def recursion_kept() -> Iterator[None]:
    """Undo a lower recursion limit that what is inside, a call of a target, sets: our own code may need more."""
    before = sys.getrecursionlimit()
    try:
        yield
    finally:
        if sys.getrecursionlimit() < before:
            sys.setrecursionlimit(before)


def _numpy_random() -> Any:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global state is what a target may change)
    return kind, np.asarray(keys).tobytes(), *rest


def _set_numpy_random(value: Any) -> None:
    kind, keys, *rest = value
    np.random.set_state((kind, np.frombuffer(keys, dtype=np.uint32), *rest))  # noqa: NPY002 (as above)


def _directory() -> str | None:
    try:
        return str(os.getcwd())  # noqa: PTH109 (Path.cwd is the same, slower)
    except FileNotFoundError:
        return None


def _set_directory(value: str | None) -> None:
    if value is not None:
        os.chdir(value)


_SIGNALS = tuple(sorted(int(number) for number in signal.valid_signals() if number < 32))


def _handlers() -> tuple[Any, ...]:
    return tuple(map(signal.getsignal, _SIGNALS))


def _set_handlers(value: tuple[Any, ...]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in zip(_SIGNALS, value, strict=True):
        # None: a handler that Python did not install, and can't.
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def flushes() -> tuple[bool, bool]:
    """Whether float64 and float32 arithmetic of this thread loses subnormal numbers, as results or as operands."""
    found = []
    for dtype, emin in (("float64", -1022), ("float32", -126)):
        tiny, half, much = (np.array([value]).astype(dtype) for value in (2.0**emin, 0.5, 2.0**20))
        # The bits of a subnormal number, so that no conversion can lose it.
        below = np.array([1], dtype=f"u{tiny.itemsize}").view(dtype)
        with np.errstate(under="ignore"):
            found.append(bool((tiny * half)[0] == 0 or (below * much)[0] == 0))
    return found[0], found[1]


def rounds_to_nearest() -> bool:
    """Whether float64 additions of this thread round to nearest."""
    one, half = np.full(2, (1.0, -1.0)), np.full(2, (2.0**-53, -(2.0**-53)))
    return bool(((one + half) == one).all() and ((one - half / 4) == one).all())


def _set_arithmetic(value: tuple[tuple[bool, bool], bool]) -> None:
    torch = sys.modules.get("torch")
    flush, nearest = value
    if nearest and not any(flush):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).fesetenv(_DEFAULT_MODE)
    if torch is not None and flushes() != flush:
        torch.set_flush_denormal(any(flush))


@dataclass(frozen=True, eq=False)
class _Names:
    """The contents of a module; equal if nothing was replaced, whatever was added."""

    held: dict[str, Any]

    def __eq__(self, other: object) -> bool:
        # Packages load parts of themselves on use.
        if not isinstance(other, _Names):
            return NotImplemented
        return all(other.held.get(name, value) is value for name, value in self.held.items())

    def __hash__(self) -> int:
        return len(self.held)


def _functions() -> _Names:
    return _Names(dict(vars(np)))


def _set_functions(value: _Names) -> None:
    vars(np).update(value.held)


LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "numpy": ("numpy", "numpy.linalg", "numpy.random"),
    "torch": ("torch", "torch.linalg", "torch.nn.functional", "torch.Tensor"),
    "jax": ("jax", "jax.numpy", "jax.nn", "jax.lax"),
}
"""Library -> its modules and classes whose functions a target may use."""


def functions_of_libraries() -> dict[str, Any]:
    """The functions of the `LIBRARIES` that are loaded, by their full names."""
    found: dict[str, Any] = {}
    for library, homes in LIBRARIES.items():
        if library not in sys.modules:
            continue
        for home in homes:
            held = sys.modules.get(home, getattr(sys.modules[library], home.rpartition(".")[2], None))
            found |= {f"{home}.{name}": value for name, value in vars(held).items() if callable(value)} if held else {}
    return found


def replaced_since(before: Mapping[str, Any]) -> tuple[str, ...]:
    """The functions of `before`, a result of `functions_of_libraries`, in whose place something else is now.

    A library may replace its own functions, such as when a part of it is loaded.
    """
    now = functions_of_libraries()
    changed = [name for name, value in before.items() if now.get(name, value) is not value]
    return tuple(name for name in changed if not _is_of(now[name], name.partition(".")[0]))


def _is_of(value: Any, library: str) -> bool:
    home = getattr(value, "__module__", None) or getattr(type(value), "__module__", None)
    return isinstance(home, str) and home.partition(".")[0] in {library, "jaxlib" if library == "jax" else library}


def _streams() -> tuple[Any, ...]:
    return sys.stdout, sys.stderr, sys.stdin


def _set_streams(value: tuple[Any, ...]) -> None:
    sys.stdout, sys.stderr, sys.stdin = value


_PARTS = (
    Part("the random state of Python", random.getstate, random.setstate),
    Part("the random state of NumPy", _numpy_random, _set_numpy_random),
    Part("how NumPy handles errors", np.geterr, lambda value: np.seterr(**value)),
    Part("how NumPy prints", np.get_printoptions, lambda value: np.set_printoptions(**value)),
    Part("the functions of NumPy", _functions, _set_functions),
    Part("the mode of arithmetic (flush to zero, rounding)", lambda: (flushes(), rounds_to_nearest()), _set_arithmetic),
    Part("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda it: locale.setlocale(locale.LC_ALL, it)),
    Part("the working directory", _directory, _set_directory),
    Part("environment variables", Variables, Variables.restore),
    Part("signal handlers", _handlers, _set_handlers, lazy=True),
    Part("the standard streams", _streams, _set_streams),
    Part("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit, lazy=True),
    Part("whether garbage is collected", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
)


def _torch_parts(torch: Any) -> tuple[Part, ...]:
    matmul = torch.backends.cuda.matmul
    return (
        Part(
            "the random state of torch",
            lambda: torch.get_rng_state().numpy().tobytes(),
            lambda held: torch.set_rng_state(torch.frombuffer(bytearray(held), dtype=torch.uint8)),
        ),
        Part("the default dtype of torch", torch.get_default_dtype, torch.set_default_dtype),
        Part("the default device of torch", torch.get_default_device, torch.set_default_device),
        Part("whether torch records gradients", torch.is_grad_enabled, torch.set_grad_enabled),
        Part("the thread count of torch", torch.get_num_threads, torch.set_num_threads, lazy=True),
        Part(
            "the precision of matrix products in torch",
            lambda: (torch.get_float32_matmul_precision(), matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
            lambda held: _set_matmul(torch, held),
        ),
        Part(
            "whether torch is deterministic",
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
    )


def _set_matmul(torch: Any, held: tuple[str, bool, bool]) -> None:
    torch.set_float32_matmul_precision(held[0])
    torch.backends.cuda.matmul.allow_tf32 = held[1]
    torch.backends.cudnn.allow_tf32 = held[2]


def _numba_parts(parallel: Any) -> tuple[Part, ...]:
    # Reading the count would launch the threads.
    if not getattr(parallel, "_is_initialized", False):
        return ()
    return (Part("the thread count of numba", parallel.get_num_threads, parallel.set_num_threads, lazy=True),)


def _context(module: Any, name: str) -> Part:
    where = {"mpmath": "mp", "flint": "ctx"}[name]
    held = getattr(module, where)
    return Part(f"the precision of {name}", lambda: held.prec, lambda bits: setattr(held, "prec", bits))


def parts() -> tuple[Part, ...]:
    """All parts that exist in this process now."""
    found = list(_PARTS)
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "set_flush_denormal"):
        found += _torch_parts(torch)
    if (parallel := sys.modules.get("numba.np.ufunc.parallel")) is not None:
        found += _numba_parts(parallel)
    found += [_context(sys.modules[name], name) for name in ("mpmath", "flint") if name in sys.modules]
    return tuple(found)


@dataclass(frozen=True)
class State:
    """The values of all parts at one point in time."""

    values: Mapping[str, tuple[Part, Any]]
    modules: int

    @classmethod
    def now(cls) -> State:
        """Read the state of this process and thread."""
        return cls({part.name: (part, part.read()) for part in parts()}, len(sys.modules))

    def changed_by(self, later: State) -> tuple[str, ...]:
        """Return the names of the parts whose value differs in `later`; parts missing from either are left out."""
        imported = later.modules != self.modules
        return tuple(
            name
            for name, (part, value) in self.values.items()
            if name in later.values and not (part.lazy and imported) and value != later.values[name][1]
        )

    def restore(self, names: tuple[str, ...]) -> None:
        """Restore the parts called `names` to their values in this state."""
        for name in names:
            part, value = self.values[name]
            part.write(value)
