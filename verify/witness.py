"""Witness scripts: a few lines to paste that call a target on exact inputs and exit nonzero on the fault.

A script needs the target and NumPy (PyTorch, if the target takes tensors). Only where the target itself takes
kernels and rules, or where a fault shows in no single number, does it import this package.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from kernelproof.verify.discovery import checks
from kernelproof.verify.fuzz.subject import CRASH, Subject
from kernelproof.verify.measure import broken
from kernelproof.verify.seams import Call, Inputs, Truth
from kernelproof.verify.targets import Caller
from kernelproof.verify.witness_claims import Claim, Seen, claims
from kernelproof.verify.witness_text import (
    LARGEST,
    array_text,
    call_text,
    has_vjp,
    model_imports,
    target_lines,
)
from kernelproof.verify.worker import Step, truths_for

REPEATED = 100
"""Calls that a script for changing results makes."""


def script_for(subject: Subject, check: str, caller: Caller, step: Step, message: str = "") -> str:
    """The script that shows the failure of `check` on `subject`; "" if no script of ours can show it.

    Args:
        subject: the witness.
        check: id of the check; `CRASH` for what ends the process, where nothing is called here.
        caller: the loaded target.
        step: told before each call.
        message: what the check said.
    """
    inputs = subject.built()
    writer = _Writer(subject, inputs, caller, message)
    if max((array.size for array in inputs.arrays.values()), default=0) > LARGEST:
        return writer.fallback(check)
    if check == CRASH:
        return writer.crash()
    calls = checks()[check].calls(subject.case, inputs)
    calls = {name: call for name, call in calls.items() if caller.target.differentiable or call.mode != "vjp"}
    seen: dict[str, Seen] = {}
    for name, call in calls.items():
        step(check, name)
        seen[name] = Seen(variable(name), call, caller(subject.case, call), _truth(subject, call, caller))
    return writer.shown(check, seen)


def variable(name: str) -> str:
    """The name of the output of a call in a script.

    >>> variable("forward"), variable("forward again"), variable("row 3")
    ('got', 'forward_again', 'row_3')
    """
    known = {"forward": "got", "vjp": "gradient"}
    word = known.get(name, re.sub(r"\W", "_", name))
    return word if word.isidentifier() else f"call_{word}"


def _truth(subject: Subject, call: Call, caller: Caller) -> Truth | None:
    # What an empty row is filled with is the claim's to say; truth would raise where the call has to.
    options = {name: value for name, value in call.inputs.options.items() if name != "empty"}
    return truths_for(subject.case, replace(call.inputs, options=options))(caller.target.contract)[0]


class _Writer:
    """Writes the script of one subject."""

    def __init__(self, subject: Subject, inputs: Inputs, caller: Caller, message: str) -> None:
        self.subject, self.inputs, self.caller, self.message = subject, inputs, caller, message
        self.case, self.target = subject.case, caller.target

    def head(self, title: str, body: list[str]) -> str:
        """The whole script: docstring, imports that `body` needs, the target, and `body`."""
        text = "\n".join(body)
        loaded = target_lines(self.target)
        whole = "\n".join([*loaded, text])
        plain = ["importlib.util", "math", "signal", "subprocess", "sys"]
        imports = [f"import {name}" for name in plain if f"{name}." in whole or f"{name}," in whole]
        named = [name for name in ("inf", "nan") if re.search(rf"(?<![.\w]){name}\b", text)]
        imports += [f"from math import {', '.join(named)}"] if named else []
        imports += [*model_imports(text)[:1]] if "Fraction(" in text else []
        third = [line for line in model_imports(text) if "kernelproof" in line]
        third += [f"import {name}" for name in ("ml_dtypes", "torch") if f"{name}." in text]
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
            lines = [f"{raw} = {text}", f"{raw} = {raw}[0] if isinstance({raw}, tuple) else {raw}"]
            return [*lines, f"{one.variable} = {convert.format(raw)}.reshape(-1, {max(width, 1)})"]
        if has_vjp(self.caller):
            lines = [f"{raw} = {text}"]
        else:
            leaf = names["z"]
            lines = [
                f"{leaf}.requires_grad_(True)",
                f"output = {text}",
                f"(output[0] if isinstance(output, tuple) else output).backward({names['cotangent']})",
                f'{raw} = {{"z": {leaf}.grad}}',
            ]
        each = "torch.as_tensor(value)" if self.target.array == "torch" else "value"
        return [*lines, f"{one.variable} = {{name: {convert.format(each)} for name, value in {raw}.items()}}"]

    def shown(self, check: str, seen: dict[str, Seen]) -> str:
        """The script for a check whose calls gave `seen`."""
        failed = next((one for one in seen.values() if broken(one.outcome) is not None), None)
        if failed is not None:
            return self.raised(check, failed)
        if check == "determinism":
            return self.repeated(seen)
        if check == "input_untouched":
            return self.untouched(seen)
        found = claims(check, self.case, seen, self.target.contract)
        if not any(not claim.met for claim in found):
            return self.fallback(check)
        used = {name: one for name, one in seen.items() if any(one.variable in claim.expression for claim in found)}
        body = []
        for at, one in enumerate(used.values()):
            lines, names = self.arrays(one.call, "" if at == 0 else f"_{one.variable}")
            width = 1 if one.truth is None else one.truth.output.head.shape[-1]
            body += [*lines, *self.called(one, names, width)]
        return self.head(f"{check}", [*body, *_claimed(found)])

    def raised(self, check: str, one: Seen) -> str:
        """A call that raises; the traceback is the finding."""
        lines, names = self.arrays(one.call, "")
        text = call_text(self.case, one.call, self.caller, names)
        body = [*lines]
        if one.call.mode == "vjp" and not has_vjp(self.caller):
            body += self.called(one, names, 1)
            body += ["print(gradient)"]
        else:
            kinds = "torch.Tensor" if self.target.array == "torch" else "np.ndarray | np.generic"
            kinds = "dict" if one.call.mode == "vjp" else f"{kinds} | float | int"
            body += [
                f"got = {text}",
                "got = got[0] if isinstance(got, tuple) else got",
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
        lines, names = self.arrays(Call(self.inputs), "")
        inner = self.head("crash", [*lines, f"print({call_text(self.case, Call(self.inputs), self.caller, names)})"])
        inner = inner.partition('"""\n')[2].replace("\\", "\\\\").replace("'''", "\\'\\'\\'")
        body = [
            f"CALL = '''{inner.strip()}\nprint(\"returned\")\n'''",
            "try:",
            "    run = subprocess.run([sys.executable, '-c', CALL], capture_output=True, text=True, timeout=60)",
            "except subprocess.TimeoutExpired:",
            '    sys.exit("no answer in 60 s")',
            'fault = run.returncode != 0 or not run.stdout.rstrip().endswith("returned")',
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
