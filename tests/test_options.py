"""The options of a target: one list, which every command takes in Python and on the command line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import kernelproof
from kernelproof import api, cli
from kernelproof.commands.lines import TARGET_OPTIONS
from kernelproof.options import TargetOptions

COMMANDS = ("verify", "fuzz", "worst_case")


def test_the_command_line_has_the_options_of_python_in_their_order() -> None:
    assert list(TARGET_OPTIONS) == list(TargetOptions.__annotations__)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_line_takes_them_all(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command.replace("_", "-"), "--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')} " in said for name in TARGET_OPTIONS)
    assert said.index("--exec") < said.index("--op") < said.index("--variant") < said.index("--seed")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_names_one_of_them_itself(command: str) -> None:
    own = inspect.signature(api.verify if command == "verify" else getattr(kernelproof, command)).parameters
    assert not set(own) & set(TARGET_OPTIONS)
    assert own["options"].kind is inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_option_is_an_error(command: str, tmp_path: Path) -> None:
    with pytest.raises(
        TypeError,
        match=r"unexpected keyword argument 'orders' \(did you mean order\?\); the options of a target are op, ",
    ):
        getattr(kernelproof, command)("numpy", orders="1", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("wrong", "right"), [("limit", "timeout"), ("array", "array_library"), ("dtpye", "dtype")])
def test_an_old_or_misspelt_option_is_told_its_name(wrong: str, right: str) -> None:
    with pytest.raises(TypeError, match=rf"unexpected keyword argument '{wrong}' \(did you mean {right}\?\)"):
        getattr(kernelproof, COMMANDS[0])("numpy", **{wrong: "3"})
