"""Render scripts from the jinja2 templates in `templates/`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

REPEATED = 100
"""How often a script repeats a call."""
_STANDARD = (
    *("atexit", "base64", "contextlib", "gc", "importlib.util", "json", "locale", "math", "os", "random"),
    *("select", "signal", "subprocess", "sys", "threading", "time", "zlib"),
)
_THIRD_PARTY = ("cupy", "flint", "jax", "ml_dtypes", "mpmath", "numba", "torch")
_MODEL = ("Adaptive", "Anchored", "Fixed", "Kernel", "Nearest")
"""Names that a script imports from this package for targets that take kernels and rules."""


@dataclass(frozen=True)
class Script:
    """A script that shows a failure; false if none can show it.

    Attributes:
        text: the program, or "".
        repeats: whether it makes its calls until the fault shows.
        runs_case: whether it runs the case again with this package, instead of calls on exact inputs.
    """

    text: str = ""
    repeats: bool = False
    runs_case: bool = False

    def __bool__(self) -> bool:
        return bool(self.text)


def rendered(template: str, **data: Any) -> str:
    """Fill in `template` with `data`, and leave no more than one blank line in a row."""
    return re.sub(r"\n{3,}", "\n\n", _environment().get_template(template).render(data))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 (only a failure needs it)

    environment = Environment(
        loader=PackageLoader("kernelproof.verify.witness", "templates"),
        autoescape=False,  # noqa: S701 (the templates are Python, not HTML)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"literal": repr, "docstring": docstring, "quoted": quoted}
    environment.globals |= {"REPEATED": REPEATED, "imports": imports}
    return environment


def docstring(text: str) -> str:
    r"""Return `text` for a docstring, which no quote or backslash in a target's message can end or alter.

    >>> docstring('"' * 3 + " and \\d") == "''' and \\\\d"
    True
    """
    return text.replace("\\", "\\\\").replace('"""', "'''").rstrip('"')


def quoted(text: str) -> str:
    r"""Return `text` for a string between three apostrophes.

    >>> eval("'''" + quoted("a '''quoted''' \\d") + "'''")
    "a '''quoted''' \\d"
    """
    return text.replace("\\", "\\\\").replace("'''", "\\'\\'\\'")


def imports(body: str, loaded: str, kind: str) -> dict[str, list[str]]:
    """Return the import lines that a script needs, as ``standard`` and ``third_party``.

    Args:
        body: what the script does with the target.
        loaded: the code that makes the target; unless that is a program, it imports other packages itself.
        kind: of the target's origin.
    """
    whole = f"{loaded}\n{body}"
    standard = [f"import {name}" for name in _STANDARD if re.search(rf"(?<![.\w]){re.escape(name)}\.", whole)]
    constants = [name for name in ("inf", "nan") if re.search(rf"(?<![.\w]){name}\b", body)]
    standard += [f"from math import {', '.join(constants)}"] if constants else []
    standard += ["from fractions import Fraction"] if "Fraction(" in body else []
    own = whole if kind == "program" else body
    model = [name for name in _MODEL if f"{name}(" in body]
    third_party = [f"from kernelproof import {', '.join(model)}"] if model else []
    third_party += [f"import {name}" for name in _THIRD_PARTY if f"{name}." in own]
    third_party += ["import jax.numpy as jnp"] if "jnp." in body else []
    third_party += ["import numpy as np"] if "np." in own else []
    return {"standard": sorted(standard), "third_party": third_party}
