"""Render scripts from the templates of jinja2 in `templates/`."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

AGAIN = "wrong after the calls were made"
"""Part of every script that repeats its calls until the fault shows."""
FALLBACK = "results = kernelproof.verify("
"""Part of every script that runs the case again with this package."""
REPEATED = 100
"""How often a script repeats a call."""
_STANDARD = (
    *("atexit", "base64", "contextlib", "gc", "importlib.util", "json", "locale", "math", "os", "random"),
    *("select", "signal", "subprocess", "sys", "threading", "time", "zlib"),
)
_THIRD_PARTY = ("cupy", "flint", "jax", "ml_dtypes", "mpmath", "numba", "torch")
_MODEL = ("Adaptive", "Anchored", "Fixed", "Kernel", "Nearest")
"""What a script imports from this package, for targets that take kernels and rules."""


def rendered(template: str, **data: Any) -> str:
    """The text that `template` gives for `data`, with no more than one blank line in a row."""
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
    environment.globals |= {"AGAIN": AGAIN, "FALLBACK": FALLBACK, "REPEATED": REPEATED, "imports": imports}
    return environment


def docstring(text: str) -> str:
    r"""`text` for a docstring: no backslash or quote of a target's message ends or escapes anything.

    >>> docstring('"' * 3 + " and \\d") == "''' and \\\\d"
    True
    """
    return text.replace("\\", "\\\\").replace('"""', "'''").rstrip('"')


def quoted(text: str) -> str:
    r"""`text` for between three apostrophes.

    >>> eval("'''" + quoted("a '''quoted''' \\d") + "'''")
    "a '''quoted''' \\d"
    """
    return text.replace("\\", "\\\\").replace("'''", "\\'\\'\\'")


def imports(body: str, loaded: str, kind: str) -> dict[str, list[str]]:
    """The import lines that a script needs, as ``standard`` and ``third_party``.

    Args:
        body: what the script does with the target.
        loaded: what makes the target; it has its own imports of other packages, but for a program.
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
