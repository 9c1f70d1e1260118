"""Calls of a target in a plain Python process, which imports nothing of kernelproof: what the target does unwatched.

The process runs `SOURCE` with the environment of the host, so with as many threads, and gets its arrays at the same
alignment. It can call what takes arrays, numbers and texts; a target that takes kernels and rules of kernelproof cannot
do without.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from kernelproof.verify.cases.case import Case
from kernelproof.verify.hosts.messages import Packer, outcome_of
from kernelproof.verify.hosts.wire import Reader, WireError, framed
from kernelproof.verify.process import tree
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.caller import laid
from kernelproof.verify.targets.loading import BUILT_IN
from kernelproof.verify.targets.scope import case_of
from kernelproof.verify.targets.target import Target

_PREFIX = "KERNELPROOF"
_LOOK = 0.1
"""Seconds between two looks at a process that does not answer."""
_LONGEST = 1 << 28
"""Bytes of an answer: the calls are small."""
_PIECE = 1 << 20
"""Bytes that are read at once."""
_PEERS = "kernelproof."
SOURCE = """
import importlib, importlib.util, json, os, struct, sys, zlib
import numpy as np

HEADER, MARK = struct.Struct("<8sIIQ"), b"kproof\\x01\\n"
source, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
os.dup2(os.open(os.devnull, os.O_RDWR), 0)
os.dup2(2, 1)
_, _, length, size = HEADER.unpack(source.read(HEADER.size))
asked = json.loads(source.read(length))
content = source.read(size)

def dtype_of(name):
    if name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        import ml_dtypes
        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name)

def array_of(told):
    dtype = dtype_of(told["dtype"])
    flat = np.frombuffer(content, dtype, told["count"], told["at"]) if told["count"] else np.zeros(0, dtype)
    held = np.empty(flat.nbytes + 64, np.uint8)
    first = -held.ctypes.data % 64
    memory = held[first:first + flat.nbytes].view(dtype)
    memory[...] = flat
    strides, offset, size = told["strides"], told["offset"], dtype.itemsize
    if asked["library"] == "torch":
        import torch
        if min(strides, default=0) < 0:
            whole = np.ndarray(told["shape"], dtype, memory, offset * size, [each * size for each in strides]).copy()
            return torch.from_numpy(whole)
        if told["dtype"] in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
            carrier = np.int16 if size == 2 else np.uint8
            tensor = torch.from_numpy(memory.view(carrier)).view(getattr(torch, told["dtype"]))
        else:
            tensor = torch.from_numpy(memory)
        return tensor.to(asked["device"]).as_strided(told["shape"], strides, offset)
    found = np.ndarray(told["shape"], dtype, memory, offset * size, [each * size for each in strides])
    found.flags.writeable = told["writeable"]
    if asked["library"] == "numpy":
        return found
    return importlib.import_module("jax.numpy" if asked["library"] == "jax" else "cupy").asarray(found.copy())

def value_of(told, known):
    if "array" in told:
        key = json.dumps(told["array"])
        if key not in known:
            known[key] = array_of(told["array"])
        return known[key]
    return tuple(told["tuple"]) if "tuple" in told else told["plain"]

def taken(value):
    if asked["library"] == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu().contiguous()
        name = str(value.dtype).removeprefix("torch.")
        if name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
            import torch
            held = value.view(torch.int16 if value.element_size() == 2 else torch.uint8).numpy()
            return held.tobytes(), name, held.shape
        value = value.numpy()
    elif asked["library"] == "cupy" and hasattr(value, "get"):
        value = value.get()
    value = np.asarray(value)
    name = value.dtype.name if value.dtype.name in ("float64", "float32", "float16") else value.dtype.str
    name = value.dtype.name if value.dtype.kind == "V" else name
    return value.tobytes(), name, value.shape

def send(text, body=b""):
    held = json.dumps(text).encode()
    os.write(answers, HEADER.pack(MARK, zlib.crc32(held), len(held), len(body)) + held)
    left = memoryview(body)
    while left:
        left = left[os.write(answers, left):]

sys.path.append(os.getcwd())
name = asked["module"]
if name.endswith(".py"):
    if asked["folder"] not in sys.path:
        sys.path.append(asked["folder"])
    spec = importlib.util.spec_from_file_location(asked["stem"], name)
    found = importlib.util.module_from_spec(spec)
    stem, there = asked["stem"], None
    if stem.isidentifier() and stem not in sys.modules:
        there = importlib.util.find_spec(stem)
    if stem not in sys.modules and (there is None or there.origin == name):
        sys.modules[stem] = found
    sys.modules[name] = found
    spec.loader.exec_module(found)
else:
    found = importlib.import_module(name)
for part in asked["object"].split("."):
    found = getattr(found, part)
if isinstance(found, type):
    found = found()
for call in asked["calls"]:
    known = {}
    positional = [value_of(each, known) for each in call["positional"]]
    keywords = {key: value_of(each, known) for key, each in call["keywords"].items()}
    function = getattr(found, call["op"]) if call["method"] else found
    output = call["output"]
    try:
        with np.errstate():
            value = function(*positional, **keywords)
        if output is None:
            value = value[0] if isinstance(value, tuple) and value else value
        else:
            value = value[output] if isinstance(output, int) or hasattr(value, "keys") else getattr(value, output)
        body, kind, shape = taken(value)
        arrays = {"output": {"at": 0, "dtype": kind, "shape": list(shape)}}
        send({"arrays": arrays, "error": None, "crash": None, "modified": [], "changed": [], "replaced": []}, body)
    except Exception as error:
        name = type(error).__name__
        send({"arrays": {}, "error": name, "crash": None, "modified": [], "changed": [], "replaced": []})
os._exit(0)
"""


def can_be_asked(target: Target) -> bool:
    """Whether `target` can be called without kernelproof: it is none of ours, no program, and takes no kernels."""
    ours = target.place.module.startswith((BUILT_IN, _PEERS)) or target.is_program or not target.place.object
    return not ours and not any({"kernel", "rule"} & each.binding.roles for each in target.bound)


def answers(target: Target, calls: Sequence[tuple[Case, Call]], seconds: float) -> list[Outcome] | str:
    """What `target` does with forward `calls` in a plain process; or why there is no answer."""
    packer = Packer()
    told = {
        "module": target.place.module,
        "stem": Path(target.place.module).stem,
        "folder": os.fspath(Path(target.place.module).parent),
        "object": target.place.object,
        "library": target.array_library,
        "device": target.device,
        "calls": [_told(target, case_of(case, call), call, packer) for case, call in calls],
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
    process = subprocess.Popen(  # noqa: S603 (this interpreter, on our own text)
        [sys.executable, "-P", "-c", SOURCE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
        env=environment,
    )
    try:
        return _read(process, framed(told, packer.parts), len(calls), seconds)
    except WireError as error:
        return str(error)
    finally:
        tree.end_all([process.pid], reap=False)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _read(
    process: subprocess.Popen[bytes], request: Sequence[memoryview], count: int, seconds: float
) -> list[Outcome] | str:
    """Send the request and read `count` answers, or fewer if no more come; or say that they take too long.

    The end of the process and of its output are not waited for: a thread or a process of the target may keep both.

    Raises:
        WireError: what came is no answer.
    """
    assert process.stdin is not None  # both are pipes
    assert process.stdout is not None
    ends, reader, found = time.monotonic() + seconds, Reader(_LONGEST), list[Outcome]()
    # It reads everything before it imports the target.
    with suppress(OSError):
        for part in request:
            left = part
            while left:
                left = left[os.write(process.stdin.fileno(), left) :]
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while len(found) < count:
            ended = process.poll() is not None
            came = bool(ready.select(0 if ended else _LOOK))
            piece = os.read(process.stdout.fileno(), _PIECE) if came else b""
            reader.take(piece)
            found += [outcome_of(dict(frame.text), frame.content) for frame in reader.frames()]
            if not piece and (came or ended):
                break
            if time.monotonic() > ends:
                return f"no answer in {seconds:g} s"
    return found[:count]


def _told(target: Target, case: Case, call: Call, packer: Packer) -> Mapping[str, Any]:
    bound = target.binding(case.op)
    given = laid(call, target.layout(case.op)).inputs
    positional, keywords = bound.binding.call(case, given.arrays, given.options, axis=call.axis) or ([], {})
    return {
        "op": case.op,
        "method": bound.method,
        "output": bound.output,
        "positional": [_value(each, packer) for each in positional],
        "keywords": {name: _value(each, packer) for name, each in keywords.items()},
    }


def _value(value: Any, packer: Packer) -> Mapping[str, Any]:
    if isinstance(value, np.ndarray):
        return {"array": packer.laid_out(value)}
    if isinstance(value, tuple):
        return {"tuple": list(value)}
    return {"plain": value.item() if isinstance(value, np.generic) else value}
