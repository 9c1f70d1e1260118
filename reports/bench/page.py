"""The benchmarks as one page that opens offline: styles and pictures are inside, and it has no script."""

from __future__ import annotations

from jinja2 import Environment
from markupsafe import Markup

from kernelproof.reports import text
from kernelproof.reports.bench import pictures, wording
from kernelproof.reports.rendering import templates
from kernelproof.reports.summary import flat
from kernelproof.verify.bench.records import BenchResults, PictureRecord, State

_TONES = {
    State.MET: "pass",
    State.MISSED: "doubt",
    State.WRONG: "fail",
    State.SHOWN: "none",
    State.UNAVAILABLE: "none",
}
_SIGNS = {State.MET: "✓", State.MISSED: "✗", State.WRONG: "✗", State.SHOWN: "·", State.UNAVAILABLE: "–"}


def page(results: BenchResults) -> str:
    """`results` as a page of HTML; a pure function of its argument."""
    counts = wording.counts(results)
    return (
        _environment()
        .get_template("bench.html.j2")
        .render(
            results=results,
            lede=wording.lede(results),
            counts=counts,
            judged=sum(counts[state] for state in (State.MET, State.MISSED, State.WRONG)),
            overview=_markup(pictures.overview(results)),
            environment=flat(results.environment),
        )
    )


def _environment() -> Environment:
    environment = templates()
    environment.filters |= {
        "row": wording.row,
        "kind": wording.kind_of,
        "plain": wording.plain,
        "quartiles": wording.quartiles_text,
        "fit": wording.fit_text,
        "setting": wording.setting_text,
        "mebibytes": lambda value: "–" if value is None else f"{text.number(value / 2**20)} MiB",
        "growth": _growth,
    }
    environment.globals |= {
        "tones": _TONES,
        "signs": _SIGNS,
        "far": wording.far,
        "goal_text": wording.goal_text,
        "bad": wording.BAD,
        "shared_reason": wording.shared_reason,
        "units": wording.UNITS,
        "state_of": wording.state_of,
    }
    return environment


def _growth(picture: PictureRecord) -> Markup | None:
    return _markup(pictures.growth(picture))


def _markup(drawn: str | None) -> Markup | None:
    return None if drawn is None else Markup(drawn)  # noqa: S704 (svg escapes what came from outside)
