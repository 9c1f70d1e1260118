"""The example database: witnesses of earlier runs, which the next run tries first.

The folder of a target holds one JSON file for each witness: the line of its case, the check that failed, and, unless
it is a plain recipe, the arrays as hexadecimal floats. The files can be read, edited and kept under version control.
A file is written whole or not at all. One that is no entry, such as an empty one, is set aside under another name.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernelproof.reference.errors import DomainError, shown
from kernelproof.reference.files import write_whole
from kernelproof.reference.formats import FORMATS
from kernelproof.reference.plain_text import encodable
from kernelproof.verify.cases.case import Case
from kernelproof.verify.cases.subject import Subject
from kernelproof.verify.checks import checks
from kernelproof.verify.fuzz.cuts import axes_of, letters
from kernelproof.verify.records import CRASH, Array, Inputs

BROKEN = ".broken"
"""The ending of a file that was set aside."""


@dataclass(frozen=True)
class Entry:
    """A stored witness: the check that failed on `subject`."""

    check: str
    subject: Subject


class Database:
    """The stored witnesses of one target.

    Args:
        folder: the folder of the database, shared by all targets.
        name: the text that names the target.
    """

    def __init__(self, folder: Path, name: str) -> None:
        slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[-60:]
        # The name of a file may hold characters that UTF-8 cannot encode.
        self.folder = folder / f"{slug}-{hashlib.sha256(encodable(name).encode()).hexdigest()[:8]}"

    def entries(self, remark: Callable[[str], object]) -> Iterator[Entry]:
        """The stored witnesses, in the order of the file names.

        Args:
            remark: called with a line about each file that is no entry, which is left out and set aside.
        """
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            try:
                entry = entry_of(json.loads(path.read_text(encoding="utf-8")))
            except OSError as error:
                remark(f"{str(path)!r} of the example database cannot be read ({error.strerror}); it is left out")
            except (ValueError, RecursionError) as error:
                reason = str(error) if isinstance(error, DomainError) else type(error).__name__
                remark(f"{str(path)!r} is no entry of an example database ({reason}); {_set_aside(path)}")
            else:
                yield entry

    def save(self, entry: Entry) -> Path:
        """Store `entry`; storing it again writes the same file.

        Raises:
            DomainError: the folder cannot be written.
        """
        text = json.dumps(record_of(entry), indent=1, sort_keys=True) + "\n"
        path = self.folder / f"{entry.check}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, text.encode("utf-8"))
        except OSError as error:
            place = f"{str(self.folder)!r} ({error.strerror})"
            msg = f"the example database must be a folder that can be written; got {place}"
            raise DomainError(msg) from None
        return path


def _set_aside(path: Path) -> str:
    """Give the file another ending, so that it is kept and not read again; say what became of it."""
    aside = path.with_suffix(BROKEN)
    try:
        path.replace(aside)
    except OSError as error:
        return f"it is left out, and cannot be renamed ({error.strerror})"
    return f"it is {aside.name} now"


def record_of(entry: Entry) -> dict[str, Any]:
    """`entry` as plain data."""
    inputs = entry.subject.inputs
    found: dict[str, Any] = {"check": entry.check, "case": entry.subject.case.text}
    if inputs is not None:
        found["arrays"] = {name: _written(array) for name, array in inputs.arrays.items()}
        found["options"] = {
            name: _written(np.asarray(value)) if hasattr(value, "dtype") else value
            for name, value in inputs.options.items()
        }
        found["cotangent"] = None if inputs.cotangent is None else _written(inputs.cotangent)
    return found


def entry_of(found: Any) -> Entry:
    """The entry that `record_of` wrote.

    Raises:
        DomainError: `found` is not such a record: a field is missing, of another kind, or does not suit the case.
    """
    try:
        check, case = str(found["check"]), Case.parse(found["case"])
        inputs = _inputs_of(found) if "arrays" in found else None
    except DomainError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        # What another kind of value raises where a text, a number, a list or a table should be.
        msg = f"{type(error).__name__}: {error}"
        raise DomainError(msg) from None
    if check not in {*checks(), CRASH}:
        msg = f"there is no check {shown(check)}"
        raise DomainError(msg)
    if inputs is None:
        return Entry(check, Subject(case))
    subject = Subject(case, inputs)
    sizes, axes = dict(zip(letters(subject), case.shape, strict=True)), axes_of(subject)
    held = {name: array.shape for name, array in inputs.arrays.items()}
    needed = {
        name: tuple(sizes[letter] for letter in axes[name])
        for name in axes
        if name not in {"cotangent", "mask", "lengths"}
    }
    if held != needed:
        msg = f"a case of this shape has the arrays {needed}; got {held}"
        raise DomainError(msg)
    return Entry(check, subject)


def _inputs_of(found: dict[str, Any]) -> Inputs:
    upstream = found["cotangent"]
    return Inputs(
        arrays={name: _read(array) for name, array in found["arrays"].items()},
        options={name: _read(value) if isinstance(value, dict) else value for name, value in found["options"].items()},
        cotangent=None if upstream is None else _read(upstream),
    )


def _written(array: Array) -> dict[str, Any]:
    """Shape, dtype and numbers; the numbers as hexadecimal floats, which are exact in every dtype."""
    flat = array.reshape(-1)
    if array.dtype.kind in "bi":
        return {"dtype": array.dtype.name, "shape": list(array.shape), "numbers": flat.tolist()}
    numbers = [_hex(float(value)) for value in flat.astype(np.float64)]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "numbers": numbers}


def _hex(value: float) -> str:
    return value.hex() if math.isfinite(value) else repr(value)


def _read(found: dict[str, Any]) -> Array:
    name, shape = found["dtype"], tuple(found["shape"])
    if name in FORMATS:
        values = np.array([float.fromhex(number) for number in found["numbers"]], dtype=np.float64)
        return values.astype(FORMATS[name].dtype).reshape(shape)
    return np.array(found["numbers"], dtype=np.dtype(name)).reshape(shape)
