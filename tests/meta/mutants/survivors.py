"""Implementations that the tester judges wrongly, or that were not scored yet: this list may only get shorter."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {}
"""What the tool lacks -> the names of those that show it."""
KNOWN: Mapping[str, str] = {name: lacks for lacks, names in REASONS.items() for name in names.split()}
"""Name -> what the tool lacks."""
