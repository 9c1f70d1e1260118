"""Read the feature of a case for its family: as a word from a list, or as an integer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelproof.reference.errors import DomainError

if TYPE_CHECKING:
    from kernelproof.verify.cases.case import Case


def one_of(case: Case, allowed: tuple[str, ...]) -> str:
    """Return the feature of `case`, which must be one of `allowed`.

    Raises:
        DomainError: it is not in `allowed`.
    """
    if case.feature not in allowed:
        msg = f"feature of the family {case.family} must be one of {', '.join(allowed)}; got {case.feature!r}"
        raise DomainError(msg)
    return case.feature


def whole_number(case: Case, least: int, most: int) -> int:
    """Return the feature of `case` as an integer.

    Raises:
        DomainError: it is not an integer in [least, most].
    """
    digits = case.feature[1:] if case.feature[:1] in {"-", "+"} else case.feature
    number = int(case.feature) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
    if number is None or not least <= number <= most:
        msg = f"feature of the family {case.family} must be an integer in [{least}, {most}]; got {case.feature!r}"
        raise DomainError(msg)
    return number
