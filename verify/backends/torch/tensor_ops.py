"""`ops` and `product`, behind a check that torch is there: importing this raises BackendUnavailable without it."""

from __future__ import annotations

from importlib.util import find_spec

from kernelproof.reference.errors import BackendUnavailable

if find_spec("torch") is None:
    msg = "torch is not installed; pip install 'kernelproof[torch]'"
    raise BackendUnavailable(msg)

from kernelproof.verify.backends.torch import ops, product

__all__ = ["ops", "product"]
