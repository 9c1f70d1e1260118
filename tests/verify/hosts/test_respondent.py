"""A target in a host: its answers are those of the target, and whatever it does is an outcome."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kernelproof.reference.errors import TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.hosts import remote as remote_module
from kernelproof.verify.hosts.process import Fate
from kernelproof.verify.hosts.remote import Remote, describe_in_host, home_of, start_spare, stop_all
from kernelproof.verify.process import tree
from kernelproof.verify.process.limits import Limits
from kernelproof.verify.records import Call, Outcome
from kernelproof.verify.targets.target import Target, find

CASE = Case.parse("entmax order=inf rule=adaptive:1 dtype=float64 family=random shape=2x5 feature=1 seed=0")
SOURCE = '''
import ctypes, mmap, os, signal, sys, threading, time
import numpy as np

KERNELPROOF = {"order": "inf", "dtypes": ["float64"]}
HELD = []

def right(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)

def process(z):
    return np.array([os.getpid()], float)

def modules(z):
    """How many modules of truth and checks are loaded."""
    words = "kernelproof.verify.checks", "kernelproof.verify.truth", "kernelproof.verify.judging", "kernelproof.theory",
    words += "kernelproof.reference.solver", "kernelproof.reference.ops", "kernelproof.reference.arithmetic"
    return np.array([sum(name.startswith(words) for name in sys.modules)], float)

def hangs(z):
    time.sleep(100)

def stops(z):
    os.kill(os.getpid(), signal.SIGSTOP)

def dies(z):
    os._exit(7)

def alarmed(z):
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(1)
    return right(z)

def dies_later(z):
    threading.Thread(target=lambda: (time.sleep(0.2), os._exit(9)), daemon=True).start()
    return right(z)

def shares_memory(z):
    held = mmap.mmap(-1, 2**29)
    for at in range(0, 2**29, 4096):
        held[at] = 1
    time.sleep(5)
    return right(z)

def memory_file(z):
    held = os.memfd_create("hidden")
    for _ in range(2**9):
        os.write(held, bytes(2**20))
    time.sleep(5)
    return right(z)

def writes_into_the_connection(z):
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 400 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe"):
            try:
                os.write(int(name), b"A" * 200)
            except OSError:
                pass
    return right(z)

def answers_for_itself(z):
    """An answer of its own, with a pickle in it."""
    import json, pickle, struct, zlib
    class Bad:
        def __reduce__(self):
            return os.system, ("touch /tmp/kernelproof_was_here",)
    text = json.dumps({"is": "outcome", "outcome": {"arrays": {"output": {"at": 0, "dtype": "|O8", "shape": [1]}}}})
    body = pickle.dumps(Bad())
    frame = struct.pack("<8sIIQ", b"kproof\\x01\\n", zlib.crc32(text.encode()), len(text), len(body))
    frame += text.encode() + body
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 400 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe"):
            try:
                os.write(int(name), frame)
            except OSError:
                pass
    return right(z)

def nests(z):
    """An answer of its own, and an end of it that is nested deeply."""
    import struct, zlib
    sent = b""
    for text, size in (
        ('{"is": "outcome", "outcome": {"arrays": {"output": {"at": 0, "dtype": "float64", "shape": [1]}},'
         '"modified": [], "changed": [], "replaced": []}}', 8),
        ('{"is": "end", "remarks": [], "modes": {"a": ' + "[" * 900 + "]" * 900 + "}}", 0),
    ):
        sent += struct.pack("<8sIIQ", b"kproof\\x01\\n", zlib.crc32(text.encode()), len(text), size)
        sent += text.encode() + bytes(size)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 400 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe"):
            try:
                os.write(int(name), sent)
            except OSError:
                pass
    os._exit(0)

def leaves_a_process(z):
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    return right(z)

def prints_later(z):
    def go():
        time.sleep(0.3)
        os.write(1, b"later\\n")
        os.write(2, b"\\x1b[31mlater\\n")
    threading.Thread(target=go, daemon=True).start()
    return right(z)

def uses_a_server(z):
    import multiprocessing
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
    return right(z)

def sends_much(z):
    import struct
    head = struct.pack("<8sIIQ", b"kproof\\x01\\n", 0, 2, 2**38) + b"{}"
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 400 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe"):
            try:
                os.write(int(name), head)
            except OSError:
                pass
    time.sleep(100)

class Leaving(Exception):
    def __str__(self):
        raise SystemExit(7)

def raises_what_exits(z):
    raise Leaving

def shallow(z):
    sys.setrecursionlimit(60)
    return right(z)

def hooked(z):
    sys.excepthook = None
    raise SystemExit(0)

def forgets(z):
    HELD.append(z)
    return np.array([len(HELD)], float)
'''

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the targets use what POSIX systems have")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("targets") / "misbehaving.py"
    path.write_text(SOURCE, encoding="utf-8")
    yield path
    stop_all()


def target(path: Path, name: str) -> Target:
    found = describe_in_host(find(f"{path}:{name}"), Limits(seconds=20.0), probe=False)
    assert not isinstance(found, str)
    return found[0]


def answer(path: Path, name: str, limits: Limits | None = None, calls: int = 1) -> tuple[Remote, list[Outcome]]:
    remote = Remote(target(path, name), limits or Limits(seconds=20.0))
    return remote, remote.answer(CASE, [Call(inputs_of(CASE)) for _ in range(calls)])


def test_an_answer_is_that_of_the_target(file: Path) -> None:
    remote, (outcome,) = answer(file, "right")
    z = inputs_of(CASE).arrays["z"]
    e = np.exp(z - z.max(-1, keepdims=True))
    assert outcome.arrays["output"].tobytes() == (e / e.sum(-1, keepdims=True)).tobytes()
    assert (remote.fate, remote.remarks, outcome.error) == (None, {}, None)


def test_a_host_has_no_check_and_no_truth(file: Path) -> None:
    remote, (outcome,) = answer(file, "modules")
    assert outcome.arrays["output"].tolist() == [0.0]
    _, (other,) = answer(file, "process")
    assert other.arrays["output"][0] not in {os.getpid(), 0.0}
    assert remote.fate is None


@pytest.mark.parametrize(
    ("name", "fate", "words"),
    [
        ("hangs", Fate.TIME, "no answer in 1 s"),
        ("stops", Fate.TIME, "no answer in 1 s"),
        ("dies", Fate.DEATH, "the process ended: exit code 7"),
        ("alarmed", Fate.DEATH, "killed by SIGALRM"),
        ("writes_into_the_connection", Fate.WORDS, "no frame"),
        ("answers_for_itself", Fate.WORDS, "no dtype of real numbers"),
    ],
)
def test_an_end_is_an_outcome_and_the_next_call_has_an_answer(file: Path, name: str, fate: Fate, words: str) -> None:
    remote, outcomes = answer(file, name, Limits(seconds=1.0 if fate is Fate.TIME else 20.0), calls=3)
    assert remote.fate is fate
    assert words in str(outcomes[-1].crash)
    assert len(outcomes) == 1
    assert not Path("/tmp/kernelproof_was_here").exists()  # noqa: S108 (the target would make it)
    assert answer(file, "right")[1][0].error is None


@pytest.mark.skipif(sys.platform != "linux", reason="memory is watched on Linux")
@pytest.mark.parametrize("name", ["shares_memory", "memory_file"])
def test_memory_that_is_shared_counts(file: Path, name: str) -> None:
    home_of(find(f"{file}:{name}")).stop()
    remote, outcomes = answer(file, name, Limits(seconds=60.0, memory=2**28))
    assert remote.fate is Fate.MEMORY
    assert "out of memory (its process holds 0." in str(outcomes[-1].crash)


def test_a_thread_that_ends_the_process_later_is_kept_against_its_target(file: Path) -> None:
    remote, (outcome,) = answer(file, "dies_later")
    assert outcome.error is None
    time.sleep(1.0)
    assert answer(file, "right")[1][0].crash is None
    (again,) = remote.answer(CASE, [Call(inputs_of(CASE))])
    assert remote.fate is Fate.DEATH
    assert again.crash == "the process ended after the calls before this one"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found on Linux")
def test_a_process_that_a_call_leaves_is_ended_and_remarked_on(file: Path) -> None:
    remote, (outcome,) = answer(file, "leaves_a_process")
    assert outcome.crash is None
    assert "leaves processes running, which were ended" in remote.remarks
    process = home_of(remote.target.place).process
    assert process is not None
    assert tree.descendants(process.pid) == []


def test_a_server_of_multiprocessing_stays_for_the_next_call(file: Path) -> None:
    remote, (outcome,) = answer(file, "uses_a_server")
    assert outcome.error is None
    (again,) = remote.answer(CASE, [Call(inputs_of(CASE))])
    assert again.error is None
    assert remote.remarks == {}


def test_what_is_printed_between_calls_reaches_nobody(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stop_all()  # so that the next host is started with the streams of this test
    remote, (outcome,) = answer(file, "prints_later")
    time.sleep(1.0)
    assert outcome.error is None
    assert remote.fate is None
    assert capfd.readouterr() == ("", "")


def test_more_than_its_memory_is_not_taken_from_it(file: Path) -> None:
    remote, (outcome,) = answer(file, "sends_much", Limits(seconds=20.0, memory=2**30))
    assert remote.fate is Fate.WORDS
    assert outcome.crash is not None
    assert "too long" in outcome.crash


def test_modes_that_are_nested_are_no_answer(file: Path) -> None:
    remote, (outcome,) = answer(file, "nests")
    assert remote.fate is Fate.WORDS
    assert "a word was expected" in str(outcome.crash)


def test_an_error_whose_text_exits_is_an_error_of_the_call(file: Path) -> None:
    _, (outcome,) = answer(file, "raises_what_exits")
    assert outcome.crash is None
    assert outcome.error == "Leaving, which has no text"


def test_a_low_recursion_limit_is_a_changed_state(file: Path) -> None:
    _, (outcome,) = answer(file, "shallow")
    assert outcome.changed == ("the recursion limit",)
    assert outcome.error is None


def test_an_exit_is_an_error_of_the_call(file: Path) -> None:
    remote, (outcome,) = answer(file, "hooked")
    assert str(outcome.error).startswith("SystemExit")
    assert remote.fate is None


def test_a_fresh_host_has_forgotten(file: Path) -> None:
    remote, outcomes = answer(file, "forgets", calls=2)
    assert [each.arrays["output"].tolist() for each in outcomes] == [[1.0], [2.0]]
    remote.fresh()
    assert remote.answer(CASE, [Call(inputs_of(CASE))])[0].arrays["output"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import os\nos._exit(3)", "importing it ended the process (exit code 3)"),
        ("import time\ntime.sleep(100)", "importing it took more than 2 s"),
        ("raise SystemExit(0)", "SystemExit"),
        (
            "class F:\n def __call__(self, z): return z\n __signature__ = property(lambda self: exit())\nfn = F()",
            "SystemExit",
        ),
        ("class G:\n def available(self): raise SystemExit(0)\n def entmax(self, z): return z\nfn = G()", "SystemExit"),
    ],
)
def test_a_target_that_cannot_be_loaded_is_an_error_of_the_user(tmp_path: Path, body: str, words: str) -> None:
    path = tmp_path / "unloaded.py"
    path.write_text(body, encoding="utf-8")
    with pytest.raises(TargetError, match=words.replace("(", r"\(").replace(")", r"\)")):
        describe_in_host(find(f"{path}:fn"), Limits(seconds=2.0, patience=1.0))
    home_of(find(f"{path}:fn")).stop()


def test_the_next_target_gets_the_host_that_was_started_before(tmp_path: Path) -> None:
    path = tmp_path / "other.py"
    path.write_text(SOURCE, encoding="utf-8")
    start_spare()
    spare = remote_module._SPARE[-1].pid
    _, (outcome,) = answer(path, "process")
    assert outcome.arrays["output"].tolist() == [spare]
    assert remote_module._SPARE == []
    home_of(find(f"{path}:process")).stop()


def test_a_call_is_repeated_without_answers(file: Path) -> None:
    remote, _ = answer(file, "forgets")
    before = remote.answer(CASE, [Call(inputs_of(CASE))])[0].arrays["output"][0]
    assert remote.repeat(CASE, Call(inputs_of(CASE)), 40)
    after = remote.answer(CASE, [Call(inputs_of(CASE))])[0].arrays["output"][0]
    assert after - before == 41
    dying, _ = answer(file, "dies")
    assert not dying.repeat(CASE, Call(inputs_of(CASE)), 2)
    assert dying.fate is Fate.DEATH


@pytest.mark.parametrize("change", ["json.dumps = lambda *_, **__: '{}'", "json.dumps = None"])
def test_a_call_that_breaks_the_answer_to_the_probe_leaves_the_target_to_the_cases(tmp_path: Path, change: str) -> None:
    path = tmp_path / "breaks_answers.py"
    path.write_text(f"import json\n\ndef breaks(z, order=None):\n    {change}\n    return z\n", encoding="utf-8")
    found = describe_in_host(find(f"{path}:breaks"), Limits(seconds=20.0))
    assert not isinstance(found, str)
    assert [each.name for each in found] == [f"{path}:breaks"]
    stop_all()
