"""Expected failures: a file lists them with their reasons, so that a run can pass and still shows each of them.

    [[xfail]]
    target = "entmax_bisect"     # a shell-style pattern for its name; left out: any
    check = "curve"              # a pattern for the id of the check; left out: any
    order = "1/9"                # filters, each optional: op, order (or alpha), dtype, family, device
    reason = "bisection stops early at large α"

Instead of op, order, alpha, dtype and family, ``case`` may give the line of one case as a report prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kernelproof.reference.errors import DomainError, meant, shown
from kernelproof.reference.toml_file import table_of
from kernelproof.verify.cases.case import Case
from kernelproof.verify.targets.target import Target

FILTERS = ("target", "device", "check", "op", "order", "alpha", "dtype", "family")
KEYS = (*FILTERS, "case", "reason")


@dataclass(frozen=True)
class Expected:
    """One entry of the file: which failures it expects, and why.

    Attributes:
        number: its position in the file, from 1.
        filters: (key, pattern) pairs, all of which must match.
        case: the text of the only case that it matches, or None.
        reason: why the failure is expected.
    """

    number: int
    filters: tuple[tuple[str, str], ...]
    case: str | None
    reason: str

    def matches(self, target: Target, case: Case, check: str) -> bool:
        """Whether a failure of `check` on `case` of `target` is expected by this entry."""
        if self.case is not None and self.case != case.text:
            return False
        found = {
            "target": target.name,
            "device": target.device,
            "check": check,
            "op": case.op,
            "order": case.order,
            "alpha": case.alpha or "",
            "dtype": case.dtype,
            "family": case.family,
        }
        # The name of a target in a file contains the path that the user gave, so a pattern may match its last part.
        short = target.name.rpartition("/")[2].rpartition(":")[2]
        return all(
            fnmatchcase(found[key], pattern) or (key == "target" and fnmatchcase(short, pattern))
            for key, pattern in self.filters
        )

    @property
    def text(self) -> str:
        """A short description of the entry."""
        told = [f"{key} {pattern}" for key, pattern in self.filters]
        return f"entry {self.number} ({', '.join([*told, *([self.case] if self.case else [])]) or 'anything'})"


class ExpectedFailures:
    """The expected failures of one target: which occurred, and which did not although their cases were tried."""

    def __init__(self, target: Target, expected: tuple[Expected, ...]) -> None:
        self.target, self.expected = target, expected
        self.came: set[int] = set()
        self.passed: dict[int, dict[str, None]] = {}

    def of(self, case: Case, check: str, *, failed: bool, decided: bool) -> Expected | None:
        """The entry that expects this result of a check on a case, or None."""
        for entry in self.expected:
            if not entry.matches(self.target, case, check):
                continue
            if failed:
                self.came.add(entry.number)
                return entry
            if decided:
                self.passed.setdefault(entry.number, {})[check] = None
        return None

    def missed(self) -> dict[str, dict[str, None]]:
        """For each check, the reasons of the failures that did not occur; one failing case is enough for an entry."""
        reasons = {entry.number: entry.reason for entry in self.expected}
        found: dict[str, dict[str, None]] = {}
        for number, checks in self.passed.items():
            for check in checks if number not in self.came else ():
                found.setdefault(check, {})[reasons[number]] = None
        return found


def read(path: Path) -> tuple[Expected, ...]:
    """Read the entries of the file at `path`.

    Raises:
        DomainError: the file cannot be read or is not TOML, or an entry has an unknown key, no reason, or a value that
            is not a text; the message says which.
    """
    held = table_of(path, "the file of expected failures")
    entries = held.get("xfail")
    if set(held) != {"xfail"} or not isinstance(entries, list):
        msg = f"{str(path)!r} must hold entries [[xfail]] and nothing else; got {', '.join(sorted(held)) or 'nothing'}"
        raise DomainError(msg)
    return tuple(_entry(number, entry, path) for number, entry in enumerate(entries, start=1))


def _entry(number: int, entry: Any, path: Path) -> Expected:
    where = f"entry {number} of {str(path)!r}"
    if not isinstance(entry, dict):
        msg = f"{where} must be a table; got {shown(entry)}"
        raise DomainError(msg)
    for key, value in entry.items():
        if key not in KEYS:
            msg = f"{where} has the key {shown(key)}{meant(key, KEYS)}; allowed: {', '.join(KEYS)}"
            raise DomainError(msg)
        if not isinstance(value, str) or not value.strip():
            msg = f"{key} of {where} must be a text; got {shown(value)}"
            raise DomainError(msg)
    if "reason" not in entry:
        msg = f"{where} must say its reason"
        raise DomainError(msg)
    case = None
    if "case" in entry:
        if set(entry) & {"op", "order", "alpha", "dtype", "family"}:
            msg = f"{where} has a case, which says its own op, order, alpha, dtype and family; drop them"
            raise DomainError(msg)
        case = Case.parse(entry["case"]).text
    filters = tuple((key, entry[key]) for key in FILTERS if key in entry)
    if not filters and case is None:
        msg = f"{where} must say what fails: one of {', '.join((*FILTERS, 'case'))}"
        raise DomainError(msg)
    return Expected(number, filters, case, entry["reason"].strip())
