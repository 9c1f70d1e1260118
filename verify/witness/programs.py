"""Witness scripts of programs: the requests as text, and the few functions that pipe them and read the answers.

A script asks as a worker does: the program is started with the first request and runs on, and is started again where
it ends after an answer. So what it remembers from one request to the next shows too.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import output_shape
from kernelproof.verify.records import Array, Call
from kernelproof.verify.targets.program import words_of
from kernelproof.verify.targets.protocol import request
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.targets.target import Target
from kernelproof.verify.witness.pieces import LARGEST, compressed

_LONGEST = 8 * LARGEST
"""Requests of more letters are compressed."""
_ASK = '''
RUNNING = []


def ask(request):
    """The answer to a request; the program runs on, and is started again where it ended after an answer."""
    asked = bool(RUNNING) and RUNNING[0].poll() is None
    if not asked:
        RUNNING[:] = [subprocess.Popen(WORDS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)]
        atexit.register(RUNNING[0].kill)
    process = RUNNING[0]
    if asked and select.select([process.stdout], [], [], 0)[0] and (early := process.stdout.read(80)):
        sys.exit(f"the program wrote what nobody asked for: {early!r}")
    alarm = threading.Timer(60, process.kill)
    alarm.start()

    def write():
        with contextlib.suppress(OSError):
            process.stdin.write(request.encode() + b"\\n")

    threading.Thread(target=write, daemon=True).start()
    held = b""
    while b"\\n" not in held and (part := process.stdout.read(65536)):
        held += part
    line, newline, rest = held.partition(b"\\n")
    code = None if newline else process.wait()
    late = alarm.finished.is_set()
    alarm.cancel()
    if not newline:
        RUNNING.clear()
        if asked and code == 0:
            return ask(request)
        sys.exit("no answer in 60 s" if late else f"the program ended without an answer, exit status {code}")
    if rest.strip():
        sys.exit(f"the program must write one line for each request; it wrote more: {rest[:80]!r}")
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not {"output", "gradients", "error"} & set(answer):
        sys.exit(f"the program must answer with a line of JSON with output, gradients or error; got {line[:80]!r}")
    if answer.get("error") is not None:
        sys.exit(f"the program says: {answer['error']}")
    if answer.get("id", 1) != 1:
        sys.exit(f"the program answered the request {answer['id']!r}; it was asked 1")
    return answer


def numbers(name, value, shape, dtype):
    """Numbers as an array of the dtype, decimals rounded to it; as float64 where it does not hold a hex float."""
    try:
        data = value["data"] if isinstance(value, dict) else value if isinstance(value, list) else [value]
        shape = value.get("shape", shape) if isinstance(value, dict) else shape
        assert all(type(each) in (int, float, str) for each in data), "words in the place of numbers"
        hexed = np.array([isinstance(each, str) and "x" in each.lower() for each in data], dtype=bool).reshape(shape)
        wide = [float.fromhex(each) if at else float(each) for each, at in zip(data, hexed.flat, strict=True)]
        wide = np.array(wide, dtype=np.float64).reshape(shape)
    except Exception as error:
        sys.exit(f"{name} must hold numbers for the shape {shape}: {error}")
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = wide.astype(dtype)
    return narrow if ((narrow.astype(np.float64) == wide) | np.isnan(wide) | ~hexed).all() else wide
'''
_OUTPUT = '''

def output(answer, shape, dtype):
    """The array in the answer to a request of mode forward."""
    if "output" not in answer:
        sys.exit(f"the program must answer a request of mode forward with output; got {sorted(answer)}")
    return numbers("output", answer["output"], shape, dtype)
'''
_GRADIENTS = '''

def gradients(answer, shapes, dtype):
    """The arrays in the answer to a request of mode vjp, by name."""
    found = answer.get("gradients")
    if not isinstance(found, dict):
        sys.exit(f"the program must answer a request of mode vjp with gradients, by name; got {found!r}")
    told = {name: dtype if name in shapes else np.float64 for name in found}
    return {name: numbers(name, value, shapes.get(name, ()), told[name]) for name, value in found.items()}
'''


def program_lines(target: Target, text: str) -> list[str]:
    """Lines for the functions that `text` asks the program of `target` with."""
    used = [part for name, part in (("output(", _OUTPUT), ("gradients(", _GRADIENTS)) if name in text]
    return [f"WORDS = {words_of(target.place)!r}", *"".join([_ASK, *used]).strip("\n").split("\n"), "", ""]


def request_line(name: str, case: Case, call: Call) -> str:
    """A line that makes the variable `name`: the request for `call`."""
    text = json.dumps(request(case_of(case, call), call, 1))
    if len(text) <= _LONGEST:
        return f"{name} = {text!r}"
    return f"{name} = {compressed(text.encode())}.decode()"


def asked(case: Case, call: Call, name: str) -> str:
    """An expression for what the program answers to the request in the variable `name`: an array, or arrays by name."""
    kind = f"np.{case.dtype}" if case.dtype in {"float64", "float32", "float16"} else f"ml_dtypes.{case.dtype}"
    if call.mode == "forward":
        return f"output(ask({name}), {output_shape(case, call.inputs)!r}, {kind})"
    shapes = {name: array.shape for name, array in call.inputs.arrays.items()}
    return f"gradients(ask({name}), {shapes!r}, {kind})"


def turned(call: Call) -> Call:
    """`call` with its first array the other way round."""
    name, array = next(iter(call.inputs.arrays.items()))
    other: Array = np.ascontiguousarray(array[..., ::-1]) if array.ndim else array
    arrays: dict[str, Any] = {**call.inputs.arrays, name: other}
    return replace(call, inputs=replace(call.inputs, arrays=arrays))
