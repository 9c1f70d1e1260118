"""The report of the theory as GitHub-flavored Markdown; mathematics stays LaTeX, which GitHub typesets."""

from __future__ import annotations

from collections.abc import Iterator

from kernelproof.reference.plain_text import clean
from kernelproof.reports.markdown import code_block, escape, table
from kernelproof.reports.text import duration
from kernelproof.reports.theory import words
from kernelproof.reports.theory.prose import pieces
from kernelproof.theory.finding import Verdict
from kernelproof.theory.results import ClaimCheckResult, ClaimResult, TheoryResults

_MARKS = {
    Verdict.PROVED: "✅",
    Verdict.DERIVED: "📐",
    Verdict.CONSISTENT: "🟦",
    Verdict.REFUTED: "❌",
    Verdict.UNDECIDED: "❔",
}


def markdown(results: TheoryResults) -> str:
    """Return `results` as Markdown; text is escaped, mathematics is left to the renderer."""
    return "\n\n".join(part for part in _parts(results) if part) + "\n"


def prose(text: str) -> str:
    r"""Return text with $math$ as Markdown: the text escaped, the mathematics unchanged.

    >>> prose("a_b for $n_1 > 0$")
    'a\\_b for $n_1 > 0$'
    """
    return "".join(_piece(kind, body) for kind, body in pieces(clean(text)))


def _piece(kind: str, body: str) -> str:
    if kind == "text":
        # `escape` strips spaces, but those around a formula are needed.
        return f"{' ' * (body[:1].isspace())}{escape(body)}{' ' * (body[-1:].isspace() and bool(body.strip()))}"
    formula = " ".join(body.split())
    return f"\n\n$$\n{formula}\n$$\n\n" if kind == "display" else f"${formula}$"


def _parts(results: TheoryResults) -> Iterator[str]:
    yield f"# Theory of sparse attention as kernel regression: {'passed ✅' if results.passed else 'failed ❌'}"
    yield (
        f"{words.lede(results)} {results.precision} bits, seed {results.seed}, "
        f"{duration(results.seconds)}, started {escape(results.started)}."
    )
    yield code_block(results.command)
    yield table(["claim", "", "verdict", "evidence"], (_row(claim) for claim in results.claims))
    yield "\n".join(f"- **{kind.value}**: {words}." for kind, words in words.EVIDENCE.items())
    for claim in results.claims:
        yield from _claim(claim)


def _name(claim: ClaimResult) -> str:
    return escape(f"{claim.label} {claim.title}" if claim.label else claim.title)


def _row(claim: ClaimResult) -> list[str]:
    verdict = f"{_MARKS[claim.verdict]} {claim.verdict}"
    return [escape(claim.label or claim.id), escape(claim.title), verdict, words.evidence_of(claim)]


def _claim(claim: ClaimResult) -> Iterator[str]:
    yield f"## {_name(claim)}"
    yield f"{_MARKS[claim.verdict]} {claim.verdict} ({words.evidence_of(claim)}). Source: {escape(claim.source)}."
    yield prose(claim.statement).strip()
    yield "\n".join(
        [
            *(f"- where ${each.name}$ is {prose(each.text)}" for each in claim.variables),
            *(f"- assuming {escape(each.name)}: {prose(each.text)}" for each in claim.assumptions),
        ]
    )
    if claim.domain:
        yield f"For all: {escape(claim.domain)}."
    if claim.verdict is Verdict.PROVED:
        yield code_block("\n".join(claim.predicates))
    if claim.argument:
        yield f"**What no machine checks:** {escape(claim.argument)}"
    if claim.reason and claim.verdict is not Verdict.DERIVED:
        yield f"Not more than {claim.verdict.value}: {escape(claim.reason)}."
    if claim.why_not_more:
        yield f"Why not more: {prose(claim.why_not_more)}"
    yield table(["check", "shows", "verdict", "evidence", "domain", "decided"], (_check(each) for each in claim.checks))
    for check in claim.checks:
        yield from _details(check)


def _check(check: ClaimCheckResult) -> list[str]:
    role = words.ROLE[check.role] + (f" ({check.drops})" if check.drops else "")
    name = f"{escape(check.id)}, {escape(role)}"
    # A pipe ends a cell even inside a formula.
    shows = prose(check.says).replace("\n", " ").replace("|", r"\|") if "$" in check.says else prose(check.says)
    if check.finding is None:
        return [name, shows, "UNAVAILABLE", "", escape(check.unavailable or ""), ""]
    found = check.finding
    return [
        name,
        shows,
        found.verdict.value,
        found.evidence.value,
        escape(words.domain(found)),
        escape(words.coverage(found)),
    ]


def _details(check: ClaimCheckResult) -> Iterator[str]:
    found = check.finding
    if found is None:
        return
    if found.detail:
        yield f"{escape(check.id)}: {escape(found.detail)}"
    if check.lacking:
        yield f"{escape(check.id)} does not count as a step: {escape(check.lacking)}"
    if found.assumed:
        yield f"{escape(check.id)} used: {escape('; '.join(found.assumed))}"
    if found.witness:
        yield f"{escape(check.id)}, witness:\n\n{code_block(found.witness)}"
    if found.numbers:
        yield table(
            ["number", "value"], ([escape(name), escape(value)] for name, value in found.numbers.items()), right=1
        )
    for grid in found.grids:
        yield f"**{escape(grid.title)}**"
        rows = ([escape(cell) for cell in row] for row in grid.rows)
        yield table([escape(head) for head in grid.columns], rows, right=0)
