"""A claim as data: what is stated, for what, under which assumptions, by whom, and the checks that test it.

A claim is one file of `kernelproof.theory.claims` with an object `CLAIM`, and `FALSE`: false variants of it
(a wrong constant, a missing term, a dropped assumption) that its checks must not prove and must refute where
they have a witness. Others register theirs in the entry point group ``kernelproof.claims``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from kernelproof.theory.finding import Finding


class Kind(StrEnum):
    """What sort of claim it is."""

    THEOREM = "theorem"
    NUMBER = "published number"
    OPEN = "open question"


class Role(StrEnum):
    """What a check is for."""

    PROOF = "proof"
    """A step of the proof: those of a claim, taken together, are the whole statement on its whole domain."""
    SUPPORT = "support"
    """The statement agrees with independent computations."""
    NECESSITY = "necessity"
    """Without one of the assumptions the statement is false."""
    REFEREE = "referee"
    """A program of others agrees."""


@dataclass(frozen=True)
class Settings:
    """How hard to try.

    Attributes:
        precision: bits that enclosures are computed with; at least 128.
        seed: of everything drawn.
        examples: how many examples a sampled check tries.
    """

    precision: int = 192
    seed: int = 0
    examples: int = 200


@dataclass(frozen=True)
class Variable:
    """A symbol of the statement, as LaTeX, and what it stands for with its domain, as text with $math$."""

    symbol: str
    meaning: str


@dataclass(frozen=True)
class Assumption:
    """What must hold for the statement: `text` with $math$. `id` is the name a NECESSITY check refers to."""

    id: str
    text: str


@dataclass(frozen=True)
class ClaimCheck:
    """One test of a claim.

    Attributes:
        id: a slug, unique in the claim.
        says: what is shown, one sentence of text with $math$.
        role: what it is for.
        run: does it.
        drops: the id of the assumption that a NECESSITY check drops.
        needs: importable modules that it cannot do without, with what installs them: ("sklearn", "kernelproof[peers]").
    """

    id: str
    says: str
    role: Role
    run: Callable[[Settings], Finding] = field(repr=False)
    drops: str | None = None
    needs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Claim:
    r"""A statement and everything known about it.

    Attributes:
        id: a slug, the name of its file.
        label: its short name in the literature of the project, such as "C2"; may be empty.
        title: a few words of plain text.
        statement: LaTeX, text with $math$ and \[ display \].
        source: who says so: paper and section or equation; "ours" where it is ours.
        kind: theorem, published number, open question.
        variables: the symbols of the statement.
        assumptions: what must hold.
        checks: what tests it; at least one.
        why_not_more: why no check gives stronger evidence; empty for a claim that is PROVED.
        search: for an open question: (seconds, settings) -> a finding with a certified best value.
    """

    id: str
    title: str
    statement: str
    source: str
    kind: Kind
    checks: tuple[ClaimCheck, ...]
    variables: tuple[Variable, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    label: str = ""
    why_not_more: str = ""
    search: Callable[[float, Settings], Finding] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FalseVariant:
    """A false claim that looks like a true one.

    Attributes:
        name: what is wrong with it.
        claim: the false claim; it may keep only the checks that can tell.
        refuted: False if no witness exists that a check could find; then it must only not be PROVED.
    """

    name: str
    claim: Claim
    refuted: bool = True
