"""Peers: found by their files, named without their packages, and unavailable with the line that installs them."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from kernelproof.reference.errors import TargetError
from kernelproof.verify import peers
from kernelproof.verify.declaring import ATTRIBUTE, Declaration
from kernelproof.verify.peers import PeerError, functions, missing, peer, peer_names, place_of
from kernelproof.verify.targets import describe, find

NAMES = {
    "adasplash.adasplash_v1", "adasplash.adasplash_v2", "adasplash.triton_entmax15", "adasplash.triton_entmax_v1",
    "adasplash.triton_entmax_v2", "adasplash.triton_sparsemax", "entmax.entmax15", "entmax.entmax15_k2",
    "entmax.entmax_bisect", "entmax.sparsemax", "entmax.sparsemax_bisect", "entmax.sparsemax_k2", "mosaics.norm_relu",
    "mosaics.relumax", "sklearn.k_neighbors_regressor", "torch.scaled_dot_product_attention", "torch.softmax",
}  # fmt: skip


def test_the_peers_are_these() -> None:
    assert set(peer_names()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_peer_has_a_place_and_a_declaration(name: str) -> None:
    place = find(name)
    assert place.name == name
    function = getattr(import_module(place.module), place.object)
    assert isinstance(getattr(function, ATTRIBUTE), Declaration)
    found = describe(place)
    # Here, or a reason in words: never a list of nothing.
    assert found


def test_naming_the_peers_imports_none_of_their_packages() -> None:
    code = "import sys; from kernelproof.verify.peers import peer_names; peer_names(); print(*sorted(sys.modules))"
    held = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "entmax", "adasplash", "sklearn", "triton"} & set(held)


def test_what_is_missing_comes_with_the_line_that_installs_it() -> None:
    @peer("numpy", "no_such_package", "sklearn" if missing("f", ("sklearn",)) else "also_missing", order=1)
    def f(z: object) -> object:
        return z

    said = f.available()  # type: ignore[attr-defined]
    assert said is not None
    assert "f needs no_such_package and " in said
    assert "pip install no_such_package" in said
    assert "numpy" not in said


def test_the_distribution_may_have_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    assert missing("f", ("sklearn",)) == "f needs sklearn; install it with: pip install scikit-learn"


def test_without_its_package_a_peer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda package: None if package == "entmax" else object())
    assert describe(find("entmax.sparsemax")) == "sparsemax needs entmax; install it with: pip install entmax"


def test_a_module_without_a_peer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.import_module", lambda _: sys)
    with pytest.raises(PeerError, match="must mark a function with `peer`; entmax has none"):
        functions("entmax")


def test_an_unknown_name_lists_the_peers() -> None:
    assert place_of("entmax.no_such_function") is None
    assert place_of("entmax") is None
    with pytest.raises(TargetError, match=r"unknown target 'entmax\.softmax'; allowed: .*entmax\.sparsemax"):
        find("entmax.softmax")
