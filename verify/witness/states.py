"""Expressions for the state of a process, one for each part that a call must leave unchanged."""

from __future__ import annotations

_TORCH_MATMUL = "torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32"
STATES = {
    "the random state of Python": "random.getstate()",
    "the random state of NumPy": "[getattr(part, 'tolist', lambda: part)() for part in np.random.get_state()]",
    "how NumPy handles errors": "np.geterr()",
    "how NumPy prints": "np.get_printoptions()",
    "the mode of arithmetic (flush to zero, rounding)": (
        "[float((np.array([a]).astype(t) * t(b))[0]) for t, a, b in [(np.float64, 2.0**-1022, 0.5), "
        "(np.float32, 2.0**-126, 0.5), *((np.float64, 1 + 2.0**-52, b) for b in (1.25, -1.25, 1.75))]]"
    ),
    "the functions of NumPy": "{name: id(held) for name, held in vars(np).items() if callable(held)}",
    "the locale": "locale.setlocale(locale.LC_ALL)",
    "the working directory": "os.getcwd()",
    "environment variables": "dict(os.environ)",
    "signal handlers": "[signal.getsignal(each) for each in sorted(signal.valid_signals())]",
    "the standard streams": "(sys.stdout, sys.stderr, sys.stdin)",
    "the recursion limit": "sys.getrecursionlimit()",
    "whether garbage is collected": "gc.isenabled()",
    "the random state of torch": "torch.get_rng_state().tolist()",
    "the default dtype of torch": "torch.get_default_dtype()",
    "the default device of torch": "torch.get_default_device()",
    "whether torch records gradients": "torch.is_grad_enabled()",
    "the thread count of torch": "torch.get_num_threads()",
    "the precision of matrix products in torch": f"(torch.get_float32_matmul_precision(), {_TORCH_MATMUL})",
    "whether torch is deterministic": "torch.are_deterministic_algorithms_enabled()",
    "the thread count of numba": "numba.get_num_threads()",
    "the precision of mpmath": "mpmath.mp.prec",
    "the precision of flint": "flint.ctx.prec",
}
"""Name of a part, see `process.state` -> an expression for its value."""
ENVIRONMENT = "environment variables"
"""The part that an import may change; if no other part changes, the script makes a first call that does not count."""
