"""The benchmarks as one page that opens offline: styles and pictures are embedded, and it has no script."""

from __future__ import annotations

from jinja2 import Environment
from markupsafe import Markup

from kernelproof.reports import text
from kernelproof.reports.bench import pictures, words
from kernelproof.reports.renderer import templates
from kernelproof.reports.summary import flat
from kernelproof.verify.bench.bench_record import BenchResults, CostPictureRecord, FigureState

_TONES = {
    FigureState.MET: "pass",
    FigureState.MISSED: "doubt",
    FigureState.WRONG: "fail",
    FigureState.SHOWN: "none",
    FigureState.UNAVAILABLE: "none",
}
_SIGNS = {
    FigureState.MET: "✓",
    FigureState.MISSED: "✗",
    FigureState.WRONG: "✗",
    FigureState.SHOWN: "·",
    FigureState.UNAVAILABLE: "–",
}


def page(results: BenchResults) -> str:
    """Return `results` as an HTML page; a pure function of its argument."""
    counts = words.counts(results)
    return (
        _environment()
        .get_template("bench.html.j2")
        .render(
            results=results,
            lede=words.lede(results),
            counts=counts,
            judged=sum(counts[state] for state in (FigureState.MET, FigureState.MISSED, FigureState.WRONG)),
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


def _growth(picture: CostPictureRecord) -> Markup | None:
    return _markup(pictures.growth(picture))


def _markup(drawn: str | None) -> Markup | None:
    return None if drawn is None else Markup(drawn)  # noqa: S704 (svg escapes what came from outside)
