"""The jinja2 environment of all pages: it escapes text from outside and refuses undefined names."""

from __future__ import annotations

import math
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kernelproof.reference.plain_text import clean
from kernelproof.reports import text
from kernelproof.verify.judging.grades import GRADE_LIMITS


def templates() -> Environment:
    """Return the templates of all pages with the filters for numbers; a page adds its own filters and names."""
    environment = Environment(
        loader=PackageLoader("kernelproof.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_clean,
    )
    environment.filters |= {"number": text.number, "short": text.short, "duration": text.duration}
    environment.globals |= {"grade_limits": grade_limits}
    return environment


def grade_limits(failed: str) -> list[tuple[str, str]]:
    """Return the grades, each with its limit as text; of F, `failed` says what it is.

    >>> grade_limits("wrong")
    [('A', 'κ ≤ 4'), ('B', '≤ 32'), ('C', '≤ 10³'), ('D', '≤ 10⁶'), ('E', 'finite'), ('F', 'wrong')]
    """
    said = [f"≤ {text.size(limit)}" if math.isfinite(limit) else "finite" for limit in GRADE_LIMITS.values()]
    return list(zip([*GRADE_LIMITS, "F"], [f"κ {said[0]}", *said[1:], failed], strict=True))


def _clean(value: Any) -> Any:
    """Return a string with its control characters spelled out; leave our own markup unchanged."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
