"""The compiled filter is IEEE 754 as written: no flag that lets LLVM change it, no call that computes, no stray fma."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from functools import cache
from typing import Any

import numba
import numpy as np
import pytest

from kernelproof.reference.bulk import given_bandwidth, gradient_terms, row_kernel, rows
from kernelproof.reference.bulk.batches import order_of
from kernelproof.reference.bulk.compiler import HAS_FMA, compiled

LOOSE = re.compile(r"\b(fast|nnan|ninf|nsz|arcp|contract|afn|reassoc)\b")
FLOATING = re.compile(
    r"^\s*(?:%\S+ = )?(?:tail |musttail |notail )*(f(?:add|sub|mul|div|rem|neg|cmp)|call|select|phi)\b.*"
)
CALLED = re.compile(r"\bcall\b[^@\n]*@(?:\"([^\"]+)\"|([\w.$]+))")
COMPUTES = re.compile(r"^(?!_ZN|NRT_|Py|numba_)(?!llvm\.(?!fma|exp|log|pow|sqrt|sin|cos|fmuladd)).*")


def loose_instructions(code: str) -> list[str]:
    """Floating-point instructions of LLVM code that carry a fast-math flag."""
    return [line for line in code.splitlines() if FLOATING.match(line) and LOOSE.search(line.split("@")[0])]


def computing_calls(code: str) -> set[str]:
    """What is called besides our functions, Python's and numba's runtime, and LLVM's integers and memory."""
    names = {a or b for a, b in CALLED.findall(code)}
    return {name for name in names if COMPUTES.match(name)}


def fresh(function: Any, *arguments: Any) -> tuple[str, str]:
    """(LLVM code, assembly) of `function`, compiled now: a cached kernel shows neither."""
    again = numba.njit(error_model="numpy", nogil=True)(function)
    again(*arguments)
    return next(iter(again.inspect_llvm().values())), next(iter(again.inspect_asm().values()))


@cache
def kernel_code(name: str) -> tuple[str, str]:
    z, order = np.zeros((1, 4)), order_of(math.inf)
    out = [z.copy() for _ in range(3)]
    status, state = np.empty((2, 1), dtype=np.uint8), np.empty((1, 4), dtype=np.uint8)
    if name == "solve_rows":
        solve: Any = rows.solve_rows
        return fresh(solve.py_func, order, z, *out, status[0])
    if name == "weigh_rows":
        weigh: Any = given_bandwidth.weigh_rows
        return fresh(weigh.py_func, order, True, 1.0, 0.0, z, *out, status[0])
    certify_rows: Any = row_kernel.certify_rows
    gradient, scalars = np.empty((3, 1, 4)), np.empty((1, 2, 3))
    rate = gradient_terms.Rate(gradient_terms.ADAPTIVE, -1.0, 0.0)
    return fresh(
        certify_rows.py_func, order, False, False, 0.0, 0.0, z, z, z.copy(), state, *out, status[0], status[1], rate, z,
        gradient, scalars, status[0].copy(),
    )  # fmt: skip


KERNELS = ("solve_rows", "weigh_rows", "certify_rows")


@pytest.mark.parametrize("name", KERNELS)
def test_the_kernel_has_no_fast_math_flag(name: str) -> None:
    code = kernel_code(name)[0]
    assert len(re.findall(r"\bf(?:add|sub|mul|div) double", code)) > 500
    assert loose_instructions(code) == []


@pytest.mark.parametrize("name", KERNELS)
def test_the_kernel_calls_nothing_that_computes_but_fma(name: str) -> None:
    # Several at once, `v4f64`, are what one alone is.
    called = {re.sub(r"\.v\d+f64$", ".f64", each) for each in computing_calls(kernel_code(name)[0])}
    assert called == ({"llvm.fma.f64"} if HAS_FMA else set())


@pytest.mark.parametrize("name", KERNELS)
def test_the_kernel_fuses_what_it_says_only(name: str) -> None:
    code, assembly = kernel_code(name)
    if not HAS_FMA or "vmulsd" not in assembly:
        pytest.skip("counts the fused instructions of x86-64 with FMA; this is another processor")
    fused = re.findall(r"\bvfn?m(?:add|sub)\w+", assembly)
    # TwoProd is ±a·b − p, a vfmsub or vfnmsub; LLVM may write it down twice, and makes nothing else of it.
    assert fused and {each[:-5] for each in fused} <= {"vfmsub", "vfnmsub"}
    assert len(fused) <= 2 * len(re.findall(r"call (?:double|<\d+ x double>) @llvm\.fma\.(?:v\d+)?f64", code))


def test_products_and_sums_are_not_contracted() -> None:
    @compiled
    def product_and_sum(a: float, b: float, c: float) -> float:
        return a * b + c

    a = 1.0 + 2.0**-30
    assert product_and_sum(a, a, -(1.0 + 2.0**-29)) == 0.0 != math.ldexp(1.0, -60)


@pytest.mark.parametrize("flags", [True, {"contract"}, {"reassoc"}])
def test_a_fast_math_flag_is_seen(flags: Any) -> None:
    def mean(a: float, b: float) -> float:
        return (a * b + a) / b

    loose = numba.njit(fastmath=flags)(mean)
    loose(1.0, 2.0)
    assert loose_instructions(next(iter(loose.inspect_llvm().values())))


def test_a_call_of_the_math_library_is_seen() -> None:
    def through_libm(a: float) -> float:
        return math.exp(a) + math.pow(a, 2.5) + math.log(a)

    assert {"exp", "log"} <= {
        name.split(".")[-2 if "llvm" in name else -1] for name in computing_calls(fresh(through_libm, 1.0)[0])
    }


def test_small_inputs_load_no_compiler() -> None:
    program = (
        "import sys\nfrom kernelproof.reference import bulk\n"
        "assert bulk.entmax_rounded([0.0, 1.0], 2).sum() == 1.0\nassert 'numba' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
