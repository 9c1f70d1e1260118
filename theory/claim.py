"""A claim as data: the statement, its variables and assumptions, its source, and the checks that test it.

A claim is one file of `kernelproof.theory.claims` with an object `CLAIM`, and `FALSE`: false variants of it (a wrong
constant, a missing term, a dropped assumption). The checks must not prove a false variant, and must refute it if there
is a witness. Other packages register their claims in the entry point group ``kernelproof.claims``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from kernelproof.theory.finding import Finding
from kernelproof.theory.statement import Statement


class Kind(StrEnum):
    """The kind of a claim."""

    THEOREM = "theorem"
    NUMBER = "published number"
    OPEN = "open question"


class Role(StrEnum):
    """The purpose of a check."""

    PROOF = "proof"
    """A step of the proof: together, the steps of a claim cover the whole statement on its whole domain."""
    SUPPORT = "support"
    """The statement agrees with independent computations."""
    NECESSITY = "necessity"
    """Without one of the assumptions the statement is false."""
    REFEREE = "referee"
    """An independent program agrees."""


@dataclass(frozen=True)
class Settings:
    """How much effort the checks spend.

    Attributes:
        precision: bits of the enclosures; at least 128.
        seed: seed of everything that is drawn at random.
        examples: how many examples a sampled check tries.
    """

    precision: int = 192
    seed: int = 0
    examples: int = 200


@dataclass(frozen=True)
class Variable:
    """A symbol of the statement, as LaTeX, and its meaning with its domain, as text with $math$."""

    symbol: str
    meaning: str


@dataclass(frozen=True)
class Assumption:
    """What must hold for the statement: `text` with $math$. `id` is the name a NECESSITY check refers to."""

    id: str
    text: str


@dataclass(frozen=True)
class Check:
    """One test of a claim.

    Attributes:
        id: a slug, unique in the claim.
        says: what it shows, one sentence of text with $math$.
        role: its purpose.
        run: the function that runs it.
        drops: the id of the assumption that a NECESSITY check drops.
        needs: the modules it requires, each with the package to install: ("sklearn", "kernelproof[peers]").
    """

    id: str
    says: str
    role: Role
    run: Callable[[Settings], Finding] = field(repr=False)
    drops: str | None = None
    needs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Claim:
    r"""A statement and all that is known about it.

    Attributes:
        id: a slug, the name of its file.
        label: its short name in the documentation, such as "C2"; may be empty.
        title: a few words of plain text.
        statement: LaTeX for a reader, text with $math$ and \[ display \].
        source: paper and section or equation; "ours" for our own results.
        kind: theorem, published number or open question.
        variables: the symbols of the statement.
        assumptions: what must hold.
        checks: the checks that test it; at least one.
        formal: the statement as an object, with which the program compares the evidence; None where only words say it,
            and then nothing makes the claim PROVED or DERIVED.
        argument: how the steps of the proof make up the statement, in words, where no machine checks that: the claim is
            then DERIVED at best.
        why_not_more: why no check gives stronger evidence; empty for a claim that is PROVED or DERIVED.
        search: for an open question, (seconds, settings) -> a finding with a certified best value.
    """

    id: str
    title: str
    statement: str
    source: str
    kind: Kind
    checks: tuple[Check, ...]
    variables: tuple[Variable, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    label: str = ""
    why_not_more: str = ""
    formal: Statement | None = None
    argument: str = ""
    search: Callable[[float, Settings], Finding] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FalseVariant:
    """A false claim that resembles a true one.

    Attributes:
        name: what is wrong with it.
        claim: the false claim; it may keep only the checks that can detect the fault.
        refuted: False if there is no witness for a check to find; then it must merely not be PROVED.
    """

    name: str
    claim: Claim
    refuted: bool = True
