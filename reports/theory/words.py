"""Words that every report of the theory uses: for verdicts, evidence, and what a finding covers."""

from __future__ import annotations

from collections import Counter

from kernelproof.reports.text import INTERRUPTED, number
from kernelproof.theory.claim import Kind, Role
from kernelproof.theory.finding import Evidence, Finding, Verdict
from kernelproof.theory.results import ClaimResult, TheoryResults

EVIDENCE = {
    Evidence.SYMBOLIC: "SymPy proves the identity or the sign for all values of the symbols, and that every "
    "denominator, root and logarithm has a value there; what it assumed is listed",
    Evidence.EXACT: "both sides are the same rational numbers, in the cases named and no others",
    Evidence.CERTIFIED: "interval arithmetic (arb): proved for every point of a box by functions that cannot "
    "leave it, or enclosures that overlap",
    Evidence.SAMPLED: "Hypothesis draws examples; a failure would be a witness, success proves nothing",
}
ROLE = {
    Role.PROOF: "proof",
    Role.SUPPORT: "agreement",
    Role.NECESSITY: "assumption dropped",
    Role.REFEREE: "outside referee",
}
KIND = {Kind.THEOREM: "Theorems", Kind.NUMBER: "Published numbers", Kind.OPEN: "Open questions"}


def lede(results: TheoryResults) -> str:
    """Return how many claims there are, what is known of them, and what DERIVED means where one is."""
    count = Counter(claim.verdict for claim in results.claims)
    parts = [f"{count[verdict]} {verdict.value.lower()}" for verdict in Verdict if count[verdict]]
    noun = "claim" if len(results.claims) == 1 else "claims"
    derived = (
        " Derived: every step is proved by a machine, and that they make up the statement is an argument in "
        "words, which "
        "stands beside them."
    )
    cut = f" {INTERRUPTED}" if results.interrupted else ""
    known = f": {', '.join(parts)}" if parts else ""
    return f"{len(results.claims)} {noun}{known}.{derived if count[Verdict.DERIVED] else ''}{cut}"


def coverage(finding: Finding) -> str:
    """Return how much was decided, and how sharply, as text.

    >>> coverage(Finding(evidence="exact", relation="equality", verdict="PROVED", domain="rows", decided=3, width=0.0))
    '3 decided; exact'
    """
    parts = [f"{number(finding.decided)} decided"]
    if finding.undecided:
        parts.append(f"{number(finding.undecided)} undecided")
    if finding.volume is not None:
        parts.append(f"volume {number(finding.volume)}")
    if finding.width is not None:
        parts.append(f"relative width at most {number(finding.width)}" if finding.width else "exact")
    return "; ".join(parts)


def domain(finding: Finding) -> str:
    """Return the domain in the author's words and, where the evidence has ranges of its own, as the program saw it."""
    seen = finding.on
    return finding.domain if seen is None or seen.cases is not None else f"{finding.domain} [{seen}]"


def evidence_of(claim: ClaimResult) -> str:
    """Return the kinds of evidence for a claim, the strongest first."""
    return ", ".join(kind.value for kind in claim.evidence)
