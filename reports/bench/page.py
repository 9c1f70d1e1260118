"""The benchmarks as one page that opens offline: styles and pictures are inside, and it has no script."""

from __future__ import annotations

from jinja2 import Environment
from markupsafe import Markup

from kernelproof.reports import text
from kernelproof.reports.bench import pictures, words
from kernelproof.reports.renderer import templates
from kernelproof.reports.summary import flat
from kernelproof.verify.bench.bench_record import BenchResults, PictureRecord, State

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
    counts = words.counts(results)
    return (
        _environment()
        .get_template("bench.html.j2")
        .render(
            results=results,
            lede=words.lede(results),
            counts=counts,
            judged=sum(counts[state] for state in (State.MET, State.MISSED, State.WRONG)),
            overview=_markup(pictures.overview(results)),
            environment=flat(results.environment),
        )
    )


def _environment() -> Environment:
    environment = templates()
    environment.filters |= {
        "row": words.row,
        "kind": words.kind_of,
        "plain": words.plain,
        "quartiles": words.quartiles_text,
        "fit": words.fit_text,
        "setting": words.setting_text,
        "mebibytes": lambda value: "–" if value is None else f"{text.number(value / 2**20)} MiB",
        "growth": _growth,
    }
    environment.globals |= {
        "tones": _TONES,
        "signs": _SIGNS,
        "far": words.far,
        "goal_text": words.goal_text,
        "bad": words.BAD,
        "shared_reason": words.shared_reason,
        "units": words.UNITS,
        "state_of": words.state_of,
    }
    return environment


def _growth(picture: PictureRecord) -> Markup | None:
    return _markup(pictures.growth(picture))


def _markup(drawn: str | None) -> Markup | None:
    return None if drawn is None else Markup(drawn)  # noqa: S704 (svg escapes what came from outside)
