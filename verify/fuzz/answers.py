"""Answer one question in a worker: build the subject, compute its certified truth, call the target, judge."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.checks import checks
from kernelproof.verify.fuzz.subject import Answer
from kernelproof.verify.hosts.respondent import Respondent
from kernelproof.verify.judging.errors import MAY_RAISE, first_order, select_rows
from kernelproof.verify.judging.precision import precision_of
from kernelproof.verify.records import CRASH, Call, Failure, Flags, Floats, Inputs, Judgement
from kernelproof.verify.truth.lookup import truth_for
from kernelproof.verify.truth.mean_box import hidden
from kernelproof.verify.workers.judge import judge_target
from kernelproof.verify.workers.tasks import CaseResult

GRADIENT_ELEMENTS = 256
"""Recipes with more elements are judged without gradients, whose truth costs several times as much as the rest."""

NO_TRUTH = "the inputs have no truth"
OPEN = -1.0
"""Marks a row in which no error was decided; smaller than any error."""


@dataclass(frozen=True)
class Question:
    """One question to a worker.

    Attributes:
        subject: what is judged.
        only: the checks to run; None means all.
        wants: "answer", "script" or "errors".
        check: for a script, the check whose failure it shows.
        message: for a script, the message of that check.
        whole: whether to ask for everything that a run asks of the case, however much the truth of it costs.
    """

    subject: Subject
    only: frozenset[str] | None = None
    wants: str = "answer"
    check: str = ""
    message: str = ""
    whole: bool = False


@dataclass(frozen=True)
class RowErrors:
    """The worst error of each of R rows; `OPEN` where it is undecided.

    Attributes:
        ulp: (R,) in ulp of the exact value.
        kappa: (R,) κ to first order.
        got: (R,) the value returned where the error in ulp is worst.
        exact: (R,) the exact value there, to the nearest float64.
        empty: (R,) rows with nothing to attend to.
        raised: whether the call raised, which is allowed on an empty row; then nothing is decided.
        seconds: processor time of the measurement.
    """

    ulp: Floats
    kappa: Floats
    got: Floats
    exact: Floats
    empty: Flags
    raised: bool = False
    seconds: float = 0.0


def reply(question: Question, asked: Respondent) -> Any:
    """Answer `question` about the target `asked`."""
    if question.wants == "script":
        from kernelproof.verify.witness.script import script_for  # noqa: PLC0415 (only a failure needs it)

        return script_for(question.subject, question.check, asked, question.message)
    if question.wants == "errors":
        return row_errors(question.subject, asked)
    return answer(question.subject, asked, question.only, whole=question.whole)


def answer(subject: Subject, asked: Respondent, only: frozenset[str] | None = None, *, whole: bool = False) -> Answer:
    """Run the checks on `subject`; unless `whole`, without gradients whose truth costs much."""
    started = time.process_time()
    try:
        inputs = subject.built(asked.target.contract)
    except Exception as error:  # noqa: BLE001 (a recipe that its family cannot build is reported and left out)
        return Answer(rejected=f"{type(error).__name__}: {error}")
    if not whole and subject.inputs is None and prod(subject.case.shape) > GRADIENT_ELEMENTS:
        inputs = replace(inputs, cotangent=None)
    if only is not None and not _differentiates(subject, inputs, only):
        # The truth of gradients costs several times the rest.
        inputs = replace(inputs, cotangent=None)
    truth, undecided = truth_for(subject.case, inputs, asked.target.contract)
    # An `Answer` has no hints, which take longer than all else where something fails.
    result = judge_target(subject.case, inputs, truth, asked, undecided=undecided, only=only, explained=False)
    return answer_of(result, time.process_time() - started)


def _differentiates(subject: Subject, inputs: Inputs, only: frozenset[str]) -> bool:
    """Whether one of the checks asks for a vector-Jacobian product."""
    asked = (checks()[name].calls(subject.case, inputs) for name in only)
    return any(call.mode == "vjp" for calls in asked for call in calls.values())


def answer_of(result: CaseResult, seconds: float = 0.0) -> Answer:
    """Summarize `result` as an `Answer`."""
    failures: dict[str, Failure] = {}
    kappa = 0.0
    for name, said in result.checks.items():
        if said.crash is not None:
            failures[CRASH] = Failure(message=said.crash, kappa=float("inf"))
        elif said.judgement.failed:
            worst = said.judgement.failures[0] if said.judgement.failures else said.judgement.worst
            failures[name] = worst or Failure(message=f"{name} failed")
        kappa = max([kappa, *(summary.kappa_max for summary in said.summaries.values())])
    judgements = [said.judgement for said in result.checks.values()]
    return Answer(
        failures=failures,
        kappa=kappa,
        decided=sum(each.decided for each in judgements),
        undecided=sum(each.undecided for each in judgements),
        compared=sum(each.compared for said in result.checks.values() for each in said.summaries.values()),
        called=result.calls > 0,
        seconds=seconds,
    )


def _nothing(empty: Flags) -> RowErrors:
    """Errors of rows in which nothing is decided."""
    none = np.full(len(empty), OPEN)
    return RowErrors(none, none, none, none, empty)


def row_errors(subject: Subject, asked: Respondent) -> RowErrors | str:
    """Measure the errors of one forward call, row by row; return the reason instead if that is impossible."""
    started = time.process_time()
    contract = asked.target.contract
    try:
        inputs = replace(subject.built(contract), cotangent=None)
    except Exception as error:  # noqa: BLE001 (as in `answer`)
        return f"{type(error).__name__}: {error}"
    truth, undecided = truth_for(subject.case, inputs, contract)
    if truth is None:
        # One undecided row leaves the whole call without truth. That must not end the search: other calls have truth.
        return _nothing(np.zeros(prod(output_shape(subject.case, inputs)[:-1]), bool)) if undecided else NO_TRUTH
    (outcome,) = asked.answer(subject.case, [Call(inputs)])
    if outcome.error and truth.empty.any() and contract.empty_row in MAY_RAISE:
        return replace(_nothing(truth.empty), raised=True)
    if not outcome.arrays:
        crash = None if outcome.crash is None else f"the forward call: {outcome.crash}"
        return crash or outcome.error or "the call gave no output"
    raw = select_rows(outcome.arrays["output"], truth.output.head.shape, inputs)
    if isinstance(raw, Judgement):
        return raw.failures[0].message
    errors = first_order(raw, truth.output, precision_of(subject.case.dtype, contract, subject.case.op))
    kappa = errors.kappa.reshape(raw.shape)
    open_ = np.broadcast_to((truth.empty | truth.unsure)[:, None], raw.shape)
    ulp = np.where(open_, OPEN, np.abs(errors.ulp.reshape(raw.shape)))
    if subject.case.op not in {"entmax", "weights"}:
        # Errors of mixed outputs may be hidden by a kink; for weights this is decided one witness at a time.
        open_ = open_ | hidden(subject.case, inputs, truth, raw, kappa, contract)
    kappa = np.where(open_, OPEN, kappa)
    at = (np.arange(len(raw)), ulp.argmax(axis=1))
    spent = time.process_time() - started
    return RowErrors(ulp.max(axis=1), kappa.max(axis=1), raw[at], truth.output.head[at], truth.empty, seconds=spent)
