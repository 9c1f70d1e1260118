"""Scripts for released implementations: they call the package itself, by lines written out from our adapter."""

from __future__ import annotations

import pytest

from kernelproof.verify.targets.peers import peer_names, place_of
from kernelproof.verify.witness.peers import definition


@pytest.mark.parametrize("name", peer_names())
def test_every_peer_is_defined_without_this_package(name: str) -> None:
    place = place_of(name)
    assert place is not None
    text = "\n".join(definition(*place))
    assert "kernelproof" not in text
    assert "@" not in text
    held: dict[str, object] = {}
    exec(compile(text, name, "exec"), held)  # noqa: S102 (our own lines)
    assert callable(held[place[1]])


def test_helpers_come_before_what_calls_them() -> None:
    lines = definition("kernelproof.verify.targets.peers.adasplash", "adasplash_v1")
    defined = [line for line in lines if line.startswith("def ")]
    assert defined == ["def _batched(array):", "def adasplash_v1(q, k, v, alpha=1.5, causal=False):"]
