"""The jinja2 environment of all pages: it escapes text from outside and refuses undefined names."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kernelproof.reference.plain_text import clean
from kernelproof.reports import text


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
    return environment


def _clean(value: Any) -> Any:
    """Return a string with its control characters spelled out; leave our own markup unchanged."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
