"""Discovery of claims: every module of `kernelproof.theory.claims`, every entry point, and any named file.

A module without its object, and two claims with the same id, are errors: a claim that went missing silently would look
like one that passed.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from kernelproof.reference.errors import ClaimError, DomainError, meant
from kernelproof.theory.claim import Claim, FalseVariant

GROUP = "kernelproof.claims"
PACKAGE = "kernelproof.theory.claims"


def built_in() -> list[str]:
    """The ids of the claims that ship with the package, sorted, without importing them."""
    return sorted(
        info.name for info in pkgutil.iter_modules(import_module(PACKAGE).__path__) if not info.name.startswith("_")
    )


def registered() -> list[str]:
    """The names of the entry points of other packages, sorted."""
    return sorted(point.name for point in entry_points(group=GROUP))


def names() -> list[str]:
    """Every name that `claim` accepts.

    Raises:
        ClaimError: an entry point has the name of a built-in claim, or two share a name.
    """
    found = [*built_in(), *registered()]
    for name in found:
        if found.count(name) > 1:
            msg = f"two claims have the id {name!r}; an entry point in {GROUP!r} needs a name of its own"
            raise ClaimError(msg)
    return found


def claim(name: str) -> Claim:
    """The claim called `name`: an id, or a Python file with an object ``CLAIM``.

    Raises:
        DomainError: there is no such claim, or no such file.
        ClaimError: the module or the entry point does not import, or has no claim with that id.
    """
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name in built_in():
        return _checked(getattr(import_module(f"{PACKAGE}.{name}"), "CLAIM", None), name, name)
    for point in entry_points(group=GROUP):
        if point.name == name:
            try:
                loaded = point.load()
            except (Exception, SystemExit) as error:
                msg = f"the entry point {name!r} in {GROUP!r} does not load: {type(error).__name__}: {error}"
                raise ClaimError(msg) from error
            return _checked(loaded, f"the entry point {name!r}", name)
    known = names()
    msg = f"there is no claim {name!r}{meant(name, known)}; known: {', '.join(known)}; or name a file with a CLAIM"
    raise DomainError(msg)


def variants(name: str) -> tuple[FalseVariant, ...]:
    """The false variants of a built-in claim."""
    return tuple(import_module(f"{PACKAGE}.{name}").FALSE)


def _checked(found: object, where: str, name: str | None) -> Claim:
    if not isinstance(found, Claim):
        msg = f"{where} must hold a Claim; got {found!r}"
        raise ClaimError(msg)
    if name is not None and found.id != name:
        msg = f"{where} must hold the claim {name!r}; its id is {found.id!r}"
        raise ClaimError(msg)
    repeated = _repeated(check.id for check in found.checks)
    if repeated or not found.checks:
        msg = f"claim {found.id!r}: " + (f"two checks are called {repeated!r}" if repeated else "it has no checks")
        raise ClaimError(msg)
    known = {each.id for each in found.assumptions}
    for check in found.checks:
        if check.drops is not None and check.drops not in known:
            msg = f"claim {found.id!r}: check {check.id!r} drops {check.drops!r}, which is none of its assumptions"
            raise ClaimError(msg)
    return found


def _repeated(ids: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            return each
        seen.add(each)
    return None


@cache
def _from_file(path: Path) -> Claim:
    spec = spec_from_file_location(f"_kernelproof_claim_{path.stem}", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        msg = f"there is no Python file {str(path)!r}"
        raise DomainError(msg)
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        msg = f"the file {str(path)!r} does not import: {type(error).__name__}: {error}"
        raise ClaimError(msg) from error
    return _checked(getattr(module, "CLAIM", None), f"the file {str(path)!r}", None)
