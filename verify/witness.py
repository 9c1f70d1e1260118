"""Witness scripts: a few lines to paste that call a target on exact inputs and exit nonzero on the fault.

A script needs the target and NumPy (PyTorch, if the target takes tensors). Only where the target itself takes
kernels and rules, or where a fault shows in no single number, does it import this package.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import Any

import numpy as np

from kernelproof.verify.calling import Calling
from kernelproof.verify.discovery import checks
from kernelproof.verify.fuzz.subject import CRASH, Subject
from kernelproof.verify.guarding import Guard
from kernelproof.verify.loading import PROGRAM
from kernelproof.verify.measure import broken
from kernelproof.verify.messages import request
from kernelproof.verify.scope import case_of
from kernelproof.verify.seams import Call, Inputs, Truth
from kernelproof.verify.witness_claims import Claim, Seen, claims
from kernelproof.verify.witness_text import (
    LARGEST,
    array_text,
    call_text,
    has_vjp,
    leaves,
    model_imports,
    picked_lines,
    target_lines,
)
from kernelproof.verify.worker import JUDGING, Step, truths_for

WHOLE = frozenset({"axis", "global_state", "poison", "zero_upstream"})
"""Checks whose scripts run the case again with this package: what they claim is of no single number of one call."""
CAME_BACK = "a child process of the call came back"
REPEATED = 100
"""Calls that a script for changing results makes."""


def script_for(subject: Subject, check: str, guard: Guard, step: Step, message: str = "") -> str:
    """The script that shows the failure of `check` on `subject`; "" where only the case of the recipe can show it.

    Args:
        subject: the witness.
        check: id of the check; `CRASH` for what ends the process, where nothing is called here.
        guard: of the loaded target.
        step: told before each call.
        message: what the check said.
    """
    inputs, caller = subject.built(), guard.caller
    writer = _Writer(subject, inputs, caller, message)
    if caller.target.array == "cupy":
        return writer.fallback(check)
    if max((array.size for array in inputs.arrays.values()), default=0) > LARGEST:
        return writer.fallback(check)
    if check == CRASH:
        return writer.crash()
    calls = checks()[check].calls(subject.case, inputs)
    calls = {name: call for name, call in calls.items() if caller.target.answers(subject.case, call)}
    # These show in no number: in what a call left behind, or along a whole row.
    if check in WHOLE or (caller.target.array == "jax" and any(call.mode == "vjp" for call in calls.values())):
        return writer.fallback(check)
    seen: dict[str, Seen] = {}
    with guard:
        for name, call in calls.items():
            step(check, name)
            outcome = guard.call(subject.case, call, lambda: None)
            seen[name] = Seen(variable(name), call, outcome, None)
    step("", JUDGING)
    seen = {name: replace(one, truth=_truth(subject, one.call, caller)) for name, one in seen.items()}
    return writer.shown(check, seen)


def variable(name: str) -> str:
    """The name of the output of a call in a script.

    >>> variable("forward"), variable("forward again"), variable("row 3")
    ('got', 'forward_again', 'row_3')
    """
    known = {"forward": "got", "vjp": "gradient"}
    word = known.get(name, re.sub(r"\W", "_", name))
    return word if word.isidentifier() else f"call_{word}"


def _truth(subject: Subject, call: Call, caller: Calling) -> Truth | None:
    # What an empty row is filled with is the claim's to say; truth would raise where the call has to.
    options = {name: value for name, value in call.inputs.options.items() if name != "empty"}
    if call.axis != -1:
        return None
    case = case_of(subject.case, call)
    return truths_for(case, replace(call.inputs, options=options))(caller.target.contract)[0]


class _Writer:
    """Writes the script of one subject."""

    def __init__(self, subject: Subject, inputs: Inputs, caller: Calling, message: str) -> None:
        self.subject, self.inputs, self.caller, self.message = subject, inputs, caller, message
        self.case, self.target = subject.case, caller.target
        self.program = self.target.place.name.startswith(PROGRAM)
        found = getattr(caller, "found", None)
        last = self.target.place.object.rpartition(".")[2]
        self.made = last != "" and type(found).__name__ == last

    def head(self, title: str, body: list[str]) -> str:
        """The whole script: docstring, imports that `body` needs, the target, and `body`."""
        text = "\n".join(body)
        loaded = [] if self.program else target_lines(self.target, made=self.made)
        whole = "\n".join([*loaded, text])
        plain = ["importlib.util", "json", "math", "signal", "subprocess", "sys"]
        imports = [f"import {name}" for name in plain if f"{name}." in whole or f"{name}," in whole]
        named = [name for name in ("inf", "nan") if re.search(rf"(?<![.\w]){name}\b", text)]
        imports += [f"from math import {', '.join(named)}"] if named else []
        imports += [*model_imports(text)[:1]] if "Fraction(" in text else []
        third = [line for line in model_imports(text) if "kernelproof" in line]
        third += [f"import {name}" for name in ("jax", "ml_dtypes", "torch") if f"{name}." in text]
        third += ["import jax.numpy as jnp"] if "jnp." in text else []
        third += ["import numpy as np"] if "np." in text else []
        label = f"{self.target.name}: {self.case.op}, order {self.case.order_label}, {self.case.dtype}"
        quoted = _safe(f"{title} of {label}" + (f"\n\n{self.message}" if self.message else ""))
        lines = [f'"""{quoted}"""', "", *sorted(imports), "", *third, "", *loaded, "", text, ""]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))

    def arrays(self, call: Call, suffix: str) -> tuple[list[str], dict[str, str]]:
        """Lines that make the arrays of a call, and their variables."""
        held: dict[str, Any] = {**call.inputs.arrays}
        held |= {name: value for name, value in call.inputs.options.items() if hasattr(value, "dtype")}
        if call.mode == "vjp" and call.inputs.cotangent is not None:
            held["cotangent"] = call.inputs.cotangent
        lines, names = [], {}
        for name, array in held.items():
            names[name] = name + suffix
            lines.append(f"{names[name]} = {array_text(np.asarray(array), self.target)}")
            if self.target.array == "numpy" and not array.flags.writeable:
                lines.append(f"{names[name]}.flags.writeable = False")
        return lines, names

    def called(self, one: Seen, names: dict[str, str], width: int) -> list[str]:
        """Lines that call the target and leave float64 rows, or gradients by name, in the variable of `one`."""
        text = call_text(self.case, one.call, self.caller, names)
        raw = f"{one.variable}_raw"
        convert = (
            "{}.detach().cpu().to(torch.float64).numpy()"
            if self.target.array == "torch"
            else "np.asarray({}).astype(np.float64)"
        )
        if one.call.mode == "forward":
            lines = [f"{raw} = {text}", *picked_lines(raw, self.caller, self.case.op)]
            return [*lines, f"{one.variable} = {convert.format(raw)}.reshape(-1, {max(width, 1)})"]
        if has_vjp(self.caller):
            lines = [f"{raw} = {text}"]
        else:
            held = {name: names[name] for name in leaves(self.case, one.call, self.caller)}
            grads = ", ".join(f'"{name}": {leaf}.grad' for name, leaf in held.items())
            lines = [
                *(f"{leaf}.requires_grad_(True)" for leaf in held.values()),
                f"output = {text}",
                *picked_lines("output", self.caller, self.case.op),
                f"output.backward({names['cotangent']})",
                f"{raw} = {{{grads}}}",
                f"{raw} = {{name: value for name, value in {raw}.items() if value is not None}}",
            ]
        each = "torch.as_tensor(value)" if self.target.array == "torch" else "value"
        return [*lines, f"{one.variable} = {{name: {convert.format(each)} for name, value in {raw}.items()}}"]

    def shown(self, check: str, seen: dict[str, Seen]) -> str:
        """The script for a check whose calls gave `seen`."""
        failed = next((one for one in seen.values() if broken(one.outcome) is not None), None)
        if failed is not None:
            return self.fallback(check) if self.program else self.raised(check, failed)
        if self.program and check == "determinism":
            return self.fallback(check)
        if check == "determinism":
            return self.repeated(seen)
        if check == "input_untouched":
            return self.untouched(seen)
        found = claims(check, self.case, seen, self.target.contract)
        if self.program or not any(not claim.met for claim in found):
            return self.program_claims(check, seen, found) if self.program else self.fallback(check)
        if any("gradient" in claim.expression for claim in found) and not has_vjp(self.caller):
            kept = [f'["{name}"]' for name in leaves(self.case, seen["vjp"].call, self.caller)] if "vjp" in seen else []
            found = [
                claim
                for claim in found
                if "gradient" not in claim.expression or any(k in claim.expression for k in kept)
            ]
            if not any(not claim.met for claim in found):
                return self.fallback(check)
        used = {name: one for name, one in seen.items() if any(one.variable in claim.expression for claim in found)}
        body = []
        for at, one in enumerate(used.values()):
            lines, names = self.arrays(one.call, "" if at == 0 else f"_{one.variable}")
            width = 1 if one.truth is None else one.truth.output.head.shape[-1]
            body += [*lines, *self.called(one, names, width)]
        return self.head(f"{check}", [*body, *_claimed(found)])

    def program_claims(self, check: str, seen: dict[str, Seen], found: list[Claim]) -> str:
        """The request of one call, piped to the program; the case run again where no number of one call shows it."""
        one = next(
            (each for each in seen.values() if any(f"{each.variable}[" in c.expression for c in found if not c.met)),
            None,
        )
        kept = [] if one is None else [claim for claim in found if f"{one.variable}[" in claim.expression]
        if one is None or one.call.mode != "forward" or check == "dtype_kept":
            return self.fallback(check)
        width = 1 if one.truth is None else max(one.truth.output.head.shape[-1], 1)
        body = [
            f"REQUEST = {json.dumps(json.dumps(request(self.case, one.call, 1)))}",
            f"WORDS = {shlex.split(self.target.place.name.removeprefix(PROGRAM))!r}",
            'run = subprocess.run(WORDS, input=REQUEST + "\\n", capture_output=True, text=True, timeout=60)',
            "print(run.stderr, end='')",
            'data = json.loads(run.stdout.splitlines()[0])["output"]',
            "data = data['data'] if isinstance(data, dict) else data",
            "values = [float.fromhex(x) if isinstance(x, str) and 'x' in x.lower() else float(x) for x in data]",
            f"{one.variable} = np.array(values).reshape(-1, {width})",
            *_claimed(kept),
        ]
        return self.head(check, body)

    def raised(self, check: str, one: Seen) -> str:
        """A call that raises; the traceback is the finding."""
        lines, names = self.arrays(one.call, "")
        text = call_text(self.case, one.call, self.caller, names)
        body = [*lines]
        if one.call.mode == "vjp" and not has_vjp(self.caller):
            body += self.called(one, names, 1)
            body += ["print(gradient)"]
        else:
            kinds = {"torch": "torch.Tensor", "jax": "jax.Array"}.get(self.target.array, "np.ndarray | np.generic")
            kinds = "dict" if one.call.mode == "vjp" else f"{kinds} | float | int"
            body += [
                f"got = {text}",
                *picked_lines("got", self.caller, self.case.op),
                "print(got)",
                f"sys.exit(0 if isinstance(got, {kinds}) else 1)",
            ]
        return self.head(f"{check}: {one.outcome.error or one.outcome.crash}", body)

    def repeated(self, seen: dict[str, Seen]) -> str:
        """Calls whose bits change."""
        one = next(iter(seen.values()))
        for first, second in (("forward", "forward again"), ("vjp", "vjp again")):
            if second in seen and not _same(seen[first], seen[second]):
                one = seen[first]
        lines, names = self.arrays(one.call, "")
        width = 1 if one.truth is None else one.truth.output.head.shape[-1]
        indented = [f"    {line}" for line in self.called(one, names, width)]
        bits = (
            "got.tobytes()"
            if one.call.mode == "forward"
            else "b''.join(gradient[name].tobytes() for name in sorted(gradient))"
        )
        body = [
            "def bits():",
            *(f"    {line}" for line in lines),
            *indented,
            f"    return {bits}",
            "",
            "",
            "first = bits()",
            f"changed = sum(bits() != first for _ in range({REPEATED}))",
            f'print(f"{{changed}} of {REPEATED} calls on the same input gave other bits")',
            "sys.exit(1 if changed else 0)",
        ]
        return self.head("determinism", body)

    def untouched(self, seen: dict[str, Seen]) -> str:
        """A call that changes what it is given."""
        one = next((each for each in seen.values() if each.outcome.modified), next(iter(seen.values())))
        lines, names = self.arrays(one.call, "")
        changed = names[one.outcome.modified[0]] if one.outcome.modified else next(iter(names.values()))
        read = f"{changed}.detach().cpu().to(torch.float64).numpy()" if self.target.array == "torch" else changed
        width = 1 if one.truth is None else one.truth.output.head.shape[-1]
        body = [
            *lines,
            f"before = {read}.tobytes()",
            *self.called(one, names, width),
            f"after = {read}.tobytes()",
            f'print("the call {{}} {changed}".format("left" if before == after else "CHANGED"))',
            "sys.exit(0 if before == after else 1)",
        ]
        return self.head("input_untouched", body)

    def crash(self) -> str:
        """A call in a process of its own, which it may take down, hang or fill."""
        if self.program:
            return self.fallback("crash")
        lines, names = self.arrays(Call(self.inputs), "")
        guarded = [
            "import os",
            "",
            "parent = os.getpid()",
            "try:",
            f"    print({call_text(self.case, Call(self.inputs), self.caller, names)})",
            "finally:",
            "    if os.getpid() != parent:",
            f"        print({CAME_BACK!r}, flush=True)",
            "        os._exit(9)",
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
        quoted = _safe(f"crash of {label}" + (f"\n\n{self.message}" if self.message else ""))
        return "\n".join([f'"""{quoted}"""', "", "import subprocess", "import sys", "", *body, ""])

    def fallback(self, check: str) -> str:
        """The case run again by this package; "" where the subject is no recipe."""
        if self.subject.inputs is not None:
            return ""
        words = f"{self.target.name!r}, case={self.case.text!r}, device={self.target.device!r}"
        for name, value in zip(self.target.place.words[::2], self.target.place.words[1::2], strict=True):
            words += f", {name.removeprefix('--')}={value!r}"
        body = [
            f"results = kernelproof.verify({words})",
            "found = {check.id: check for check in results.targets[0].checks}",
            f"shown = found[{check!r}] if {check!r} in found else next(iter(found.values()))",
            "print(shown.verdict, shown.worst.message if shown.worst else '')",
            'sys.exit(1 if shown.failed or shown.verdict == "CRASH" else 0)',
        ]
        quoted = _safe(f"{check} of {self.target.name}: {self.case.text}")
        guard = ['if __name__ == "__main__":', *(f"    {line}" for line in body)]
        return "\n".join([f'"""{quoted}"""', "", "import sys", "", "import kernelproof", "", *guard, ""])


def _same(one: Seen, other: Seen) -> bool:
    left, right = one.outcome.arrays, other.outcome.arrays
    return set(left) == set(right) and all(left[name].tobytes() == right[name].tobytes() for name in left)


def _safe(text: str) -> str:
    """`text` for a docstring: ASCII quotes and backslashes of targets' messages end none."""
    return text.replace("\\", "\\\\").replace('"""', "'''").rstrip('"')


def _claimed(found: list[Claim]) -> list[str]:
    rows = [
        f"    ({claim.expression!r}, {claim.expression}, {claim.expected!r}, {claim.low!r}, {claim.high!r}),"
        for claim in found
    ]
    return [
        "wrong = 0",
        "# what, what came, the exact value correctly rounded, the least and the largest that is allowed",
        "for what, value, expected, low, high in [",
        *rows,
        "]:",
        "    fault = not (low <= value <= high or (value != value and low != low))",
        "    wrong += fault",
        '    print(f"{what} = {float(value)!r}, expected {expected!r}, allowed {low!r} to {high!r}", "WRONG" * fault)',
        "sys.exit(1 if wrong else 0)",
    ]
