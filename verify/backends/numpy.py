"""The NumPy backend: plain array code in float64, the readable one."""

from __future__ import annotations

from kernelproof.verify.rows.ops import RowBackend

BACKEND = RowBackend("numpy", "kernelproof.verify.rows.dense")
