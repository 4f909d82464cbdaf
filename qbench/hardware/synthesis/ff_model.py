"""How many flip-flops a unit takes: the model of `hardware.flip_flops`, fitted to synthesis."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from qbench.files import write_atomically
from qbench.hardware import flip_flops

from .unit import SynthesisError

# Columns of the rows, in the order of `flip_flops.features`
COLUMNS = ("pe", "simd", "weight_bits", "act_bits", "acc_bits", "out_bits", "cycles")
PARTS = 10


@dataclass(frozen=True)
class FlipFlopModel:
    """Flip-flops = Σ coefficient · feature, with the features of `flip_flops.FEATURES`.

    `error` is the mean absolute error, and `worst` the largest, in per cent of the flip-flops of
    units that the fit has not seen (10-fold cross-validation); `rows` is how many it was made from
    and `yosys` which versions counted them.
    """

    coefficients: Mapping[str, float]
    error: float
    worst: float
    rows: int
    yosys: tuple[str, ...] = ()

    def predict(self, rows: pd.DataFrame) -> pd.Series:
        """Flip-flops of each row, which has `COLUMNS`; raises `SynthesisError` without."""
        return (_features(rows) @ pd.Series(self.coefficients)).rename("ff")

    def write(self, file: Path = flip_flops.MODEL_FILE) -> Path:
        """Write the file that `flip_flops` estimates with; returns its path."""
        import yaml

        source = (
            f"{self.rows} synthesised MVTUs, Yosys {', '.join(self.yosys) or 'unknown'}; units not "
            f"fitted to are off by {self.error:.1f} % on average and {self.worst:.1f} % at most"
        )
        rounded = {name: float(f"{value:.6g}") for name, value in self.coefficients.items()}
        content = yaml.safe_dump({"source": source, "coefficients": rounded}, sort_keys=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content.encode())
        flip_flops.model.cache_clear()  # this process estimates with it as well
        return file


def fit_ff(rows: pd.DataFrame, seed: int = 0) -> FlipFlopModel:
    """Least squares of the relative error, on rows as `synthesise_grid` gives: `COLUMNS` and `ff`.

    Coefficients are at least 0: no register takes flip-flops away. Where rows cannot tell features
    apart, such as a unit's constant from a counter that is the same in all, some are 0. `seed`
    deals the rows to the parts of the cross-validation. Raises `SynthesisError` for lacking
    columns, for fewer rows than twice the features, and for what is no number of flip-flops.
    """
    features = _features(rows)
    _need(rows, "ff")
    least = 2 * features.shape[1]
    if len(rows) < least:
        raise SynthesisError(f"a fit needs at least {least} rows, not {len(rows)}.")
    x, y = features.to_numpy(), rows["ff"].to_numpy(float)
    if not (np.isfinite(y) & (y > 0)).all():
        raise SynthesisError("ff must be a positive number in every row.")
    part = np.random.default_rng(seed).permutation(len(y)) % PARTS
    error = np.empty(len(y))
    for one in range(PARTS):
        unseen = part == one
        error[unseen] = np.abs(x[unseen] @ _solve(x[~unseen], y[~unseen]) / y[unseen] - 1)
    return FlipFlopModel(
        coefficients=dict(zip(features, _solve(x, y).tolist(), strict=True)),
        error=float(100 * error.mean()),
        worst=float(100 * error.max()),
        rows=len(y),
        yosys=tuple(sorted(set(rows["yosys"]))) if "yosys" in rows else (),
    )


def _features(rows: pd.DataFrame) -> pd.DataFrame:
    """The regressors of each row, indexed as `rows`; a unit of sums has no `out_bits`."""
    _need(rows, *COLUMNS)
    values = (rows[name].fillna(0).to_numpy(float) for name in COLUMNS)
    return pd.DataFrame(flip_flops.features(*values), index=rows.index, dtype=float)


def _need(rows: pd.DataFrame, *names: str) -> None:
    lacking = [name for name in names if name not in rows]
    if lacking:
        raise SynthesisError(f"the rows need a column {lacking[0]!r}, and have {list(rows)}.")


def _solve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    scale = x.max(0).clip(1)
    return nnls(x / scale / y[:, None], np.ones(len(y)))[0] / scale
