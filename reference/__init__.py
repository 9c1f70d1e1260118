"""The reference: certified kernel regression and entmax, under fixed and adaptive normalization."""

from kernelproof.reference import bulk, formats, rows, solver
from kernelproof.reference.enclosure import Enclosure
from kernelproof.reference.errors import (
    BackendUnavailable,
    DomainError,
    KernelproofError,
    TargetError,
    UndecidedError,
)
from kernelproof.reference.model import (
    Adaptive,
    Anchored,
    Fixed,
    Kernel,
    Mechanism,
    Nearest,
    mechanism,
)
from kernelproof.reference.ops.attention import Attention, attention, attention_vjp
from kernelproof.reference.ops.entmax import entmax, entmax_vjp
from kernelproof.reference.ops.regression import Regression, regression, regression_vjp
from kernelproof.reference.ops.weights import weights, weights_vjp
from kernelproof.reference.solved_rows import Weighting

__all__ = [
    "Adaptive",
    "Anchored",
    "Attention",
    "BackendUnavailable",
    "DomainError",
    "Enclosure",
    "Fixed",
    "Kernel",
    "KernelproofError",
    "Mechanism",
    "Nearest",
    "Regression",
    "TargetError",
    "UndecidedError",
    "Weighting",
    "attention",
    "attention_vjp",
    "bulk",
    "entmax",
    "entmax_vjp",
    "formats",
    "mechanism",
    "regression",
    "regression_vjp",
    "rows",
    "solver",
    "weights",
    "weights_vjp",
]
