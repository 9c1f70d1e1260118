"""Targets that are no good: each a verdict or one clear line on standard error, never a traceback, never a pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests import unshrunk

from kernelproof import cli

LINE = "entmax order=inf rule=adaptive:1 dtype=float64 family=random shape=3x12 feature=1 seed=0"
SOURCE = """
import numpy as np

def right(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)

def a_list(z): return right(z).tolist()
def nothing(z): return None
def text(z): return "weights"
def number(z): return 1.0
def no_items(z): return ()
def a_dict(z): return {"y": right(z)}
def complex_numbers(z): return right(z) + 0j
def objects(z): return right(z).astype(object)
def texts(z): return right(z).astype(str)
def record(z): return np.zeros(z.shape, dtype=[("a", float)])
def masked(z): return np.ma.masked_array(right(z), mask=np.ones(z.shape, dtype=bool))
def matrix(z): return np.matrix(right(z))
def single(z): return right(z).astype(np.float32)
def integers(z): return right(z).astype(int)
def transposed(z): return right(z).T
def flat(z): return right(z).ravel()
def shorter(z): return right(z)[..., :-1]
def one_row(z): return right(z)[0]
def raises(z): raise ValueError("bad\\nworse")
def leaves(z): raise SystemExit(0)
def interrupts(z): raise KeyboardInterrupt
class Odd(BaseException): pass
def raises_odd(z): raise Odd("odd")
class Mute(Exception):
    def __str__(self): raise RuntimeError("no text")
def raises_mute(z): raise Mute
def recurses(z): return recurses(z)
async def coroutine(z): return right(z)
def generator(z): yield right(z)

class Base:
    def entmax(self, z): return right(z)
class NoDict(Base):
    def vjp(self, *args, **kwargs): return 3
class NoArrays(Base):
    def vjp(self, *args, **kwargs): return {"z": None, 3: 4}

class Closed:
    def __getattr__(self, name): raise ValueError("no " + name)
    def __call__(self, z): return right(z)
closed = Closed()
class Dtypes(Base): dtypes = ["float63"]
class NoDtypes(Base): dtypes = 3
class Promise(Base): contract = "B"
class Arrays(Base): array_library = "tpu"
class DevicesRaise(Base):
    def devices(self): raise RuntimeError("lost")
class Devices(Base):
    def devices(self): return ["tpu"]
class AvailableRaises(Base):
    def available(self): raise RuntimeError("lost")
class Unavailable(Base):
    def available(self): return "it needs more"
class Raises(Base):
    def __init__(self): raise RuntimeError("lost")
class Wants(Base):
    def __init__(self, size): pass
class Grade(Base): KERNELPROOF = {"grade": "Z"}
class Seven(Base): KERNELPROOF = 7
class Garde(Base): KERNELPROOF = {"garde": "A"}
def unsigned(z): return right(z)
unsigned.__signature__ = 3
def wants(z, sharpness): return right(z)
constant = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bad.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def run(file: Path, name: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, list[str]]:
    code = cli.run(["verify", f"{file}:{name}", "--case", LINE, "--out", str(file.parent / "out"), *more])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return code, said.out, [line for line in said.err.splitlines() if " of 1 cases" not in line]


def test_the_right_one_passes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, "right", capsys)[0] == 0


WRONG = {
    "a_list": "must return a numpy array; got builtins.list",
    "nothing": "got builtins.NoneType",
    "text": "got builtins.str",
    "number": "shape ()",
    "no_items": "got builtins.tuple",
    "a_dict": "got builtins.dict",
    "complex_numbers": "real numbers; got one of dtype complex128",
    "objects": "dtype object",
    "texts": "dtype <U",
    "record": "dtype [(",
    "masked": "masked",
    "matrix": "numpy.matrix",
    "single": "FAIL",
    "integers": "FAIL",
    "transposed": "shape (12, 3)",
    "flat": "shape (36,)",
    "shorter": "shape (3, 11)",
    "one_row": "shape (12,)",
    "raises": "ValueError: bad",
    "leaves": "SystemExit: 0",
    "interrupts": "KeyboardInterrupt",
    "raises_odd": "Odd: odd",
    "raises_mute": "Mute",
    "recurses": "RecursionError",
    "coroutine": "got builtins.coroutine",
    "generator": "got builtins.generator",
    "NoDict": "not iterable",
    "NoArrays": "NoneType",
}
"""Name of a target that answers wrongly -> words of what is said of it."""


@pytest.fixture(scope="module")
def said_of_the_wrong(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str]:
    """The exit code, the output and the error output of one run of all `WRONG` targets."""
    path = tmp_path_factory.mktemp("wrong") / "bad.py"
    path.write_text(SOURCE, encoding="utf-8")
    words = [sys.executable, "-c", unshrunk.PROGRAM, "verify", *(f"bad.py:{name}" for name in WRONG)]
    words += ["--case", LINE, "--out", "out"]
    # A short name is whole on one line of the table.
    ran = subprocess.run(words, cwd=path.parent, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize(("name", "words"), WRONG.items())
def test_what_a_call_does_wrong_is_a_verdict(said_of_the_wrong: tuple[int, str, str], name: str, words: str) -> None:
    code, out, err = said_of_the_wrong
    assert code == 1
    assert "Traceback" not in out + err
    assert [line for line in err.splitlines() if " of 1 cases" not in line] == []
    paragraphs = [part for part in out.split("\n\n") if f":{name}, " in part.splitlines()[0]]
    assert paragraphs
    line = next(line for line in out.splitlines() if line.startswith(f"bad.py:{name} "))
    assert "FAIL" in line
    assert words in " ".join(" ".join([line, *paragraphs]).split())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("closed", "'available' of the target cannot be read: ValueError: no available"),
        ("Dtypes", "'float63'"),
        ("NoDtypes", "got 3"),
        ("Promise", "contract"),
        ("Arrays", "'tpu'"),
        ("DevicesRaise", "devices() of the target raised RuntimeError: lost"),
        ("Devices", "cpu, cuda; got ['tpu']"),
        ("AvailableRaises", "available() of the target raised RuntimeError: lost"),
        ("Unavailable", "it needs more"),
        ("Raises", "RuntimeError: lost"),
        ("Wants", "size"),
        ("Grade", "grade must be one of"),
        ("Seven", "KERNELPROOF"),
        ("Garde", "'garde'"),
        ("unsigned", "--call"),
        ("wants", "'sharpness'"),
        ("constant", "got 3"),
        ("missing", "it has:"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    file: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(file, name, capsys)
    assert code == 2
    assert out == ""
    assert len(err) == 1
    assert words in err[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--call", "f(z"], "'f(z'"),
        (["--call", "f(z, y)"], "'y'"),
        (["--array-library", "tpu"], "'tpu'"),
        (["--contract", "none.toml"], "none.toml"),
        (["--out", ""], "--out"),
        (["nope.py:f", "--output", "1"], "nope.py"),
        (["numpy", "--output", "1"], "one target"),
    ],
)
def test_what_the_command_says_wrong_is_one_line(
    file: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(file, "right", capsys, *more)
    assert code == 2
    assert out == ""
    assert len(err) == 1
    assert words in err[0]


def test_an_output_that_is_not_there_is_a_verdict(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(file, "a_dict", capsys, "--output", "weights")
    assert (code, err) == (1, [])
    assert "an item 'weights'" in out
    assert "--output weights" in out
    assert run(file, "a_dict", capsys, "--output", "y")[0] == 0
