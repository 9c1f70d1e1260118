"""Scripts of programs pipe the request: they fail on every fault that a program can have, and not once it is mended."""

from __future__ import annotations

import base64
import json
import shlex
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from tests.verify.targets.test_program import HEAD, LINE, LOOP, caller
from tests.verify.witness.test_script import failed, pasted

from kernelproof.api import verify
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.judging.claims import Seen
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.protocol import request
from kernelproof.verify.witness.calls import script_call
from kernelproof.verify.witness.renderer import rendered

pytestmark = pytest.mark.shrinks

RIGHT = "say(answer(ask))"
VJP = """
def gradient(ask):
    p = [float.fromhex(each) for each in answer(ask)["output"]]
    g = [float.fromhex(each) for each in ask["cotangent"]["data"]]
    m, out = ask["arrays"]["z"]["shape"][-1], []
    for start in range(0, len(p), m or 1):
        row = range(start, start + m)
        mean = math.fsum(p[at] * g[at] for at in row)
        out += [(p[at] * (g[at] - mean)).hex() for at in row]
    return {"id": ask["id"], "gradients": {"z": out}}
"""
BOTH = "say(gradient(ask) if ask['mode'] == 'vjp' else answer(ask))"
SAID = "a = gradient(ask) if ask['mode'] == 'vjp' else answer(ask); "
FLOAT32 = LINE.replace("float64", "float32")
GRADIENTS = {"order": "inf", "gradients": ["z"]}
ROUNDED = "a = answer(ask); a['output'] = [repr(float.fromhex(x)) for x in a['output']]; say(a)"
FAULTS = {
    "number": ("a = answer(ask); a['output'][0] = '0x1p+0'; say(a)", RIGHT, "accuracy", LINE, {}),
    "words": ("say({'error': 'not today'})", RIGHT, "accuracy", LINE, {}),
    "malformed": ("print('hello', flush=True)", RIGHT, "accuracy", LINE, {}),
    "too few": ("a = answer(ask); a['output'].pop(); say(a)", RIGHT, "accuracy", LINE, {}),
    "no number": ("a = answer(ask); a['output'][0] = True; say(a)", RIGHT, "accuracy", LINE, {}),
    "another id": ("say({**answer(ask), 'id': -1})", RIGHT, "accuracy", LINE, {}),
    "two lines": ("print(json.dumps(answer(ask)) + '\\nextra', flush=True)", RIGHT, "accuracy", LINE, {}),
    "late line": ("say(answer(ask)); time.sleep(0.02); say(answer(ask))", RIGHT, "", LINE, {}),
    "exit status": ("sys.exit(3)", RIGHT, "accuracy", LINE, {}),
    "silent end": ("sys.exit(0)", RIGHT, "accuracy", LINE, {}),
    "wide": (RIGHT, ROUNDED, "dtype_kept", FLOAT32, {}),
    "random": ("a = answer(ask); a['output'][0] = (time.time() % 1).hex(); say(a)", RIGHT, "determinism", LINE, {}),
    "remembers": (
        "a = answer(ask); odd = not globals().get('odd'); a['output'][0] = a['output'][0] if odd else '0x1p-3'; say(a)",
        RIGHT,
        "",
        LINE,
        {},
    ),
    "third request": (
        "n = globals().get('n', 0) + 1; a = answer(ask); a['output'][:1] = a['output'][:1] if n % 3 else [0.1]; say(a)",
        RIGHT,
        "",
        LINE,
        {},
    ),
    "ends at the third": (
        "n = globals().get('n', 0) + 1; n % 3 or sys.exit(1); say(answer(ask))",
        RIGHT,
        "",
        LINE,
        {},
    ),
    "gradient": (BOTH.replace("gradient(ask)", "answer(ask)"), BOTH, "gradients", LINE, GRADIENTS),
    "gradient number": (
        SAID + "a.get('gradients', {'z': [0]})['z'][0] = '0x1p+0'; say(a)",
        BOTH,
        "gradients",
        LINE,
        GRADIENTS,
    ),
    "gradient shape": (
        SAID + "a['gradients'] = {'z': {'shape': [6], 'data': a.get('gradients', {}).get('z')}}; say(a)",
        BOTH,
        "dtype_kept",
        LINE,
        GRADIENTS,
    ),
}


def found(place: Path, case: str, contract: Any, *, serial: bool = True) -> dict[str, str]:
    words = shlex.join([sys.executable, str(place)])
    return failed(verify(f"exec:{words}", case=case, serial=serial, contract=contract, timeout=Limits(seconds=5.0)))


@pytest.mark.parametrize("name", FAULTS)
def test_the_script_of_a_program_shows_the_fault_and_not_the_mended_program(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How far a witness is shrunk is for other tests to say.
    monkeypatch.setattr("kernelproof.verify.fuzz.scripts.SUBJECTS", 20)
    wrong, right, check, case, contract = FAULTS[name]
    place = tmp_path / "prog.py"
    loop = LOOP.replace("\nfor line", f"{VJP}\nfor line")
    place.write_text(loop + wrong, encoding="utf-8")
    scripts = found(place, case, contract or None)
    # What a fault shows in that depends on the requests before goes by their order.
    chosen = [scripts[check]] if check else list(scripts.values())
    for script in chosen:
        assert "kernelproof" not in script
        run = pasted(script, tmp_path)
        assert run.returncode == 1, (script, run.stdout, run.stderr)
        assert "Traceback" not in run.stderr, (script, run.stderr)
        assert (run.stdout + run.stderr).strip()
    once = HEAD + VJP + "ask = json.loads(sys.stdin.readline())\n" + right
    for mended in (loop + right, once):
        place.write_text(mended, encoding="utf-8")
        for script in chosen:
            run = pasted(script, tmp_path)
            assert run.returncode == 0, (script, run.stdout, run.stderr)


@pytest.mark.parametrize("wrong", ["sys.exit(3)", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_the_script_of_a_program_that_ends_shows_how(wrong: str, tmp_path: Path) -> None:
    place = tmp_path / "prog.py"
    place.write_text(LOOP + wrong, encoding="utf-8")
    script = found(place, LINE, None, serial=False)["accuracy"]
    assert "kernelproof" not in script
    run = pasted(script, tmp_path)
    assert run.returncode == 1
    assert "exit status" in run.stderr
    place.write_text(LOOP + RIGHT, encoding="utf-8")
    assert pasted(script, tmp_path).returncode == 0


def test_a_long_request_is_compressed() -> None:
    case = Case.parse(LINE.replace("2x3", "3x1000"))
    call = Call(inputs_of(case))
    asked = script_call(case, Seen("got", call, Outcome(), None), caller(f"exec:{sys.executable}").target)
    text = rendered("inputs.py.j2", call=asked)
    assert text.count("\n") > 10
    held: dict[str, Any] = {"base64": base64, "zlib": zlib}
    exec(text, held)  # noqa: S102 (ours)
    assert json.loads(held["request"]) == request(case, call, 1)
