"""Peers: found by their files, named without their packages, and unavailable with the line that installs them."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from kernelproof.reference.errors import TargetError
from kernelproof.verify.targets.declaration import ATTRIBUTE, Declaration
from kernelproof.verify.targets.peers import PeerError, functions, missing, peer, peer_names, place_of
from kernelproof.verify.targets.target import describe, find

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
    code = (
        "import sys; from kernelproof.verify.targets.peers import peer_names; peer_names(); print(*sorted(sys.modules))"
    )
    held = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "entmax", "adasplash", "sklearn", "triton"} & set(held)


def test_what_is_missing_comes_with_the_line_that_installs_it() -> None:
    @peer("numpy", "no_such_package", "also_missing", order=1)
    def f(z: object) -> object:
        return z

    said = f.available()  # type: ignore[attr-defined]
    assert said is not None
    assert "f needs no_such_package and also_missing" in said
    assert "pip install no_such_package also_missing" in said
    assert "numpy" not in said


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    # What sys.modules says is None cannot be imported.
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def test_the_distribution_may_have_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "sklearn")
    assert missing("f", ("sklearn.neighbors",)) == "f needs sklearn; install it with: pip install scikit-learn"


def test_a_package_that_breaks_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_package.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    said = missing("f", ("broken_package",))
    assert said == "f needs broken_package, which cannot be imported: ZeroDivisionError: division by zero"


def test_without_its_package_a_peer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "entmax")
    assert describe(find("entmax.sparsemax")) == "sparsemax needs entmax; install it with: pip install entmax"


def test_a_module_without_a_peer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.import_module", lambda _: sys)
    with pytest.raises(PeerError, match="must mark a function with `peer`; entmax has none"):
        functions("entmax")


def test_an_unknown_name_lists_the_peers() -> None:
    assert place_of("entmax.no_such_function") is None
    assert place_of("entmax") is None
    with pytest.raises(
        TargetError, match=r"unknown target 'entmax\.softmax' \(did you mean .*\?\); allowed: .*entmax\.sparsemax"
    ):
        find("entmax.softmax")
