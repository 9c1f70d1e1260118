"""Programs as targets: requests by the schema, answers taken bit for bit, and every way in which one can misbehave."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # no types are published
import numpy as np
import pytest

from kernelproof.api import verify
from kernelproof.reference.errors import TargetError
from kernelproof.reference.formats import FORMATS
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.cases.plan import plan
from kernelproof.verify.cases.suites import Selection
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.record.schema import Verdict
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.loading import find
from kernelproof.verify.targets.program import ProgramCaller
from kernelproof.verify.targets.protocol import answered, request
from kernelproof.verify.targets.target import describe

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "exec.schema.json"
LINE = "entmax order=inf rule=adaptive:1 dtype=float64 family=random shape=2x3 feature=1 seed=0"
CASE = Case.parse(LINE)
HEAD = """
import json, math, os, signal, sys, time
def answer(ask):
    flat = [float.fromhex(each) for each in ask["arrays"]["z"]["data"]]
    m, out = ask["arrays"]["z"]["shape"][-1], []
    for start in range(0, len(flat), m or 1):
        row = flat[start:start + m]
        top = max(row)
        parts = [math.exp(each - top) for each in row]
        total = math.fsum(parts)
        out += [(each / total).hex() for each in parts]
    return {"id": ask["id"], "output": out}
def say(found):
    print(json.dumps(found), flush=True)
"""
LOOP = HEAD + "\nfor line in sys.stdin:\n    ask = json.loads(line)\n    "


def program(tmp_path: Path, body: str) -> str:
    path = tmp_path / "prog.py"
    path.write_text(body, encoding="utf-8")
    return f"exec:{shlex.join([sys.executable, str(path)])}"


def caller(text: str) -> ProgramCaller:
    found = describe(find(text))
    assert not isinstance(found, str)
    return ProgramCaller(found[0])


def outcome(tmp_path: Path, body: str) -> Outcome:
    ask = caller(program(tmp_path, body))
    try:
        return ask(CASE, Call(inputs_of(CASE)))
    finally:
        ask.program.stop()


def validator(name: str) -> Any:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]})


def test_a_program_computes_the_op_that_is_named() -> None:
    found = describe(replace(find("exec:true"), op="weights"))
    assert not isinstance(found, str)
    assert found[0].ops == ("weights",)


def test_every_request_is_of_the_schema() -> None:
    check = validator("request")
    seen = set()
    for case in plan(Selection(suite="quick", orders=("3/2", "inf"))):
        if (case.op, case.family, case.feature) in seen or case.size > 64:
            continue
        seen.add((case.op, case.family, case.feature))
        inputs = inputs_of(case)
        for mode in ("forward", "vjp") if inputs.cotangent is not None else ("forward",):
            found = json.loads(json.dumps(request(case, Call(inputs, mode), 7)))
            check.validate(found)
            assert ("cotangent" in found) == (mode == "vjp")
    assert {op for op, _, _ in seen} == {"entmax", "weights", "regression", "attention"}
    assert not check.is_valid({**found, "colour": "red"})


@pytest.mark.parametrize("dtype", list(FORMATS))
def test_numbers_keep_every_bit(dtype: str) -> None:
    case = Case.parse(LINE.replace("float64", dtype))
    inputs = inputs_of(case)
    z = inputs.arrays["z"].copy()
    z[0] = [np.nan, -0.0, float(FORMATS[dtype].smallest)]
    changed = replace(inputs, arrays={"z": z})
    asked = request(case, Call(changed), 1)
    answer = {"output": asked["arrays"]["z"]["data"]}
    validator("answer").validate(answer)
    back = answered(json.dumps(answer).encode(), case, Call(changed), 1)["output"]
    assert back.dtype == z.dtype
    assert back[1:].tobytes() == z[1:].tobytes()
    assert back[0, 1:].tobytes() == z[0, 1:].tobytes()
    assert np.isnan(back[0, 0].astype(np.float64))


def test_orders_are_told_where_a_float_holds_them() -> None:
    def told(text: str) -> tuple[Any, Any]:
        found = request(Case.parse(LINE.replace("order=inf", text)), Call(inputs_of(CASE)), 1)
        return found["order"], found["alpha"]

    assert told("order=inf") == ("inf", (1.0).hex())
    assert told("order=2") == ((2.0).hex(), (1.5).hex())
    assert told("order=3") == ((3.0).hex(), None)
    assert told("alpha=4/3") == (None, (4 / 3).hex())


def test_decimals_are_rounded_to_the_dtype_and_hex_floats_are_not() -> None:
    case = Case.parse(LINE.replace("float64", "float32"))
    call = Call(inputs_of(case))

    def dtype_of(value: Any) -> str:
        line = json.dumps({"output": [value] * 6}).encode()
        return answered(line, case, call, 1)["output"].dtype.name

    assert dtype_of("0.1") == dtype_of(0.1) == dtype_of((0.5).hex()) == "float32"
    assert dtype_of((0.1).hex()) == "float64"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("hello", ["JSON", "hello"]),
        ("[1, 2]", ["JSON"]),
        ("{}", ["output, gradients or error"]),
        ('{"output": [1, 2, 3, 4, 5]}', ["6 numbers", "got 5"]),
        ('{"output": {"shape": [3, 2], "data": [1]}}', ["6 numbers", "got 1"]),
        ('{"output": {"shape": "big", "data": [1]}}', ["shape and data"]),
        ('{"output": {"shape": [-2, -3], "data": [1, 2, 3, 4, 5, 6]}}', ["[-2, -3]"]),
        ('{"output": "0x1p-1"}', ["6 numbers", "got 1"]),
        ('{"output": [1, 2, 3, 4, 5, "six"]}', ["'six'", "hex floats"]),
        ('{"output": [1, 2, 3, 4, 5, true]}', ["True", "hex floats"]),
        ('{"output": [1, 2, 3, 4, 5, null]}', ["None", "hex floats"]),
        ('{"output": [1, 2, 3, 4, 5, "0x1p99999"]}', ["0x1p99999"]),
        ('{"id": 2, "output": [1, 2, 3, 4, 5, 6]}', ["request 2", "1"]),
        ('{"gradients": {}}', ["mode forward", "output"]),
        ('{"error": "no\\nluck"}', ["the program says: no luck"]),
    ],
)
def test_an_answer_that_is_none_is_an_error_in_words(answer: str, words: list[str]) -> None:
    with pytest.raises(TargetError) as caught:
        answered(answer.encode(), CASE, Call(inputs_of(CASE)), 1)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_another_shape_is_for_the_checks_to_judge() -> None:
    line = b'{"output": {"shape": [3, 2], "data": [1, 2, 3, 4, 5, 6]}}'
    assert answered(line, CASE, Call(inputs_of(CASE)), 1)["output"].shape == (3, 2)


def test_gradients_are_named() -> None:
    call = Call(inputs_of(CASE), "vjp")
    found = answered(b'{"gradients": {"z": [1, 2, 3, 4, 5, 6], "order": "0x1.8p+1"}}', CASE, call, 1)
    assert found["z"].shape == (2, 3)
    assert found["order"] == 3.0
    with pytest.raises(TargetError, match="object"):
        answered(b'{"gradients": [1]}', CASE, call, 1)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (LOOP + "print('hello', flush=True)", "'hello'"),
        (LOOP + "print(json.dumps(answer(ask)) + '\\nextra', flush=True)", "more"),
        (LOOP + "say({'error': 'not today'})", "not today"),
        (LOOP + "sys.stdout.write('x' * 2**22); sys.stdout.flush(); time.sleep(60)", "no answer"),
    ],
)
def test_what_is_no_answer_is_an_error(tmp_path: Path, body: str, word: str) -> None:
    found = outcome(tmp_path, body)
    assert found.error is not None
    assert word in found.error
    assert not found.arrays


def test_a_second_line_is_an_error_of_the_next_call(tmp_path: Path) -> None:
    ask = caller(program(tmp_path, LOOP + "say(answer(ask)); say(answer(ask))"))
    call = Call(inputs_of(CASE))
    first = ask(CASE, call).error
    time.sleep(0.2)
    # It is seen with the first line, before the next request or in the place of its answer.
    assert first is None or "wrote more" in first
    assert first is not None or any(word in str(ask(CASE, call).error) for word in ("nobody asked for", "request"))
    ask.program.stop()


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (LOOP + "sys.exit(3)", "exit code 3"),
        (LOOP + "sys.exit(0)", "exit code 0"),
        ("", "exit code 0"),
        (LOOP + "raise RuntimeError('no luck at all')", "RuntimeError: no luck at all"),
        (LOOP + "os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        (LOOP + "os.close(1); time.sleep(60)", "closed its output"),
    ],
)
def test_an_end_without_an_answer_is_a_crash(tmp_path: Path, body: str, word: str) -> None:
    found = outcome(tmp_path, body)
    assert found.crash is not None
    assert word in found.crash
    assert "\n" not in found.crash


def test_a_program_is_started_again_after_it_crashed(tmp_path: Path) -> None:
    marker = tmp_path / "crashed"
    body = LOOP + f"if not os.path.exists({str(marker)!r}):\n        open({str(marker)!r}, 'w').close(); os._exit(4)"
    body += "\n    say(answer(ask))"
    ask = caller(program(tmp_path, body))
    assert "exit code 4" in str(ask(CASE, Call(inputs_of(CASE))).crash)
    assert ask(CASE, Call(inputs_of(CASE))).arrays["output"].shape == (2, 3)
    ask.program.stop()


def test_a_program_may_end_after_each_answer(tmp_path: Path) -> None:
    ask = caller(program(tmp_path, HEAD + "say(answer(json.loads(sys.stdin.readline())))"))
    for _ in range(3):
        assert ask(CASE, Call(inputs_of(CASE))).arrays["output"].shape == (2, 3)
    ask.program.stop()


def test_a_long_request_and_a_long_answer_pass(tmp_path: Path) -> None:
    case = Case.parse(LINE.replace("shape=2x3", "shape=3x9000"))
    # The answer begins before the request is read: both pipes are full at once.
    body = HEAD + "sys.stdout.write(' ' * 2**18); sys.stdout.flush()\nsay(answer(json.loads(sys.stdin.readline())))"
    ask = caller(program(tmp_path, body))
    found = ask(case, Call(inputs_of(case)))
    assert found.arrays["output"].shape == (3, 9000), found
    ask.program.stop()


@pytest.mark.parametrize("text", ["exec:", "exec:./no_such_program --flag", "exec:'"])
def test_a_program_that_is_not_there(text: str) -> None:
    with pytest.raises(TargetError) as caught:
        describe(find(text))
    assert "\n" not in str(caught.value)


def test_what_is_said_of_python_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"exec\.md"):
        verify(program(tmp_path, LOOP), call="f(z)", case=LINE)


def test_a_program_is_verified_and_its_faults_are_verdicts(tmp_path: Path) -> None:
    right = program(tmp_path, LOOP + "say(answer(ask))")
    results = verify(right, case=LINE)
    assert results.targets[0].verdict is Verdict.PASS
    assert results.targets[0].by_default
    wrong = program(tmp_path, LOOP + "say({'output': [0.5] * len(answer(ask)['output'])})")
    assert verify(wrong, case=LINE).targets[0].verdict is Verdict.FAIL
    silent = program(tmp_path, LOOP + "sys.exit(3)")
    assert verify(silent, case=LINE).targets[0].verdict is Verdict.CRASH


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a program with its worker")
def test_a_program_that_hangs_ends_with_its_worker(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    body = LOOP + f"open({str(note)!r}, 'w').write(str(os.getpid()))\n    time.sleep(600)"
    results = verify(program(tmp_path, body), case=LINE, timeout=Limits(seconds=3.0, patience=30.0))
    assert results.targets[0].verdict is Verdict.CRASH
    assert any("no answer in 3 s" in str(check.worst) for check in results.targets[0].checks)
    process = Path("/proc") / note.read_text(encoding="ascii")
    end = time.monotonic() + 10
    while process.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not process.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the data of a process")
def test_a_program_that_eats_memory_is_a_crash(tmp_path: Path) -> None:
    body = LOOP + "held = bytearray(2**31); held[::4096] = b'x' * (2**31 // 4096); say(answer(ask))"
    results = verify(program(tmp_path, body), case=LINE, timeout=Limits(memory=2**28))
    assert results.targets[0].verdict is Verdict.CRASH
    assert any("MemoryError" in str(check.worst) for check in results.targets[0].checks)
