"""How a witness script is written: its head, its arrays, its calls, and the lines that hold numbers against claims."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.judging.claims import Claim, Seen
from kernelproof.verify.records import Call, Inputs
from kernelproof.verify.targets.caller import Calling
from kernelproof.verify.targets.loading import PROGRAM
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.witness.pieces import (
    array_text,
    call_text,
    has_vjp,
    leaves,
    model_imports,
    number_lines,
    picked_lines,
    target_lines,
    to_numpy,
)
from kernelproof.verify.witness.programs import asked, program_lines, request_line

FALLBACK = "results = kernelproof.verify("
"""A line of a script that runs the case again with this package begins so."""


class Writer:
    """Writes scripts for one subject."""

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
        loaded = program_lines(self.target, text) if self.program else target_lines(self.target, made=self.made)
        whole = "\n".join([*loaded, text])
        plain = ["atexit", "base64", "contextlib", "gc", "importlib.util", "json", "locale", "math", "os", "random"]
        plain += ["select", "signal", "subprocess", "sys", "threading", "time", "zlib"]
        imports = [f"import {name}" for name in plain if re.search(rf"(?<![.\w]){re.escape(name)}\.", whole)]
        named = [name for name in ("inf", "nan") if re.search(rf"(?<![.\w]){name}\b", text)]
        imports += [f"from math import {', '.join(named)}"] if named else []
        imports += [*model_imports(text)[:1]] if "Fraction(" in text else []
        third = [line for line in model_imports(text) if "kernelproof" in line]
        own = whole if self.program else text
        third += [
            f"import {name}"
            for name in ("cupy", "flint", "jax", "ml_dtypes", "mpmath", "numba", "torch")
            if f"{name}." in own
        ]
        third += ["import jax.numpy as jnp"] if "jnp." in text else []
        third += ["import numpy as np"] if "np." in own else []
        label = f"{self.target.name}: {self.case.op}, order {self.case.order_label}, {self.case.dtype}"
        quoted = safe(f"{title} of {label}" + (f"\n\n{self.message}" if self.message else ""))
        lines = [f'"""{quoted}"""', "", *sorted(imports), "", *third, "", *loaded, "", text, ""]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))

    def arrays(self, call: Call, suffix: str) -> tuple[list[str], dict[str, str]]:
        """Lines that make the arrays of a call, and their variables."""
        if self.program:
            name = f"request{suffix}"
            return [request_line(name, self.case, call)], {"request": name}
        held: dict[str, Any] = {**call.inputs.arrays}
        held |= {name: value for name, value in call.inputs.options.items() if hasattr(value, "dtype")}
        if call.mode == "vjp" and call.inputs.cotangent is not None:
            held["cotangent"] = call.inputs.cotangent
        lines, names = [], {}
        for name, array in held.items():
            names[name] = name + suffix
            lines.append(f"{names[name]} = {array_text(np.asarray(array), self.target)}")
            if self.target.array_library == "numpy" and not array.flags.writeable:
                lines.append(f"{names[name]}.flags.writeable = False")
        return lines, names

    def text(self, call: Call, names: dict[str, str]) -> str:
        """An expression for what a call returns."""
        if self.program:
            return asked(self.case, call, names["request"])
        return call_text(self.case, call, self.caller, names)

    def picked(self, variable: str) -> list[str]:
        """Lines that leave the output in `variable`, which holds what a call returned."""
        return [] if self.program else picked_lines(variable, self.caller, self.case.op)

    @property
    def raises(self) -> str:
        """What a call of a script raises that fails."""
        return "(Exception, SystemExit)" if self.program else "Exception"

    def called(self, one: Seen, names: dict[str, str], width: int | None) -> list[str]:
        """Lines that call the target and leave float64 rows, or gradients by name, in the variable of `one`.

        Rows have the length `width`; with None the array has the shape that came.
        """
        text, raw = self.text(one.call, names), f"{one.variable}_raw"
        convert = to_numpy(self.target.array_library) + (
            "" if self.target.array_library == "torch" else ".astype(np.float64)"
        )
        if one.call.mode == "forward":
            lines = [f"{raw} = {text}", *self.picked(raw)]
            if width is None:
                return lines
            value = convert.format(raw)
            value = value if one.call.axis == -1 else f"np.moveaxis({value}, {one.call.axis}, -1)"
            rows = one.call.inputs.rows
            picked = "" if rows is None else f"[{rows.tolist()}]"
            return [*lines, f"{one.variable} = {value}.reshape(-1, {max(width, 1)}){picked}"]
        if self.program:
            lines = [f"{raw} = {text}"]
        elif has_vjp(self.caller):
            lines = [f"{raw} = {{str(name): value for name, value in {text}.items()}}"]
        else:
            lines = self.differentiated(one, names)
        each = "torch.as_tensor(value)" if self.target.array_library == "torch" else "value"
        lines += [f"{one.variable} = {{name: {convert.format(each)} for name, value in {raw}.items()}}"]
        return [*lines, *other_number(one, self.case)]

    def differentiated(self, one: Seen, names: dict[str, str]) -> list[str]:
        """Lines that leave the gradients of autograd, by name, in what is raw of `one`."""
        raw, numbers = f"{one.variable}_raw", number_lines(self.case, one.call, self.caller)
        held = {name: names[name] for name in leaves(self.case, one.call, self.caller)}
        held |= {role: role for role in numbers}
        text = call_text(self.case, one.call, self.caller, names, numbers)
        called = [f"output = {text}", *picked_lines("output", self.caller, self.case.op)]
        if self.target.array_library == "jax":
            return [
                *numbers.values(),
                f"def output_of({', '.join(held.values())}):",
                *(f"    {line}" for line in called),
                "    return output",
                f"_, pull = jax.vjp({', '.join(['output_of', *held.values()])})",
                f"{raw} = dict(zip({list(held)!r}, pull({names['cotangent']})))",
            ]
        grads = ", ".join(f'"{name}": {leaf}.grad' for name, leaf in held.items())
        return [
            *numbers.values(),
            *(f"{leaf}.requires_grad_(True)" for leaf in held.values()),
            *called,
            f"output.backward({names['cotangent']})",
            f"{raw} = {{{grads}}}",
            f"{raw} = {{name: value for name, value in {raw}.items() if value is not None}}",
        ]

    def fallback(self, check: str) -> str:
        """The case run again by this package; "" where the subject is no recipe."""
        if self.subject.inputs is not None:
            return ""
        words = f"{self.target.name!r}, case={self.case.text!r}, device={self.target.device!r}"
        for name, value in zip(self.target.place.words[::2], self.target.place.words[1::2], strict=True):
            words += f", {name.removeprefix('--')}={value!r}"
        body = [
            f"{FALLBACK}{words})",
            "# What depends on earlier calls may show in another check here.",
            'bad = [each for each in results.targets[0].checks if each.failed or each.verdict == "CRASH"]',
            "for each in bad:",
            "    print(each.id, each.verdict, each.worst.message if each.worst else '')",
            "sys.exit(1 if bad else 0)",
        ]
        quoted = safe(f"{check} of {self.target.name}: {self.case.text}")
        guard = ['if __name__ == "__main__":', *(f"    {line}" for line in body)]
        return "\n".join([f'"""{quoted}"""', "", "import sys", "", "import kernelproof", "", *guard, ""])


def safe(text: str) -> str:
    """`text` for a docstring: ASCII quotes and backslashes of targets' messages end none."""
    return text.replace("\\", "\\\\").replace('"""', "'''").rstrip('"')


def other_number(one: Seen, case: Case) -> list[str]:
    """Lines that add the gradient in the order from that in α, or the other way round, as calls of a target have it."""
    case = case_of(case, one.call)
    other, wanted = ("alpha", "order") if case.alpha is None else ("order", "alpha")
    known = {} if one.truth is None else one.truth.gradients or {}
    if wanted not in known or other not in one.outcome.arrays:
        return []
    order = float(case.kernel.order)
    held = f'{one.variable}["{other}"]'
    value = f"-{held} / {order!r}**2" if wanted == "order" else f"-{held} * {order!r}**2"
    return [f"if {other!r} in {one.variable}:", f'    {one.variable}.setdefault("{wanted}", {value})  # α = 1 + 1/n']


_PRINTED = 'print(f"{what} = {float(value)!r}, expected {expected!r}, allowed {low!r} to {high!r}", "WRONG" * fault)'


def claimed_lines(found: list[Claim], *, quiet: bool = False) -> list[str]:
    """Lines that hold the numbers of a script against what is allowed, and end it; `quiet`: they show what is wrong."""
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
        f"    {'if fault: ' * quiet}{_PRINTED}",
        "sys.exit(1 if wrong else 0)",
    ]
