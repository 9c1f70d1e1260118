"""A file is a module under its own name, unless that is the name of another."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kernelproof.verify.targets.target import find, load

LOOKED_UP = """
from __future__ import annotations
import pickle
from dataclasses import dataclass

@dataclass
class Setting:
    scale: float = 1.0

def softmax(z, order=None):
    return pickle.loads(pickle.dumps(softmax)) is softmax
"""


@pytest.mark.parametrize("name", ["looked_up_by_its_name", "with-hyphen"])
def test_a_file_is_found_by_the_name_of_its_module(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text(LOOKED_UP, encoding="utf-8")
    found, module = load(find(f"{path}:softmax"))
    assert sys.modules[name] is module
    assert found(None)
    for each in (name, str(path)):
        del sys.modules[each]


def test_a_file_does_not_stand_for_a_package_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "antigravity.py"
    path.write_text("def softmax(z):\n    return z\n", encoding="utf-8")
    load(find(f"{path}:softmax"))
    assert "antigravity" not in sys.modules
