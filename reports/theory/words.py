"""Words that every report of the theory uses: for verdicts, evidence, and what a finding covers."""

from __future__ import annotations

from collections import Counter

from kernelproof.reports.text import number
from kernelproof.theory.claim import Kind, Role
from kernelproof.theory.finding import Evidence, Finding, Verdict
from kernelproof.theory.results import ClaimResult, TheoryResults

EVIDENCE = {
    Evidence.SYMBOLIC: "SymPy proves the identity or the sign for all values of the symbols; the words that join such "
    "steps to a proof stand beside them, for a reader to check",
    Evidence.EXACT: "both sides are the same rational numbers, on the domain named",
    Evidence.CERTIFIED: "interval arithmetic (arb): proved for every point of a box, or enclosures that overlap",
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
    """Return one sentence: how many claims there are, and what is known of them."""
    count = Counter(claim.verdict for claim in results.claims)
    parts = [f"{count[verdict]} {verdict.value.lower()}" for verdict in Verdict if count[verdict]]
    noun = "claim" if len(results.claims) == 1 else "claims"
    return f"{len(results.claims)} {noun}: {', '.join(parts)}."


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


def evidence_of(claim: ClaimResult) -> str:
    """Return the kinds of evidence for a claim, the strongest first."""
    return ", ".join(kind.value for kind in claim.evidence)
