"""The adapters of adasplash around a stub of its functions, and on a CUDA device the package itself."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from kernelproof import api
from kernelproof.verify.record.schema import Verdict
from kernelproof.verify.targets.peers import adasplash as adapters
from kernelproof.verify.targets.scope import Scope
from kernelproof.verify.targets.target import find, load

torch = pytest.importorskip("torch", reason="PyTorch is not installed; pip install torch")
CUDA = torch.cuda.is_available() and find_spec("adasplash") is not None
on_cuda = [
    pytest.mark.cuda,
    pytest.mark.skipif(not CUDA, reason="needs a CUDA device and adasplash; pip install adasplash"),
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    made: list[tuple[Any, ...]] = []

    def rows(x: Any, **options: Any) -> Any:
        assert x.is_contiguous()
        made.append((tuple(x.shape), options))
        return x.softmax(-1)

    def heads(q: Any, k: Any, v: Any, **options: Any) -> Any:
        assert q.dim() == k.dim() == v.dim() == 4
        assert all(each.is_contiguous() for each in (q, k, v))
        made.append((tuple(q.shape), tuple(k.shape), options))
        return q * 2

    names = dict.fromkeys(("triton_sparsemax", "triton_entmax15", "triton_entmax_v1", "triton_entmax_v2"), rows)
    stub = SimpleNamespace(**names, adasplash_v1=heads, adasplash_v2=heads)
    monkeypatch.setitem(sys.modules, "adasplash", stub)
    return made


def test_rows_are_passed_on_contiguous(calls: list[tuple[Any, ...]]) -> None:
    z = torch.randn(5, 3, dtype=torch.float32).T
    for function in (adapters.triton_sparsemax, adapters.triton_entmax15):
        assert function(z).shape == z.shape
    adapters.triton_entmax_v1(z, alpha=1.25)
    adapters.triton_entmax_v2(z, alpha=1.25)
    assert calls == [((3, 5), {}), ((3, 5), {}), ((3, 5), {"alpha": 1.25}), ((3, 5), {"alpha": 1.25})]


def test_heads_get_a_batch_and_lose_it(calls: list[tuple[Any, ...]]) -> None:
    q, k = torch.randn(4, 64, 16), torch.randn(2, 64, 16)
    out = adapters.adasplash_v2(q, k, k, causal=True)
    torch.testing.assert_close(out, 2 * q, rtol=0, atol=0)
    adapters.adasplash_v1(q, q, q, alpha=1.5, causal=False)
    assert calls == [
        ((1, 4, 64, 16), (1, 2, 64, 16), {}),
        ((1, 4, 64, 16), (1, 4, 64, 16), {"alpha": 1.5, "is_causal": False}),
    ]


def test_version_2_is_causal(calls: list[tuple[Any, ...]]) -> None:
    q = torch.randn(1, 64, 16)
    with pytest.raises(ValueError, match="causal; got causal=False"):
        adapters.adasplash_v2(q, q, q)
    assert not calls


def scope_of(name: str) -> Scope:
    from kernelproof.verify.targets.target import bindings_of

    place = find(name)
    found, module = load(place)
    ((_, binding, said),) = bindings_of(found, module, place).values()
    return Scope(
        op=binding.op,
        takes=binding.takes,
        order=said.order,
        orders=said.orders or (),
        rules=binding.rules,
        dtypes=said.dtypes or (),
        options=said.options,
        shapes=said.limits,
    )


def test_the_suite_large_has_cases_for_the_attention_kernels() -> None:
    from kernelproof.verify.cases.plan import plan
    from kernelproof.verify.cases.suites import Selection

    cases = plan(Selection("large", ops=("attention",), orders=("1", "2"), rules=("adaptive:1",)))
    taken = {
        name: {(case.order, case.feature) for case in cases if scope_of(f"adasplash.{name}").refuses(case) is None}
        for name in ("adasplash_v1", "adasplash_v2")
    }
    assert taken["adasplash_v1"] == {(order, feature) for order in "12" for feature in ("causal", "full")}
    assert taken["adasplash_v2"] == {("2", "causal")}


def large(order: str) -> str:
    return f"entmax order={order} rule=adaptive:1 dtype=float32 family=large shape=16384x4096 feature=2 seed=0"


@pytest.mark.parametrize(
    "shape", [pytest.param("16384x4096", marks=on_cuda), pytest.param("65536x1024", marks=on_cuda)]
)
def test_rows_of_triton_sparsemax_do_not_sum_to_one(shape: str) -> None:
    case = large("1").replace("16384x4096", shape)
    found = api.verify("adasplash.triton_sparsemax", case=case, device="cuda", serial=True)
    simplex = next(each for each in found.targets[0].checks if each.id == "simplex")
    assert simplex.verdict == Verdict.FAIL
    assert simplex.failed > 10


@pytest.mark.parametrize("name", [pytest.param("torch.softmax", marks=on_cuda)])
def test_softmax_of_the_same_batch_is_right(name: str) -> None:
    found = api.verify(name, case=large("inf"), device="cuda", serial=True)
    assert found.passed
