"""What the runner sends to a worker, and what a worker answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kernelproof.reference.errors import DomainError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.records import Errors, Judgement
from kernelproof.verify.targets.target import Target
from kernelproof.verify.truth.cache import Place as CachePlace

GIBIBYTE = 2**30


@dataclass(frozen=True)
class Limits:
    """What a case may use.

    Attributes:
        seconds: of the calls of one target on one case; its truth, and judging it, may take `patience` times as long.
        memory: bytes of data beyond what the worker holds after loading, where the system can limit it.
    """

    seconds: float = 60.0
    memory: int = 4 * GIBIBYTE
    patience: float = 5.0

    @classmethod
    def of(cls, timeout: float | Limits | None, seconds: float = 60.0) -> Limits:
        """The limits that `timeout` sets: `seconds` where it is None, and `timeout` itself where it is all limits.

        Raises:
            DomainError: it is no positive number of seconds.

        >>> Limits.of(2.5).seconds
        2.5
        """
        if isinstance(timeout, Limits):
            return timeout
        if timeout is None:
            return cls(seconds=seconds)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
            msg = f"timeout must be a positive number of seconds; got {timeout!r}"
            raise DomainError(msg)
        return cls(seconds=float(timeout))


@dataclass(frozen=True)
class Task:
    """Cases, each with the indices of the targets to try on it.

    Attributes:
        items: (index of the case, case, indices of targets).
        targets: all targets of the run.
        journal: path of the journal.
        limits: of every case.
        cache: where truths are kept; None: nowhere.
    """

    items: tuple[tuple[int, Case, tuple[int, ...]], ...]
    targets: tuple[Target, ...]
    journal: str
    limits: Limits = field(default_factory=Limits)
    cache: CachePlace | None = None


@dataclass(frozen=True)
class Summary:
    """The errors of one output of one case, ready to be merged."""

    compared: int
    ulp_sum: float
    ulp_signed_sum: float
    absolute_max: float
    kappa_max: float
    ulps: NDArray[np.float32]

    @classmethod
    def of(cls, errors: Errors) -> Summary:
        """The summary of `errors`; ulps are signed there and absolute here."""
        ulps = np.abs(errors.ulp)
        with np.errstate(invalid="ignore", over="ignore"):
            return cls(
                compared=int(ulps.size),
                ulp_sum=float(ulps.sum()),
                ulp_signed_sum=float(errors.ulp.sum()),
                absolute_max=float(errors.absolute.max(initial=0.0)),
                kappa_max=float(errors.kappa.max(initial=0.0)),
                ulps=ulps.astype(np.float32).reshape(-1),
            )


@dataclass(frozen=True)
class CheckResult:
    """What one check said of one case and target.

    Attributes:
        judgement: without its errors.
        summaries: its errors, by output.
        crash: what ended the call, or None.
    """

    judgement: Judgement = field(default_factory=Judgement)
    summaries: dict[str, Summary] = field(default_factory=dict)
    crash: str | None = None


@dataclass(frozen=True)
class CaseResult:
    """What all checks said of one case and target.

    Attributes:
        checks: by id; only those that apply and that the target can answer.
        unsupported: ids of checks that apply and that the target cannot answer.
        calls: how many calls the target got.
        note: why nothing was decided, or "".
        remarks: what the target did beside answering: printed, left threads running.
    """

    checks: dict[str, CheckResult] = field(default_factory=dict)
    unsupported: tuple[str, ...] = ()
    calls: int = 0
    note: str = ""
    remarks: tuple[str, ...] = ()
