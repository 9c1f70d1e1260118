"""Callers: gradients in numbers, outputs that are picked, JAX arrays, registered targets, and what modules promise."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelproof import cli
from kernelproof.api import verify
from kernelproof.reference.errors import TargetError
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.inputs import inputs_of
from kernelproof.verify.record.schema import Verdict
from kernelproof.verify.records import Call
from kernelproof.verify.targets import loading
from kernelproof.verify.targets.arrays import give, picked, take
from kernelproof.verify.targets.caller import Caller
from kernelproof.verify.targets.target import Target, describe, find

CASE = Case.parse("entmax order=2 rule=adaptive:1 dtype=float64 family=random shape=2x5 feature=1 seed=0")
TEMPERED = """
import torch

KERNELPROOF = {"grade": "B"}

def tempered(z, alpha, beta=1.0):
    return (z * alpha).sigmoid()
tempered.KERNELPROOF = {"gradients": ["z", "alpha"]}

def ruled(s, beta):
    return torch.softmax(s * beta, -1)
ruled.KERNELPROOF = {"gradients": ["scores", "beta"], "order": "inf"}

class Softmax(torch.nn.Module):
    KERNELPROOF = {"order": "inf", "grade": "A"}

    def forward(self, input):
        return torch.softmax(input, -1), "more"

made = Softmax()
stuck = lambda z: z.detach().softmax(-1)
"""


def target(path: Path, name: str) -> Target:
    found = describe(find(f"{path}:{name}"))
    assert not isinstance(found, str)
    return found[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / f"tempered_{tmp_path.name}.py"
    path.write_text(TEMPERED, encoding="utf-8")
    return path


@pytest.mark.torch
def test_the_gradient_in_alpha_is_told_in_the_order(file: Path) -> None:
    inputs = inputs_of(CASE)
    found = Caller(target(file, "tempered"))(CASE, Call(inputs, "vjp")).arrays
    z, g = inputs.arrays["z"], np.asarray(inputs.cotangent)
    p = 1 / (1 + np.exp(-1.5 * z))
    in_alpha = (g * p * (1 - p) * z).sum()
    # Ten float64 terms of size 1, some roundings each.
    assert abs(found["alpha"] - in_alpha) < 100 * 2.0**-53
    # α = 1 + 1/n at n = 2: dα/dn = −1/4.
    assert found["order"] == -found["alpha"] / 4


@pytest.mark.torch
def test_the_gradient_in_a_number_of_the_rule(file: Path) -> None:
    line = "weights order=inf rule=adaptive:1/2 dtype=float32 family=random shape=2x5 feature=1 seed=0"
    result = verify(f"{file}:ruled", case=line, serial=True)
    check = next(each for each in result.targets[0].checks if each.id == "gradients")
    assert check.verdict is Verdict.PASS
    assert {row.output for row in result.targets[0].accuracy} >= {"output", "d/dscores", "d/dbeta"}


@pytest.mark.torch
def test_a_module_of_torch_is_called_through_forward(file: Path) -> None:
    for name in ("Softmax", "made"):
        found = target(file, name)
        assert found.ops == ("entmax",)
        assert (found.contract.grade, found.promised) == ("A", True)
        assert found.scopes[0].order == "inf"
        assert Caller(found)(CASE, Call(inputs_of(CASE))).arrays["output"].shape == (2, 5)
    assert target(file, "stuck").contract.grade == "B"


@pytest.mark.torch
def test_an_output_without_a_gradient_says_what_to_declare(file: Path) -> None:
    outcome = Caller(target(file, "stuck"))(CASE, Call(inputs_of(CASE), "vjp"))
    assert "gradients = []" in str(outcome.error)


EARLY = """
import torch

def early(z):
    return torch.zeros(z.shape, dtype=z.dtype) if z.shape[-1] == 0 else torch.softmax(z, -1)
early.KERNELPROOF = {"order": "inf", "op": "entmax", "gradients": ["z"], "array_library": "torch"}
"""


@pytest.mark.torch
def test_an_output_without_a_gradient_for_no_keys_says_for_which_case(tmp_path: Path) -> None:
    path = tmp_path / "early.py"
    path.write_text(EARLY, encoding="utf-8")
    inputs = inputs_of(CASE)
    assert Caller(target(path, "early"))(CASE, Call(inputs, "vjp")).error is None
    none = np.zeros((2, 0))
    outcome = Caller(target(path, "early"))(CASE, Call(replace(inputs, arrays={"z": none}, cotangent=none), "vjp"))
    assert "in the case of z of shape (2, 0)" in str(outcome.error)
    assert "gradients = []" not in str(outcome.error)


def test_what_is_picked() -> None:
    assert picked((1, 2), None) == 1
    assert picked([1, 2], None) == [1, 2]
    assert picked([1, 2], -1) == 2
    assert picked(1 + 2j, "imag") == 2
    for returned, output in (((1,), 1), (3, 0), ({}, "y"), (3, "y")):
        with pytest.raises(TargetError):
            picked(returned, output)


@pytest.mark.jax
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_jax_keeps_every_bit(dtype: str) -> None:
    array = inputs_of(Case.parse(CASE.text.replace("float64", dtype))).arrays["z"]
    back = take(give(array, "jax", "cpu"), "jax")
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    with pytest.raises(TargetError, match="jax array"):
        take(array, "jax")


@pytest.mark.jax
def test_jax_gives_its_gradient_and_no_float64(tmp_path: Path) -> None:
    path = tmp_path / "with_jax.py"
    path.write_text("import jax\ndef softmax(z, axis=-1):\n    return jax.nn.softmax(z, axis=axis)\n", encoding="utf-8")
    found = target(path, "softmax")
    assert (found.array_library, found.dtypes) == ("jax", ("float32", "float16", "bfloat16"))
    case = Case.parse(CASE.text.replace("float64", "float32"))
    inputs = inputs_of(case)
    p = Caller(found)(case, Call(inputs)).arrays["output"].astype(np.float64)
    g = np.asarray(inputs.cotangent, np.float64)
    got = Caller(found)(case, Call(inputs, "vjp")).arrays["z"]
    assert got.dtype == np.float32
    # Sums of 5 float32 terms of size 1.
    assert np.abs(got - p * (g - (p * g).sum(axis=-1, keepdims=True))).max() <= 8 * 2.0**-24


REGISTERED = """
import numpy as np
def entmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
entmax.KERNELPROOF = {"order": "inf", "grade": "B"}
"""


def install(folder: Path) -> None:
    """A distribution as `pip` leaves it: a module, and metadata with an entry point."""
    (folder / "dummy_ops.py").write_text(REGISTERED, encoding="utf-8")
    info = folder / "dummy_ops-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dummy-ops\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        f"[{loading.GROUP}]\ndummy = dummy_ops\ndummy_entmax = dummy_ops:entmax\n", encoding="utf-8"
    )


def test_an_installed_distribution_registers_its_targets(tmp_path: Path) -> None:
    install(tmp_path)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    line = CASE.text.replace("order=2", "order=inf")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kernelproof.cli", *words]
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    for name in ("dummy", "dummy_entmax"):
        done = run("verify", name, "--case", line)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "promised B" in done.stdout
    listed = run("backends").stdout
    assert "registered as dummy_ops:entmax" in listed
    assert "entmax.sparsemax" in listed
    done = run("verify", "dummie", "--case", line)
    assert done.returncode == 2
    assert "dummy_entmax" in done.stderr


def test_a_grade_that_nobody_promised_is_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plain.py"
    path.write_text(REGISTERED.rpartition("entmax.KERNELPROOF")[0], encoding="utf-8")
    line = CASE.text.replace("order=2", "order=inf")
    assert cli.run(["verify", f"{path}:entmax", "--case", line, "--out", str(tmp_path / "out")]) == 0
    assert "default C" in capsys.readouterr().out


@pytest.mark.jax
def test_lengths_that_jax_holds_as_int32_were_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "padded_jax.py"
    text = "import jax\ndef fn(q, k, v, lengths=None):\n    return q[..., :1] * v[..., :1, :]\n"
    path.write_text(text, encoding="utf-8")
    line = "attention order=inf rule=adaptive:1 dtype=float32 family=masks shape=2x2x2x3x8x4x2 feature=lengths seed=0"
    case = Case.parse(line)
    inputs = inputs_of(case)
    assert inputs.options["lengths"].dtype == np.int64
    outcome = Caller(target(path, "fn"))(case, Call(inputs))
    assert outcome.arrays
    assert outcome.modified == ()


LAID = """
import numpy as np

SEEN = []

def vjp(op, g, q, k, v, mask=None):
    SEEN.append([x.shape for x in (g, q, k, v)] + [x.flags.c_contiguous for x in (g, q, k, v)])
    return {"q": q, "k": k, "v": v, "h": 1.0}

def attention(q, k, v, mask=None):
    SEEN.append([x.shape for x in (q, k, v, mask)] + [x.flags.c_contiguous for x in (q, k, v)])
    return q[..., :1] + 0 * v[:, :1]

KERNELPROOF = {"order": "inf", "layout": "bthd"}
"""


def test_tokens_come_before_heads_where_that_is_declared(tmp_path: Path) -> None:
    path = tmp_path / f"laid_{tmp_path.name}.py"
    path.write_text(LAID, encoding="utf-8")
    whole = loading.Place(str(path), str(path), "")
    described = describe(whole, probe=False)
    assert not isinstance(described, str)
    line = "attention order=inf rule=adaptive:1 dtype=float64 family=masks shape=2x4x4x3x8x5x2 feature=mask seed=0"
    case = Case.parse(line)
    inputs = inputs_of(case)
    made = Caller(described[0])
    forward, backward = made(case, Call(inputs)), made(case, Call(inputs, "vjp"))
    seen = made.found.SEEN
    assert seen[0] == [(2, 3, 4, 5), (2, 8, 4, 5), (2, 8, 4, 2), (2, 4, 3, 8), True, True, True]
    assert seen[1][:4] == [(2, 3, 4, 2), (2, 3, 4, 5), (2, 8, 4, 5), (2, 8, 4, 2)]
    q = inputs.arrays["q"]
    np.testing.assert_array_equal(forward.arrays["output"], np.repeat(q[..., :1], 2, axis=-1))
    for name, array in inputs.arrays.items():
        np.testing.assert_array_equal(backward.arrays[name], array)
    assert forward.modified == backward.modified == ()


def test_a_named_op_decides_what_the_parameters_are(tmp_path: Path) -> None:
    path = tmp_path / "smoother.py"
    text = "def nw(q, k, v, h):\n    return v.mean(-2, keepdims=True) + 0 * q[..., :1]\n"
    path.write_text("import numpy as np\n" + text, encoding="utf-8")
    calls: tuple[dict[str, Any], ...] = ({}, {"call": "nw(q, k, v, h)"})
    for call in calls:
        options: dict[str, Any] = {"order": "inf", "suite": "quick", "dtype": "float64", "serial": True, **call}
        found = verify(f"{path}:nw", op="regression", **options).targets[0]
        assert {row.op for row in found.accuracy} == {"regression"}
        worst = next(check.worst for check in found.checks if check.worst is not None)
        again = verify(f"{path}:nw", case=worst.case, serial=True, **call).targets[0]
        assert {row.op for row in again.accuracy} == {"regression"}


def test_keys_that_are_the_queries_are_passed_as_one_array_where_no_gradient_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "same_array.py"
    path.write_text(
        "import torch\nseen = []\ndef fn(q, k, v):\n    seen.append(q is k)\n"
        "    return torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v\n"
        'fn.KERNELPROOF = {"op": "attention", "order": "inf"}\n',
        encoding="utf-8",
    )
    call = Caller(target(path, "fn"))
    for feature, wanted in (("q-is-k", [True, False]), ("plain", [False, False])):
        told = f"family=pairs shape=2x2x9x9x8x4 feature={feature} seed=0"
        case = Case.parse(f"attention order=inf rule=adaptive:1 dtype=float32 {told}")
        inputs = inputs_of(case)
        assert call(case, Call(inputs)).error is None
        assert call(case, Call(inputs, "vjp")).arrays.keys() == {"q", "k", "v"}
        assert call.found.__globals__["seen"][-2:] == wanted
