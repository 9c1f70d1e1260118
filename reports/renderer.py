"""How every page is filled in: text from outside is escaped, its control characters spelled, no name is left open."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kernelproof.reference.plain_text import clean
from kernelproof.reports import text


def templates() -> Environment:
    """The templates of all pages, with the filters of numbers; a page adds its own filters and names."""
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
    return environment


def _clean(value: Any) -> Any:
    """Strings without control characters; markup, which is made here, as it is."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
