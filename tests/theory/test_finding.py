"""A finding cannot say more than its evidence can."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kernelproof.theory.finding import Evidence, Finding, Relation, Verdict


def finding(**given: Any) -> Finding:
    plain: dict[str, Any] = {
        "evidence": Evidence.SYMBOLIC,
        "relation": Relation.EQUALITY,
        "verdict": Verdict.PROVED,
        "domain": "all",
        "decided": 1,
    }
    return Finding(**{**plain, **given})


OVERCLAIMS: dict[str, dict[str, Any]] = {
    "nothing decided": {"decided": 0},
    "something undecided": {"undecided": 1},
    "consistent on nothing": {"verdict": Verdict.CONSISTENT, "decided": 0},
    "refuted without a witness": {"verdict": Verdict.REFUTED},
    "an equality by enclosures": {"evidence": Evidence.CERTIFIED},
    "an equality by samples": {"evidence": Evidence.SAMPLED},
    "an inequality by samples": {"evidence": Evidence.SAMPLED, "relation": Relation.INEQUALITY},
    "an interval proof without a box": {"evidence": Evidence.CERTIFIED, "relation": Relation.INEQUALITY},
    "a box without a volume": {
        "evidence": Evidence.CERTIFIED,
        "relation": Relation.INEQUALITY,
        "volume": float("nan"),
    },
    "overlap without a width": {"evidence": Evidence.CERTIFIED, "verdict": Verdict.CONSISTENT},
    "a blank witness": {"verdict": Verdict.REFUTED, "witness": " "},
    "a degenerate box": {"evidence": Evidence.CERTIFIED, "relation": Relation.INEQUALITY, "volume": 0.0},
    "existence without a witness": {"evidence": Evidence.CERTIFIED, "relation": Relation.EXISTENCE},
}


@pytest.mark.parametrize("given", OVERCLAIMS.values(), ids=OVERCLAIMS)
def test_overclaiming_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        finding(**given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"evidence": Evidence.EXACT},
        {"evidence": Evidence.CERTIFIED, "verdict": Verdict.CONSISTENT, "width": 1e-40},
        {"evidence": Evidence.CERTIFIED, "relation": Relation.INEQUALITY, "volume": 2.0},
        {"evidence": Evidence.SAMPLED, "relation": Relation.EXISTENCE, "witness": "z = (0, 1)"},
        {"verdict": Verdict.UNDECIDED, "decided": 0},
    ],
)
def test_what_evidence_can_say_is_allowed(given: dict[str, Any]) -> None:
    assert finding(**given).domain == "all"
