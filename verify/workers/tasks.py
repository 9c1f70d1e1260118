"""Tasks that the runner sends to workers, and the results that come back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kernelproof.verify.cases.case import Case
from kernelproof.verify.hosts.process import Fate
from kernelproof.verify.judging.diagnosis import Assumption
from kernelproof.verify.judging.resolution import Counts, counts_of
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import Errors, Judgement, Outcome
from kernelproof.verify.targets.target import Target
from kernelproof.verify.truth.cache import CacheFile


@dataclass(frozen=True)
class Task:
    """Cases, each with the indices of the targets to try on it.

    Attributes:
        items: (index of the case, case, indices of targets).
        targets: all targets of the run.
        folder: where the runner notes which targets it has given up.
        limits: of every case.
        cache: where truths are kept; None: nowhere.
    """

    items: tuple[tuple[int, Case, tuple[int, ...]], ...]
    targets: tuple[Target, ...]
    folder: str
    limits: Limits = field(default_factory=Limits)
    cache: CacheFile | None = None

    def given_up(self, target: int) -> Path:
        """Return the file that exists once the target of this index has been given up."""
        return Path(self.folder) / f"{target}.given-up"


@dataclass(frozen=True)
class Summary:
    """The errors of one output of one case, reduced to what can be merged."""

    compared: int
    ulp_sum: float
    ulp_signed_sum: float
    absolute_max: float
    kappa_max: float
    ulps: NDArray[np.float32]
    vacuous: int
    zeros: int
    resolution: Counts
    forced: Counts

    @classmethod
    def of(cls, errors: Errors) -> Summary:
        """Reduce `errors`, whose ulps are signed, to a summary, whose ulps are absolute."""
        ulps = np.abs(errors.ulp)
        with np.errstate(invalid="ignore", over="ignore"):
            return cls(
                compared=int(ulps.size),
                ulp_sum=float(ulps.sum()),
                ulp_signed_sum=float(errors.ulp.sum()),
                absolute_max=float(errors.absolute.max(initial=0.0)),
                kappa_max=float(errors.kappa.max(initial=0.0)),
                ulps=ulps.astype(np.float32).reshape(-1),
                vacuous=int(errors.vacuous.sum()),
                zeros=int((errors.vacuous & np.isnan(errors.resolution)).sum()),
                resolution=counts_of(errors.resolution),
                forced=counts_of(errors.forced),
            )


@dataclass(frozen=True)
class CheckResult:
    """The result of one check on one case and target.

    Attributes:
        judgement: without its errors.
        summaries: its errors, by output.
        usual: the largest κ by output under the usual roundings, where the contract declares other ones.
        crash: how the call failed to return, or None.
    """

    judgement: Judgement = field(default_factory=Judgement)
    summaries: dict[str, Summary] = field(default_factory=dict)
    usual: dict[str, float] = field(default_factory=dict)
    crash: str | None = None

    @property
    def failed(self) -> bool:
        """Whether a comparison failed, or a call did not return."""
        return self.judgement.failed > 0 or self.crash is not None


@dataclass(frozen=True)
class CaseResult:
    """The results of all checks on one case and target.

    Attributes:
        checks: by id; only checks that apply and whose calls the target accepts.
        unsupported: ids of checks that apply but whose calls it does not accept.
        calls: how many calls were made.
        note: why nothing was decided, or "".
        remarks: side effects, such as output or threads that kept running.
        hints: declarations, any of which would explain everything that failed here.
        assumed: where the case failed, the assumptions under which it and those before it would pass.
        fate: how the process of the target ended in the last of its calls; None if it did not.
        digest: of the output of the plain call, see `digest_of`; "" without one.
    """

    checks: dict[str, CheckResult] = field(default_factory=dict)
    unsupported: tuple[str, ...] = ()
    calls: int = 0
    note: str = ""
    remarks: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    assumed: tuple[Assumption, ...] | None = None
    fate: Fate | None = None
    digest: str = ""


def digest_of(outcome: Outcome) -> str:
    """A text that stands for the bits of the output; "" if the call gave none.

    >>> digest_of(Outcome({"output": np.zeros(2)})) == digest_of(Outcome({"output": -np.zeros(2)}))
    False
    """
    output = outcome.arrays.get("output")
    if output is None or outcome.crash is not None:
        return ""
    held = hashlib.blake2b(f"{output.dtype.name} {output.shape}".encode(), digest_size=16)
    held.update(np.ascontiguousarray(output).reshape(-1).view(np.uint8).data)
    return held.hexdigest()


def explained(results: Iterable[CaseResult]) -> list[str]:
    """The hints, if every case that failed has one: a fault that none explains may be behind all failures."""
    failing = [result for result in results if any(said.failed for said in result.checks.values())]
    told = dict.fromkeys(hint for result in failing for hint in result.hints if hint)
    return list(told) if all(result.hints for result in failing) else []
