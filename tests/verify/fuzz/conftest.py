from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kernelproof.verify.targets.target import Target, describe, find

FAULTY = Path(__file__).with_name("faulty.py")


@pytest.fixture
def faulty() -> Callable[[str], Target]:
    """The target of that name in `faulty.py`; it is not called here."""

    def loaded(name: str) -> Target:
        found = describe(find(f"{FAULTY}:{name}"), probe=False)
        assert not isinstance(found, str)
        return found[0]

    return loaded
