"""The row map of the `torch` backend and its ops; every module but this one imports torch.

`rounding` changes dtypes with one rounding, `solve` computes weights in float64, `gradient` holds the
closed-form derivatives, `row` joins the two as an operator for autograd and torch.compile, `plan` reads
kernels and rules, `ops` are the public operations and `product` their vector-Jacobian products.
"""

from __future__ import annotations

from importlib.util import find_spec

from kernelproof.reference.errors import BackendUnavailable

if find_spec("torch") is None:
    msg = "torch is not installed; pip install 'kernelproof[torch]'"
    raise BackendUnavailable(msg)
