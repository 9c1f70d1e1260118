"""The faults that verification must find: seven kinds, each planted in every built-in backend."""

from __future__ import annotations

from dataclasses import dataclass

from tests.meta.planting import FAST, Change

KINDS = (
    "wrong power",
    "off-by-one support",
    "lost max shift",
    "dropped tie",
    "wrong temperature",
    "wrong Jacobian term",
    "float32 inside float64",
)


# Named one by one, so that they do not depend on how a suite deals its cases; the nightly test runs the suite.
ENTMAX = "entmax order={} rule=adaptive:1 dtype=float64 family={} shape={} feature={} seed=0"
_WEIGHTS = "weights order=2 rule={} dtype=float64 family=random shape=3x8 feature=1 seed=0"
RANDOM = ENTMAX.format(2, "random", "3x8", 1)
FULL_SUPPORT = ENTMAX.format(2, "planted_support", "2x12", 12)
TIES = ENTMAX.format(2, "ties", "3x16", 3)
FAR_OFF = ENTMAX.format("inf", "offsets", "2x12", 5)
"""Here exp overflows if nothing is subtracted."""
FAR_BELOW = ENTMAX.format("inf", "offsets", "2x12", -5)
"""Here all of it is 0; above, the fast path's own exponential wraps around, which divides out."""
COLD = _WEIGHTS.format("adaptive:1/2")
ANCHORED = _WEIGHTS.format("anchored:2")


def single(case: str) -> str:
    """A case in float32."""
    return case.replace("float64", "float32")


@dataclass(frozen=True)
class Fault:
    """A fault in one backend.

    Attributes:
        backend: the name of a built-in backend, or FAST.
        kind: one of `KINDS`.
        change: what plants it.
        checks: ids of the checks that must say FAIL.
        case: where it is looked for.
    """

    backend: str
    kind: str
    change: Change
    checks: tuple[str, ...]
    case: str

    @property
    def id(self) -> str:
        """The name of its test."""
        return f"{self.backend.replace(' ', '_')}-{self.kind.replace(' ', '_')}"


FAULTS = (
    Fault(
        "torch",
        "wrong power",
        Change("torch.solver", "ratio.log()) * order", "ratio.log()) * (order + 1)"),
        ("accuracy", "kkt"),
        RANDOM,
    ),
    Fault(
        "torch",
        "off-by-one support",  # the last key is never tried, so a row of full support loses it
        Change("torch.solver", "torch.full_like(low, ranked.shape[-1])", "torch.full_like(low, ranked.shape[-1] - 1)"),
        ("support", "accuracy"),
        FULL_SUPPORT,
    ),
    Fault(
        "torch",
        "lost max shift",
        Change("torch.solver", "top = torch.where(valid & (top > -math.inf), top, 0.0)", "top = torch.zeros_like(top)"),
        ("accuracy", "simplex", "translation"),
        FAR_OFF,
    ),
    Fault(
        "torch",
        "dropped tie",  # the second of the keys tied at the top
        Change(
            "torch.solver",
            "inside = live & _support(scores, beta, order)\n",
            "inside = live & _support(scores, beta, order) & ((gaps > 0) | ((gaps == 0).cumsum(-1) != 2))\n",
        ),
        ("support", "monotone", "accuracy"),
        TIES,
    ),
    Fault(
        "torch",
        "wrong temperature",  # beta applied twice
        Change("torch.solver", "unit = parameter if rule ==", "unit = parameter * parameter if rule =="),
        ("accuracy", "kkt"),
        COLD,
    ),
    Fault(
        "torch",
        "wrong Jacobian term",  # the mean weighted by p, not by its slopes
        Change(
            "torch.gradient",
            "moved, carried = lean * _centered(lean, g), lean * g",
            "moved, carried = lean * _centered(p, g), lean * g",
        ),
        ("gradients",),
        RANDOM,
    ),
    Fault(
        "torch",
        "float32 inside float64",
        Change("torch.rounding", "return value.to(torch.float64, copy=True)", "return value.float().double()"),
        ("accuracy",),
        FULL_SUPPORT,
    ),
    Fault(
        "numpy",
        "wrong power",
        Change("numpy.support", "np.exp(n * log)", "np.exp((n + 1) * log)"),
        ("accuracy", "kkt"),
        RANDOM,
    ),
    Fault(
        "numpy",
        "off-by-one support",
        Change("numpy.support", "high = (z < n).sum(axis=1) - 1", "high = (z < n).sum(axis=1) - 2"),
        ("support", "accuracy"),
        FULL_SUPPORT,
    ),
    Fault(
        "numpy",
        "lost max shift",
        Change(
            "numpy.core",
            "support, z, rate = unmasked, _scaled_gaps(scores, top, law.parameter, 1.0), law.parameter",
            "support, z, rate = unmasked, -law.parameter * scores, law.parameter",
        ),
        ("accuracy", "simplex", "translation"),
        FAR_OFF,
    ),
    Fault(
        "numpy",
        "dropped tie",
        Change(
            "numpy.support",
            "support = z <= edge\n",
            "support = (z <= edge) & ((z > 0) | (np.cumsum(z == 0, 1) != 2))\n",
        ),
        ("support", "monotone", "accuracy"),
        TIES,
    ),
    Fault(
        "numpy",
        "wrong temperature",  # beta ignored
        Change(
            "numpy.core",
            "z = np.where(alive, _scaled_gaps(scores, top, law.parameter, 1.0), 0.0)",
            "z = np.where(alive, _scaled_gaps(scores, top, 1.0, 1.0), 0.0)",
        ),
        ("accuracy", "kkt"),
        COLD,
    ),
    Fault(
        "numpy",
        "wrong Jacobian term",  # what the cotangent does to the maximum is lost
        Change(
            "numpy.core",
            "return RowGradients(_through_anchor(through, scores), order",
            "return RowGradients(through, order",
        ),
        ("gradients",),
        ANCHORED,
    ),
    Fault(
        "numpy",
        "float32 inside float64",
        Change(
            "_arrays.arguments",
            "return np.array(array, dtype=np.float64",
            "return np.array(array.astype(np.float32), dtype=np.float64",
        ),
        ("accuracy",),
        FULL_SUPPORT,
    ),
    Fault(
        "numba",
        "wrong power",
        Change("numba.scalar_functions", "math.exp(n * log)", "math.exp((n - 1.0) * log)"),
        ("accuracy", "kkt"),
        RANDOM,
    ),
    Fault(
        "numba",
        "off-by-one support",
        Change("numba.careful.rows", "low, high = 0, ordered.size - 1", "low, high = 0, ordered.size - 2"),
        ("support", "accuracy"),
        FULL_SUPPORT,
    ),
    Fault(
        "numba",
        "lost max shift",
        Change(
            "numba.careful.rows",
            "math.exp(-scaled_gap(top, scores[i], factor, divisor))",
            "math.exp(scores[i] * factor / divisor / divisor)",
        ),
        ("accuracy", "simplex", "translation"),
        FAR_OFF,
    ),
    Fault(
        "numba",
        "dropped tie",  # a key equal to its neighbor on the left
        Change(
            "numba.careful.rows",
            "z[i] = scaled_gap(top, scores[i], parameter, 1.0)",
            "z[i] = scaled_gap(top, scores[i], parameter, 1.0) if i == 0 or scores[i] != scores[i - 1] else np.inf",
        ),
        ("support", "monotone", "accuracy"),
        TIES,
    ),
    Fault(
        "numba",
        "wrong temperature",  # divided by beta
        Change(
            "numba.careful.rows",
            "z[i] = scaled_gap(top, scores[i], parameter, 1.0)",
            "z[i] = scaled_gap(top, scores[i], 1.0 / parameter, 1.0)",
        ),
        ("accuracy", "kkt"),
        COLD,
    ),
    Fault(
        "numba",
        "wrong Jacobian term",  # half of what the order does to the threshold
        Change("numba.careful.rows", "return reach / n * (n * x * log_total + spread)", "return reach / n * spread"),
        ("gradients",),
        RANDOM,
    ),
    Fault(
        "numba",
        "float32 inside float64",
        Change("numba.careful.careful_core", "weights[row] = out[P]", "weights[row] = out[P].astype(np.float32)"),
        ("accuracy",),
        FULL_SUPPORT,
    ),
    Fault(
        FAST,
        "wrong power",
        Change("numba.elementary_functions", "    return share * u, (share * x if", "    return share, (share * x if"),
        ("accuracy", "kkt"),
        single(RANDOM),
    ),
    Fault(
        FAST,
        "off-by-one support",  # the last key of a full support is never written
        Change(
            "numba.fast.rows",
            "        normalize(out, slopes, count, change, total, weights)\n",
            "        normalize(out, slopes, count, change, total, weights)\n        weights[-1] = 0\n",
        ),
        ("support", "accuracy"),
        single(FULL_SUPPORT),
    ),
    Fault(
        FAST,
        "lost max shift",
        Change(
            "numba.elementary_functions",
            "exponential((scores[i] - top) * factor)",
            "exponential(np.float64(scores[i]) * factor)",
        ),
        ("accuracy", "simplex", "translation"),
        single(FAR_BELOW),
    ),
    Fault(
        FAST,
        "dropped tie",  # the second of equal weights
        Change(
            "numba.elementary_functions",
            "weights[i] = r * scale + r * scale_low",
            "weights[i] = 0.0 if np.any(out[start:i] == out[i]) else r * scale + r * scale_low",
        ),
        ("support", "monotone", "accuracy"),
        single(TIES),
    ),
    Fault(
        FAST,
        "wrong temperature",  # beta applied twice
        Change("numba.core", "law.order, law.parameter, weights", "law.order, law.parameter * law.parameter, weights"),
        ("accuracy", "kkt"),
        single(COLD),
    ),
    Fault(
        FAST,
        "wrong Jacobian term",  # half of what the order does to the threshold
        Change("numba.fast.vjp", "(x * log_total + n * spread(x))", "(n * spread(x))"),
        ("gradients",),
        single(RANDOM),
    ),
    Fault(
        FAST,
        "float32 inside float64",
        Change(
            "numba.elementary_functions",
            "weights[i] = r * scale + r * scale_low",
            "weights[i] = np.float32(r * scale + r * scale_low)",
        ),
        ("accuracy",),
        FULL_SUPPORT,
    ),
)

REGRESSION = "regression order=2 rule=adaptive:1 dtype=float64 family=random shape=3x12x4x3 feature=1 seed=0"
ROUNDED_INPUTS = (
    Fault(
        "numpy",
        "logits in float32",
        Change("_arrays.arguments", "np.array(array, dtype", "np.array(array.astype(np.float32), dtype"),
        ("accuracy",),
        RANDOM,
    ),
    Fault(
        "numpy",
        "values in float32",
        Change("_arrays.arguments", "double(v).reshape", "double(v.astype(np.float32)).reshape"),
        ("accuracy",),
        REGRESSION,
    ),
    Fault(
        "numpy",
        "cotangent in float32",
        Change(
            "_arrays.arguments",
            "(cotangent_as(cotangent, shape))",
            "(cotangent_as(cotangent, shape).astype(np.float32))",
        ),
        ("gradients",),
        REGRESSION,
    ),
)
"""Float64 inputs of the family random must have more bits than float32, or these are not seen."""


HEAVY = ENTMAX.format(-2, "random", "3x8", 1)
HEAVY_ANCHORED = _WEIGHTS.replace("order=2", "order=-2").format("anchored:2")
HEAVY_FAR = ENTMAX.format(-2, "composition", "13x12", "mixed")
HEAVY_TAILS = (
    Fault(
        "numpy",
        "gamma of the wrong sign",
        Change(
            "numpy.heavy_tails", "np.full_like(top, gamma / 2), n, support)", "np.full_like(top, -gamma), n, support)"
        ),
        ("accuracy",),
        HEAVY_ANCHORED,
    ),
    Fault(
        "numpy",
        "order less by one",
        Change(
            "numpy.heavy_tails",
            "            break\n    found = heavy_terms(z_half, reach / 2, n, support)",
            "            break\n    found = heavy_terms(z_half, reach / 2, n + 1, support)",
        ),
        ("accuracy", "kkt"),
        HEAVY,
    ),
    Fault(
        "numpy",
        "threshold from the smallest key",
        Change(
            "numpy.heavy_tails",
            "    reach = np.full_like(z_half[:, :1], -n)\n    active",
            "    z_half = z_half.max(axis=1, keepdims=True) - z_half\n"
            "    reach = np.full_like(z_half[:, :1], -n)\n    active",
        ),
        ("accuracy", "kkt", "monotone"),
        HEAVY,
    ),
    Fault(
        "numpy",
        "far keys cut off",
        Change("numpy.heavy_tails", "np.where(support, r, 0.0), base, log)", "np.where(x < 1, r, 0.0), base, log)"),
        ("accuracy", "support"),
        HEAVY_FAR,
    ),
)
"""Faults of negative orders."""
