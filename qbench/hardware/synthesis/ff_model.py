"""How many flip-flops a unit takes: a few terms that say where they are, fitted to synthesis.

FINN estimates LUTs and block RAMs, and no flip-flops.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .unit import SynthesisError, Unit, signed_width

COLUMNS = ("mw", "mh", "pe", "simd", "weight_bits", "act_bits", "out_bits")
TERMS = {
    "accumulators": "PE · accumulator bits",
    "products": "PE · SIMD · product bits + PE · bits of their sum",
    "search": "PE · out_bits · accumulator bits: sums and thresholds between the search's stages",
    "io": "SIMD · act_bits + PE · out_bits",
    "counters": "log2(synapse folds) + (out_bits + 3) · log2(neuron folds)",
    "constant": "1: what every unit has",
}
FOLDS = 10


@dataclass(frozen=True)
class FlipFlopModel:
    """Flip-flops = Σ coefficient · term, with the terms of `TERMS`.

    `error` is the mean absolute error in per cent of units that the fit has not seen (10-fold
    cross-validation), `worst` the largest; `rows` is the number of units fitted to.
    """

    coefficients: Mapping[str, float]
    error: float
    worst: float
    rows: int

    def predict(self, rows: pd.DataFrame) -> pd.Series:
        """Flip-flops of each row, which has the columns `COLUMNS`; raises `SynthesisError`."""
        values = terms(rows) @ pd.Series(self.coefficients)
        return values.rename("ff")


def fit_ff(rows: pd.DataFrame, seed: int = 0) -> FlipFlopModel:
    """Least squares of the relative error on `rows`: `COLUMNS` and `ff`, as `synthesise_grid` gives.

    Coefficients are at least 0: no part takes flip-flops away. `seed` deals the rows into the parts
    of the cross-validation. Raises `SynthesisError` for fewer rows than twice the terms.
    """
    found = terms(rows)
    _columns(rows, ["ff"])
    if len(rows) < 2 * len(TERMS):
        raise SynthesisError(f"a fit needs at least {2 * len(TERMS)} rows, not {len(rows)}.")
    x, y = found.to_numpy(), rows["ff"].to_numpy(float)
    if not (y > 0).all():
        raise SynthesisError("ff must be positive in every row.")
    part = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    error = np.zeros(len(y))
    for one in range(FOLDS):
        out = part == one
        error[out] = np.abs(x[out] @ _solve(x[~out], y[~out]) / y[out] - 1)
    return FlipFlopModel(
        dict(zip(TERMS, _solve(x, y).tolist(), strict=True)),
        float(100 * error.mean()),
        float(100 * error.max()),
        len(y),
    )


def terms(rows: pd.DataFrame) -> pd.DataFrame:
    """The terms of `TERMS` for each row, indexed as `rows`; `out_bits` missing is a unit of sums."""
    _columns(rows, COLUMNS)
    each = (Unit(*_sizes(row)) for row in rows[list(COLUMNS)].itertuples(index=False))
    return pd.DataFrame(list(map(_terms, each)), index=rows.index, columns=list(TERMS), dtype=float)


def _terms(u: Unit) -> list[float]:
    out = u.out_bits or 0
    low, high = u.product_range
    if u.binary:  # XNORs have no register of their own
        products = u.pe * u.simd.bit_length()
    else:
        total = signed_width(u.simd * low, u.simd * high)
        products = u.pe * (u.simd * signed_width(low, high) + total)
    return [
        u.pe * u.acc_bits,
        products,
        u.pe * out * u.acc_bits,
        u.simd * u.act_bits + u.pe * u.element_bits,
        np.log2(u.synapse_folds) + (out + 3) * np.log2(u.neuron_folds),
        1,
    ]


def _sizes(row: Iterable[float]) -> list[int | None]:
    return [None if pd.isna(value) else value for value in row]


def _columns(rows: pd.DataFrame, names: Iterable[str]) -> None:
    lacking = [name for name in names if name not in rows]
    if lacking:
        raise SynthesisError(f"the rows must have a column {lacking[0]!r}, and have none.")


def _solve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    scale = np.abs(x).max(0).clip(1)
    return nnls(x / scale / y[:, None], np.ones(len(y)))[0] / scale
