"""Scripts for faults that are no numbers: a call that raises, ends its process, or changes what it should leave."""

from __future__ import annotations

from kernelproof.verify.judging.claims import Seen
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.caller import CARRIES_NONE
from kernelproof.verify.witness.pieces import has_vjp, to_numpy
from kernelproof.verify.witness.programs import request_line
from kernelproof.verify.witness.programs import turned as turned_call
from kernelproof.verify.witness.writer import Writer, safe

CAME_BACK = "a child process of the call came back"
UNASKED = ("wrote what nobody asked for", "it wrote more", "answered the request")
"""What is said of a program that writes too many lines; the second may come with the answer or after it."""
AGAIN = "wrong after the calls were made"
"""Part of every script that makes its calls again and again."""
REPEATED = 100
"""Calls that a script for changing results makes."""
_TORCH_MATMUL = "torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32"
STATES = {
    "the random state of Python": "random.getstate()",
    "the random state of NumPy": "[getattr(part, 'tolist', lambda: part)() for part in np.random.get_state()]",
    "how NumPy handles errors": "np.geterr()",
    "how NumPy prints": "np.get_printoptions()",
    "the mode of arithmetic (flush to zero, rounding)": (
        "[float((np.array([a]).astype(t) * t(b))[0]) for t, a, b in [(np.float64, 2.0**-1022, 0.5), "
        "(np.float32, 2.0**-126, 0.5), *((np.float64, 1 + 2.0**-52, b) for b in (1.25, -1.25, 1.75))]]"
    ),
    "the functions of NumPy": "{name: id(held) for name, held in vars(np).items() if callable(held)}",
    "the locale": "locale.setlocale(locale.LC_ALL)",
    "the working directory": "os.getcwd()",
    "environment variables": "dict(os.environ)",
    "signal handlers": "[signal.getsignal(each) for each in sorted(signal.valid_signals())]",
    "the standard streams": "(sys.stdout, sys.stderr, sys.stdin)",
    "the recursion limit": "sys.getrecursionlimit()",
    "whether garbage is collected": "gc.isenabled()",
    "the random state of torch": "torch.get_rng_state().tolist()",
    "the default dtype of torch": "torch.get_default_dtype()",
    "the default device of torch": "torch.get_default_device()",
    "whether torch records gradients": "torch.is_grad_enabled()",
    "the thread count of torch": "torch.get_num_threads()",
    "the precision of matrix products in torch": f"(torch.get_float32_matmul_precision(), {_TORCH_MATMUL})",
    "whether torch is deterministic": "torch.are_deterministic_algorithms_enabled()",
    "the thread count of numba": "numba.get_num_threads()",
    "the precision of mpmath": "mpmath.mp.prec",
    "the precision of flint": "flint.ctx.prec",
}
"""Part of the state of a process, see `state` -> an expression for it."""
_AGAIN = {"environment variables": ("os.environ.clear()", "os.environ.update(before[{name!r}])")}
"""Part that an import may change -> lines that put it back after a first call, which makes the imports."""
_REAL = {
    "numpy": (
        "(type({0}) in (np.ndarray, np.memmap, float, int) or isinstance({0}, np.generic))"
        ' and np.asarray({0}).dtype.kind not in "cmMOSU"'
    ),
    "torch": (
        "isinstance({0}, float | int) or isinstance({0}, torch.Tensor)"
        " and not ({0}.is_complex() or {0}.is_meta or {0}.layout is not torch.strided)"
    ),
    "jax": "isinstance({0}, jax.Array | float | int)",
    "cupy": "isinstance({0}, cupy.ndarray | float | int)",
}
"""Kind of array -> whether something is one of real numbers."""


def turns_of(turn: int) -> int:
    """How often a script makes calls of which something was wrong when they were made for the `turn`-th time."""
    return max(REPEATED, 4 * turn)


_ENDING = ("KeyboardInterrupt", "SystemExit")
"""What ends a script that does not catch it, without a traceback or with the exit code of a success."""


class EffectWriter(Writer):
    """Writes scripts that show an effect of a call."""

    def raised(self, check: str, one: Seen) -> str:
        """A call that raises, whose traceback is the finding; or one that returns something else than an array."""
        lines, names = self.arrays(one.call, "")
        text, title = self.text(one.call, names), f"{check}: {one.outcome.error or one.outcome.crash or 'no output'}"
        kind = self.target.array_library
        if self.program:
            # A line too many is noticed with the request after it.
            again = ["time.sleep(0.5)", f"print({text})"] if any(words in title for words in UNASKED) else []
            return self.head(title, [*lines, f"print({text})", *again])
        if (one.outcome.error or "").partition(":")[0] in _ENDING:
            # Uncaught it would end the script as if nothing were wrong.
            autograd = one.call.mode == "vjp" and not has_vjp(self.caller)
            called = self.called(one, names, None) if autograd else [f"got = {text}"]
            body = ["try:", *(f"    {line}" for line in called), f"except ({', '.join(_ENDING)}) as error:"]
            ends = ['    sys.exit(f"the call raised {error!r}")', 'print("the call returned")']
            return self.head(title, [*lines, *body, *ends])
        if one.call.mode == "forward":
            real = _REAL[kind].format("got")
            body = [f"got = {text}", *self.picked("got"), f"sound = {real}"]
        elif has_vjp(self.caller):
            body = [
                f"got = {text}",
                f"sound = bool(got) and all({_REAL[kind].format('value')} for value in got.values())",
            ]
        else:
            body = [*self.called(one, names, None), f"got, sound = {one.variable}, bool({one.variable})"]
            if CARRIES_NONE in (one.outcome.error or ""):
                at = next(at for at, line in enumerate(body) if line.startswith("output.backward("))
                body[at:at] = ["if not output.requires_grad:", f"    sys.exit({CARRIES_NONE!r})"]
        wanted = f"{kind} array of real numbers"
        wanted = f"a {wanted}" if one.call.mode == "forward" else f"a dict with a {wanted} for each gradient"
        body += [
            "print(got)",
            f'print(f"the call returned {{type(got).__qualname__}}; it must return {wanted}", "WRONG" * (not sound))',
            "sys.exit(0 if sound else 1)",
        ]
        return self.head(title, [*lines, *body])

    def unraised(self, check: str, one: Seen) -> str:
        """A call that has to raise and returns."""
        lines, names = self.arrays(one.call, "")
        body = [
            *lines,
            "try:",
            f"    got = {self.text(one.call, names)}",
            f"except {self.raises} as error:",
            '    sys.exit(print(f"the call raised {error!r}, as it must"))',
            "print(got)",
            'sys.exit("an empty row must raise; the call returned")',
        ]
        return self.head(check, body)

    def repeated(self, check: str, seen: dict[str, Seen]) -> str:
        """Calls whose bits change."""
        one = next(iter(seen.values()))
        for first, second in (("forward", "forward again"), ("vjp", "vjp again")):
            if second in seen and not _same(seen[first], seen[second]):
                one = seen[first]
        lines, names = self.arrays(one.call, "")
        raw = f"{one.variable}_raw"
        read = to_numpy(self.target.array_library)
        called = [*self.called(one, names, None)]
        if one.call.mode == "forward":
            called += [f"return {read.format(raw)}.tobytes()"]
        else:
            called += [f"return b''.join({one.variable}[name].tobytes() for name in sorted({one.variable}))"]
        if any(each.outcome.error is not None for each in seen.values()):
            called = [
                "try:",
                *(f"    {line}" for line in called),
                f"except {self.raises} as error:",
                "    return repr(error)",
            ]
        given = next(iter(names.values()))
        turned = f"{given}.flip(-1)" if self.target.array_library == "torch" else f"{given}[..., ::-1]"
        if self.program:
            turned = "other"
            lines.append(request_line(turned, self.case, turned_call(one.call)))
        body = [
            "def bits(turned=False):",
            *(f"    {line}" for line in lines),
            f"    {given} = {turned} if turned else {given}",
            *(f"    {line}" for line in called),
            "",
            "",
            "first, changed = bits(), 0",
            f"for turn in range({REPEATED}):",
            "    if turn % 3 == 2:",
            "        bits(turned=True)  # what a call leaves behind must not reach the next one",
            "    changed += bits() != first",
            f'print(f"{{changed}} of {REPEATED} calls on the same input gave other bits")',
            "sys.exit(1 if changed else 0)",
        ]
        return self.head(check, body)

    def untouched(self, check: str, seen: dict[str, Seen], turn: int) -> str:
        """A call that changes what it is given; "" if none does."""
        one = next((each for each in seen.values() if each.outcome.modified), None)
        if one is None:
            return ""
        lines, names = self.arrays(one.call, "")
        changed = names[one.outcome.modified[0]]
        read = changed if self.target.array_library == "numpy" else to_numpy(self.target.array_library).format(changed)
        body = self._in_turns(
            turn,
            [
                *lines,
                f"before = {read}.tobytes()",
                *self._quiet(one, self.called(one, names, None)),
                f"after = {read}.tobytes()",
                "if before != after:",
                f'    sys.exit("the call CHANGED {changed}")',
            ],
        )
        return self.head(check, [*body, f'print("the call left {changed}")'])

    def changed(self, check: str, seen: dict[str, Seen], turn: int) -> str:
        """A call that changes the state of its process; "" if none does, or no expression shows what it changes."""
        one = next((each for each in seen.values() if each.outcome.changed), next(iter(seen.values())))
        held = [name for name in one.outcome.changed if name in STATES]
        if not held:
            return ""
        lines, names = self.arrays(one.call, "")
        called = self._quiet(one, self.called(one, names, None))
        again = [line.format(name=name) for name in held for line in _AGAIN.get(name, ())]
        warm = [*called, "# The first call may import what sets variables; that is no fault.", *again]
        body = [
            "def state():",
            "    return {",
            *(f"        {name!r}: {STATES[name]}," for name in held),
            "    }",
            "",
            "",
            *lines,
            "before = state()",
            *(warm if set(held) <= set(_AGAIN) else []),
            *self._in_turns(turn, called),
            "after = state()",
            "for name, value in before.items():",
            "    print(f\"the call {'left' if after[name] == value else 'CHANGED'} {name}\", file=sys.__stdout__)",
            "sys.exit(0 if before == after else 1)",
        ]
        return self.head(check, body)

    @staticmethod
    def _in_turns(turn: int, lines: list[str]) -> list[str]:
        """`lines`; in a loop where what is wrong did not show the first time."""
        if turn == 1:
            return lines
        head = [f"# It is {AGAIN} some times.", f"for turn in range({turns_of(turn)}):"]
        return [*head, *(f"    {line}" for line in lines)]

    def _quiet(self, one: Seen, called: list[str]) -> list[str]:
        """The lines of a call; where it raises too, that is told, and not the end."""
        if one.outcome.error is None:
            return called
        return [
            "try:",
            *(f"    {line}" for line in called),
            "except Exception as error:",
            '    print(f"the call raised {error!r}")',
        ]

    def crash(self, call: Call) -> str:
        """A call in a process of its own, which it may take down, hang or fill."""
        lines, names = self.arrays(call, "")
        called = self.called(Seen("got", call, Outcome(), None), names, None)
        if self.program:
            # What it remembers may be what ends it.
            turns = [
                "ends = time.monotonic() + 20",
                f"for turn in range({REPEATED}):",
                *(f"    {line}" for line in called),
                "    if time.monotonic() > ends:",
                "        break",
            ]
            return self.head("crash", [*lines, *turns, "print(got_raw)"])
        if call.mode == "vjp":
            # As a worker does: what a gradient ends in may be what the plain call left in memory.
            called = [*self.called(Seen("plain", Call(call.inputs), Outcome(), None), names, None), *called]
        guarded = [
            "parent, ends = os.getpid(), time.monotonic() + 20",
            f"for turn in range({REPEATED}):",
            "    try:",
            *(f"        {line}" for line in called),
            "    finally:",
            "        if os.getpid() != parent:",
            f"            print({CAME_BACK!r}, flush=True)",
            "            os._exit(9)",
            "    if time.monotonic() > ends:",
            "        break",
            "print(got_raw)",
        ]
        inner = self.head("crash", [*lines, *guarded])
        inner = inner.partition('"""\n')[2].replace("\\", "\\\\").replace("'''", "\\'\\'\\'")
        body = [
            f"CALL = '''{inner.strip()}\nprint(\"returned\")\n'''",
            "try:",
            "    run = subprocess.run([sys.executable, '-c', CALL], capture_output=True, text=True, timeout=60)",
            "except subprocess.TimeoutExpired:",
            '    sys.exit("no answer in 60 s")',
            f"fault = {CAME_BACK!r} in run.stdout or run.returncode != 0",
            'fault = fault or not run.stdout.rstrip().endswith("returned")',
            'print(run.stdout, run.stderr, f"exit code {run.returncode}")',
            "sys.exit(1 if fault else 0)",
        ]
        label = f"{self.target.name}: {self.case.op}, order {self.case.order_label}, {self.case.dtype}"
        quoted = safe(f"crash of {label}" + (f"\n\n{self.message}" if self.message else ""))
        return "\n".join([f'"""{quoted}"""', "", "import subprocess", "import sys", "", *body, ""])


def _same(one: Seen, other: Seen) -> bool:
    left, right = one.outcome.arrays, other.outcome.arrays
    alike = set(left) == set(right) and one.outcome.error == other.outcome.error
    return alike and all(left[name].tobytes() == right[name].tobytes() for name in left)
