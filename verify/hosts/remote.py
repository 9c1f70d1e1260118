"""Targets in hosts, as whoever judges sees them: the homes of this process, one for each file of targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernelproof.reference.errors import TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.hosts.described import place_json, target_json, targets_of
from kernelproof.verify.hosts.messages import Packer, modes_of, outcome_of, packed_calls, text_of, texts_of
from kernelproof.verify.hosts.process import Fate, HostEnded, HostProcess
from kernelproof.verify.hosts.wire import Frame, WireError
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.loading import Place
from kernelproof.verify.targets.target import Target

LOAD_SECONDS = 300.0
"""Time limit of a start with its imports; importing torch cold takes tens of seconds."""
_REMARKS = 64
"""Remarks of a host that are kept."""


class Home:
    """The host of all targets of one file, in this process; it is started when it is needed.

    Attributes:
        process: the host; None if it has not been started.
        loaded: the targets that it has loaded: their key, the modes of arithmetic after that, and remarks.
        last: the target that was called last.
        ended: the targets after whose calls a host ended, which is a verdict on their next call.
    """

    def __init__(self) -> None:
        self.process: HostProcess | None = None
        self.loaded: dict[Target, tuple[str, dict[str, Any], tuple[str, ...]]] = {}
        self.last: Target | None = None
        self.ended: set[Target] = set()

    def started(self) -> HostProcess:
        """The process; if one has ended while nobody called, that is kept against the target called last."""
        if self.process is not None and not self.process.alive:
            if self.last is not None:
                self.ended.add(self.last)
            self.stop()
        if self.process is None:
            self.process = _SPARE.pop() if _SPARE else HostProcess()
        return self.process

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.stop()
        self.process = None
        self.loaded.clear()


_HOMES: dict[str, Home] = {}
_SPARE: list[HostProcess] = []
"""A host that was started before it is known for which target."""


def start_spare() -> None:
    """Start a host for the next target that needs one; while it imports, this process can do other things."""
    _SPARE.append(HostProcess())


def home_of(place: Place) -> Home:
    """The host of the targets of the file of `place`; each program has one."""
    return _HOMES.setdefault(place.module or place.name, Home())


def stop_all() -> None:
    """End all hosts of this process."""
    for home in _HOMES.values():
        home.stop()
    while _SPARE:
        _SPARE.pop().stop()


@dataclass
class Remote:
    """A target in a host.

    Attributes:
        target: the target.
        limits: of the calls that are asked for together.
        cache: the folder of the cache of truths, which the target must not read; "" if there is none.
        remarks: lines for the report.
        modes: the modes of arithmetic after loading, and after the calls.
        fate: how the host ended in the last answer; None if it did not.
    """

    target: Target
    limits: Limits = field(default_factory=Limits)
    cache: str = ""
    remarks: dict[str, None] = field(default_factory=dict)
    modes: tuple[dict[str, Any], dict[str, Any]] = field(default_factory=lambda: ({}, {}))
    fate: Fate | None = None

    @property
    def _home(self) -> Home:
        return home_of(self.target.place)

    def load(self) -> None:
        """Start the host and load the target, if that has not been done.

        Raises:
            TargetError: the target cannot be loaded.
        """
        home = self._home
        process = home.started()
        if self.target not in home.loaded:
            memory = self.limits.memory if self.target.device == "cpu" else None
            key = str(len(home.loaded))
            told = {"do": "load", "key": key, "target": target_json(self.target), "memory": memory, "cache": self.cache}
            frame = _first(process, self.target.place, told, LOAD_SECONDS)
            if frame.text.get("is") != "loaded":
                home.stop()
                raise _refusal(frame, self.target.place)
            process.limit(memory)
            try:
                held = modes_of(frame.text.get("modes")), texts_of(frame.text.get("remarks"))
            except WireError as error:
                home.stop()
                msg = f"the target {self.target.place.name!r} cannot be loaded: its process gave {error}"
                raise TargetError(msg) from None
            home.loaded[self.target] = key, *held
            self.modes = (home.loaded[self.target][1],) * 2
        self._note(home.loaded[self.target][2])

    def answer(self, case: Case, calls: Sequence[Call]) -> list[Outcome]:
        """See `Respondent.answer`."""
        self.fate = None
        self.load()
        home = self._home
        if self.target in home.ended:
            # A thread that it has left may end the process while nobody calls.
            home.ended.discard(self.target)
            self.fate = Fate.DEATH
            return [Outcome(crash="the process ended after the calls before this one")]
        home.last, process = self.target, home.process
        assert process is not None  # `load` has started it
        packer, found = Packer(), list[Outcome]()
        told = {"do": "call", "key": home.loaded[self.target][0], **packed_calls(case, calls, packer)}
        try:
            for frame in process.ask(told, packer, self.limits.seconds):
                word = frame.text.get("is")
                if word == "outcome" and len(found) < len(calls):
                    found.append(outcome_of(frame.text.get("outcome"), frame.content))
                elif word == "end" and len(found) == len(calls):
                    self._finish(frame, home)
                    return found
                else:
                    why = text_of(frame.text.get("why", "the answers are not those that were asked for"))
                    raise process.ended(Fate.WORDS, f"its process failed: {why}")
        except (HostEnded, WireError) as error:
            ended = error if isinstance(error, HostEnded) else process.ended(Fate.WORDS, str(error))
            home.stop()
            self.fate = ended.fate
            crash = Outcome(crash=ended.reason)
            # It ended in the call that has no outcome, or after the last one.
            return [*found, crash] if len(found) < len(calls) else [*found[:-1], crash]
        return found

    def fresh(self) -> None:
        """See `Respondent`."""
        self._home.stop()

    def repeat(self, case: Case, call: Call, count: int) -> bool:
        """Have the target make `call` `count` times, and say nothing of it; whether its process lived."""
        self.load()
        home, packer = self._home, Packer()
        told = {
            "do": "repeat",
            "key": home.loaded[self.target][0],
            **packed_calls(case, [call], packer),
            "count": count,
        }
        process = home.process
        assert process is not None  # `load` has started it
        try:
            return next(process.ask(told, packer, self.limits.seconds)).text.get("is") == "repeated"
        except HostEnded as error:
            home.stop()
            self.fate = error.fate
            return False

    def _finish(self, frame: Frame, home: Home) -> None:
        self._note(texts_of(frame.text.get("remarks")))
        self.modes = self.modes[0], modes_of(frame.text.get("modes"))
        if frame.text.get("exhausted"):
            # Memory that the target does not free would be missing for its next calls.
            home.stop()

    def _note(self, remarks: Sequence[str]) -> None:
        for remark in remarks:
            if len(self.remarks) < _REMARKS:
                self.remarks[remark] = None


def _first(process: HostProcess, place: Place, told: dict[str, Any], seconds: float | None) -> Frame:
    """The answer to a request about the target at `place` that has one.

    Raises:
        TargetError: there is none.
    """
    try:
        return next(process.ask(told, seconds=seconds))
    except HostEnded as error:
        home_of(place).stop()
        msg = f"the target {place.name!r} cannot be loaded: {_of_import(error)}"
        raise TargetError(msg) from None


def _of_import(error: HostEnded) -> str:
    if error.fate is Fate.DEATH:
        return f"importing it ended the process ({error.reason.removeprefix('the process ended: ')})"
    return f"importing it: {error.reason}"


def _refusal(frame: Frame, place: Place) -> TargetError:
    why = frame.text.get("why")
    said = why[:1000] if isinstance(why, str) else "its process gave no answer"
    refused = frame.text.get("is") == "refused"
    return TargetError(said if refused else f"the target {place.name!r} cannot be loaded: {said}")


def describe_in_host(
    place: Place,
    limits: Limits,
    *,
    asked: Mapping[str, tuple[str, ...]] | None = None,
    probe: bool = True,
    cache: str = "",
) -> list[Target] | str:
    """Return what `targets.describe` gives for `place`, in a host.

    Args:
        place: where the target is.
        limits: of the calls that probe it; all together may take `patience` times as long.
        asked: the orders, alphas and dtypes that the run is restricted to; None: to nothing.
        probe: whether to probe; if a call that probes ends the process, it is described without.
        cache: see `Remote`.

    Raises:
        TargetError: it cannot be loaded or bound, or its declaration is not valid.
    """
    home = home_of(place)
    longest = limits.seconds * max(limits.patience, 1.0)
    told = {
        "do": "describe",
        "place": place_json(place),
        "seconds": limits.seconds,
        "memory": limits.memory,
        "asked": asked or {"orders": (), "alphas": (), "dtypes": ()},
        "probe": probe,
        "cache": cache,
    }
    try:
        frame = next(home.started().ask(told, seconds=longest))
    except HostEnded as error:
        home.stop()
        if probe:
            # If a call ended the process, the cases will show that; if the import did, there is nothing to verify.
            return describe_in_host(place, limits, asked=asked, probe=False, cache=cache)
        why = _of_import(error) if error.fate is not Fate.TIME else f"importing it took more than {longest:g} s"
        msg = f"the target {place.name!r} cannot be loaded: {why}"
        raise TargetError(msg) from None
    if frame.text.get("is") == "refused":
        home.stop()
        raise _refusal(frame, place)
    try:
        return _description(frame, place)
    except WireError as error:
        home.stop()
        if probe:
            # The calls that probe it may have broken whatever answers; what is left of that the cases will show.
            return describe_in_host(place, limits, asked=asked, probe=False, cache=cache)
        msg = f"the target {place.name!r} cannot be loaded: its process gave {error}"
        raise TargetError(msg) from None


def _description(frame: Frame, place: Place) -> list[Target] | str:
    """What the answer to a request for a description says.

    Raises:
        WireError: it says nothing of the kind.
    """
    word = frame.text.get("is")
    if word == "unavailable":
        return text_of(frame.text.get("why"))
    if word != "described":
        msg = text_of(frame.text.get("why", "no answer"))
        raise WireError(msg)
    return targets_of(frame.text.get("targets"), place)
