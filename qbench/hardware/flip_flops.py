"""Flip-flops of an MVTU: a linear model, once it has been fitted to real synthesis.

FINN's formulas have no flip-flops. `data/hardware/ff_model.yml` holds the coefficients of a least
squares fit, written from synthesised MVTUs; without that file every estimate is NaN. The file:

    source: which designs were synthesised, with what, and how far the fit is off
    coefficients: {constant: 61.0, accumulators: 2.5}     # any of FEATURES; the others count 0
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from qbench import paths

from .errors import HardwareError

MODEL_FILE = paths.ROOT / "data" / "hardware" / "ff_model.yml"

# The registers an MVTU can have, in bits. `out_bits` is 0 where no activation follows, `depth` the
# number of words in the memory of weights: mw·mh / (pe·simd).
FEATURES = {
    "constant": lambda **of: of["pe"] ** 0,
    "inputs": lambda *, simd, act_bits, **_: simd * act_bits,
    "weights": lambda *, pe, simd, weight_bits, **_: pe * simd * weight_bits,
    # Products of one bit are XNORs, counted without a register between.
    "products": lambda *, pe, simd, weight_bits, act_bits, **_: (
        pe * simd * (weight_bits + act_bits) * (weight_bits * act_bits > 1)
    ),
    "accumulators": lambda *, pe, accumulator_bits, **_: pe * accumulator_bits,
    # Without an activation sums leave as they are.
    "sums": lambda *, pe, accumulator_bits, out_bits, **_: pe * accumulator_bits * (out_bits == 0),
    # A search for the number of thresholds passes the sum on, bit after bit, and what it has found.
    "search": lambda *, pe, accumulator_bits, out_bits, **_: pe * accumulator_bits * out_bits,
    "found": lambda *, pe, out_bits, **_: pe * out_bits * (out_bits - 1) / 2,
    "outputs": lambda *, pe, out_bits, **_: pe * out_bits,
    "counters": lambda *, depth, **_: np.log2(depth),
}


def features(
    pe: Any,
    simd: Any,
    weight_bits: Any,
    act_bits: Any,
    accumulator_bits: Any,
    out_bits: Any,
    depth: Any,
) -> dict[str, Any]:
    """The regressors of the model by name, numbers or arrays of them; out_bits 0 for none."""
    values = dict(pe=pe, simd=simd, weight_bits=weight_bits, act_bits=act_bits)
    values |= dict(accumulator_bits=accumulator_bits, out_bits=out_bits, depth=depth)
    return {name: feature(**values) for name, feature in FEATURES.items()}


def estimate(*values: Any) -> Any:
    """Flip-flops for the arguments of `features`, rounded; NaN where no model has been fitted.

    Raises `HardwareError` where the model's file does not say what it must.
    """
    coefficients = model(MODEL_FILE)
    if coefficients is None:
        return float("nan")
    terms = features(*values)
    total = sum(factor * np.asarray(terms[name]) for name, factor in coefficients.items())
    return np.rint(np.maximum(total, 0)).astype(np.int64)


@lru_cache
def model(file: Path) -> Mapping[str, float] | None:
    """The coefficients in `file` by feature, or None without one."""
    if not file.exists():
        return None
    import yaml

    content = yaml.safe_load(file.read_text("utf-8"))
    found = content.get("coefficients") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found or not set(found) <= set(FEATURES):
        raise HardwareError(
            f"{paths.shown(file)} must map `coefficients` from some of {', '.join(FEATURES)} to "
            "numbers."
        )
    if not all(isinstance(value, int | float) for value in found.values()):
        raise HardwareError(f"{paths.shown(file)} must give every coefficient as a number.")
    return {name: float(value) for name, value in found.items()}
