"""The backends: every public module of this folder is one, with an object BACKEND."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, Protocol, cast

from kernelproof.reference.errors import BackendUnavailable, TargetError


class Backend(Protocol):
    """A backend: four ops, their vector-Jacobian products, and the devices they run on."""

    @property
    def name(self) -> str:
        """The name of its module."""

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Names of the dtypes it accepts and returns."""

    def devices(self) -> tuple[str, ...]:
        """The devices on which it can run now: "cpu", "cuda"."""

    def available(self) -> str | None:
        """None, or why it cannot run and the command that installs what is missing."""

    def entmax(
        self, z: Any, *, order: Any = None, alpha: Any = None, dim: int | None = None, axis: int | None = None
    ) -> Any:
        """Weights in the shape of z."""

    def weights(self, scores: Any, kernel: Any, rule: Any, *, empty: str = "nan") -> Any:
        """Weights in the shape of scores."""

    def regression(self, q: Any, k: Any, v: Any, kernel: Any, rule: Any, *, empty: str = "nan") -> Any:
        """Outputs (..., T, e)."""

    def attention(self, q: Any, k: Any, v: Any, kernel: Any, rule: Any, **options: Any) -> Any:
        """Outputs (..., H, T, e)."""

    def vjp(self, op: str, cotangent: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Gradients by argument name."""


def backend_names() -> tuple[str, ...]:
    """Names of the known backends, sorted; imports none of them."""
    return tuple(sorted(each.name for each in pkgutil.iter_modules(__path__) if not each.name.startswith("_")))


def load(name: str) -> Backend:
    """The BACKEND of a module of this folder, whether or not it can run here.

    Raises:
        TargetError: an unknown name, a module without BACKEND, or a BACKEND whose name differs from its module's.
        BackendUnavailable: importing it needs a package that is not installed.
    """
    if name not in backend_names():
        msg = f"unknown backend {name!r}; known: {', '.join(backend_names())}"
        raise TargetError(msg)
    path = f"{__name__}.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        package = (error.name or name).partition(".")[0]
        if package == __name__.partition(".")[0]:
            raise
        msg = f"the {name} backend needs {package}; install it with: pip install {package}"
        raise BackendUnavailable(msg) from error
    found = getattr(module, "BACKEND", None)
    if found is None:
        msg = f"{path} has no BACKEND; each module of this folder must have one"
        raise TargetError(msg)
    if found.name != name:  # so no two modules can share a name
        msg = f"BACKEND of {path} is called {found.name!r}; it must have the name of its module"
        raise TargetError(msg)
    return cast("Backend", found)


def backend(name: str) -> Backend:
    """The backend called `name`, if it can run here.

    Raises:
        TargetError: as in `load`.
        BackendUnavailable: a package that it needs is not installed; the message says how to install it.

    >>> backend("numpy").entmax([3.0, 1.0], order=1)
    array([1., 0.])
    """
    found = load(name)
    reason = found.available()
    if reason is not None:
        raise BackendUnavailable(reason)
    return found
