"""Write the script of a failure: fill in the template that shows it, for one subject and one target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.arrays import CARRIES_NONE
from kernelproof.verify.targets.target import Target
from kernelproof.verify.witness.calls import script_call, turned
from kernelproof.verify.witness.origins import origin_of
from kernelproof.verify.witness.renderer import REPEATED, Script, rendered
from kernelproof.verify.witness.states import ENVIRONMENT, STATES

_UNASKED = ("wrote what nobody asked for", "it wrote more", "answered the request")
"""Parts of messages about a program that writes too many lines; the extra line may come with the answer or after it."""
_ENDING = ("KeyboardInterrupt", "SystemExit")
"""Exceptions that, uncaught, end a script without a traceback or with the exit code of a success."""


class Writer:
    """Writes scripts for one subject.

    Args:
        subject: the witness.
        target: the target.
        message: of the check.
    """

    def __init__(self, subject: Subject, target: Target, message: str) -> None:
        self.subject, self.target, self.message = subject, target, message
        self.case, self.origin = subject.case, origin_of(target)

    def claimed(
        self, check: str, used: Sequence[Seen], claims: Sequence[Claim], turn: int, *, rows: bool = False
    ) -> Script:
        """Show numbers that are not as claimed, when the calls are made for the `turn`-th time.

        Args:
            check: its id.
            used: the calls.
            claims: about their results.
            turn: 1 or more.
            rows: whether the claims are about rows, instead of the array in the shape that the target returned.
        """
        calls = [
            script_call(self.case, one, self.target, suffix="" if at == 0 else f"_{one.variable}", rows=rows)
            for at, one in enumerate(used)
        ]
        return self._rendered("claimed", check, calls=calls, claims=claims, turns=_turns(turn))

    def raised(self, check: str, one: Seen) -> Script:
        """Show a call that raises, or returns something other than an array."""
        error = one.outcome.error or ""
        title = f"{check}: {error or one.outcome.crash or 'no output'}"
        call = script_call(self.case, one, self.target)
        if CARRIES_NONE in error:
            call = replace(call, carries_none=CARRIES_NONE)
        return self._rendered(
            "raised",
            title,
            call=call,
            # Uncaught, it would end the script as if nothing were wrong.
            ends=error.partition(":")[0] in _ENDING,
            # An extra line may be noticed only with the next request.
            again=any(words in title for words in _UNASKED),
        )

    def unraised(self, check: str, one: Seen) -> Script:
        """Show a call that has to raise but returns."""
        return self._rendered("unraised", check, call=script_call(self.case, one, self.target))

    def repeated(self, check: str, seen: Mapping[str, Seen], times: int = REPEATED) -> Script:
        """Show a call whose result changes in some bits when it is repeated so many times."""
        one = next(iter(seen.values()))
        for first, second in (("forward", "forward again"), ("vjp", "vjp again")):
            if second in seen and not _same(seen[first], seen[second]):
                one = seen[first]
        call = script_call(self.case, one, self.target)
        other = None
        if call.way == "program":
            other = replace(script_call(self.case, turned(one, one.variable), self.target), names={"request": "other"})
        raises = any(each.outcome.error is not None for each in seen.values())
        return self._rendered(
            "repeated", check, call=call, other=other, given=next(iter(call.names.values())), raises=raises, times=times
        )

    def untouched(self, check: str, seen: Mapping[str, Seen], turn: int) -> Script:
        """Show a call that changes its inputs; nothing if none does."""
        one = next((each for each in seen.values() if each.outcome.modified), None)
        if one is None:
            return Script()
        call = script_call(self.case, one, self.target)
        given = call.names[one.outcome.modified[0]]
        raises = one.outcome.error is not None
        return self._rendered("untouched", check, call=call, given=given, raises=raises, turns=_turns(turn))

    def kept(self, check: str, seen: Mapping[str, Seen]) -> Script:
        """Show that a second call changes what the first returned; nothing if none does."""
        pairs = zip(seen.values(), list(seen.values())[1:], strict=False)
        found = next((pair for pair in pairs if pair[1].outcome.overwritten), None)
        if found is None:
            return Script()
        first = script_call(self.case, found[0], self.target)
        second = script_call(self.case, found[1], self.target, suffix="_2")
        return self._rendered("kept", check, call=first, other=second, raises=found[1].outcome.error is not None)

    def changed(self, check: str, seen: Mapping[str, Seen], turn: int) -> Script:
        """Show a call that changes the state of its process; nothing if none does or no expression shows it."""
        one = next((each for each in seen.values() if each.outcome.changed), next(iter(seen.values())))
        states = {name: STATES[name] for name in one.outcome.changed if name in STATES}
        if not states:
            return Script()
        return self._rendered(
            "changed",
            check,
            call=script_call(self.case, one, self.target),
            states=states,
            imports_may_change=list(states) == [ENVIRONMENT],
            raises=one.outcome.error is not None,
            turns=_turns(turn),
        )

    def crash(self, call: Call) -> Script:
        """Show a call that ends its process, hangs, or uses up its memory."""
        calls = [script_call(self.case, Seen("got", call, Outcome(), None), self.target)]
        if call.mode == "vjp" and self.origin.kind != "program":
            # A worker makes the plain call first, and the gradient may crash on what that left in memory.
            plain = script_call(self.case, Seen("plain", Call(call.inputs), Outcome(), None), self.target)
            calls = [replace(plain, inputs=calls[0].inputs), *calls]
        template = "crash_of_program" if self.origin.kind == "program" else "crash"
        return self._rendered(template, "crash", calls=calls)

    def fallback(self, check: str) -> Script:
        """Run the case again with this package; nothing if the subject is not a recipe."""
        if self.subject.inputs is not None:
            return Script()
        place = self.target.place
        options = [
            (name.removeprefix("--").replace("-", "_"), value)
            for name, value in zip(place.words[::2], place.words[1::2], strict=True)
        ]
        text = rendered(
            "fallback.py.j2",
            title=check,
            name=self.target.name,
            case=self.case.text,
            device=self.target.device,
            options=options,
        )
        return Script(text, runs_case=True)

    def _rendered(self, template: str, title: str, **data: Any) -> Script:
        label = f"{self.target.name}: {self.case.op}, order {self.case.order_label}, {self.case.dtype}"
        about = {"title": title, "label": label, "message": self.message, "origin": self.origin}
        return Script(rendered(f"{template}.py.j2", **about, **data), repeats=data.get("turns") is not None)


def _turns(turn: int) -> int | None:
    """Return how often a script makes calls that showed a fault the `turn`-th time; None: once."""
    return None if turn == 1 else max(REPEATED, 4 * turn)


def _same(one: Seen, other: Seen) -> bool:
    """Whether two calls gave the same bits, or the same error."""
    left, right = one.outcome.arrays, other.outcome.arrays
    alike = set(left) == set(right) and one.outcome.error == other.outcome.error
    return alike and all(left[name].tobytes() == right[name].tobytes() for name in left)
