"""What chapters show of the phases, as tidy tables: best epochs, layers, curves, weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from qbench import store
from qbench.models import binary_connect
from qbench.numbers import whole

from . import runs
from .errors import SparsityError

KINDS = {"conv": "convolution", "fc": "fully connected"}


def best(asked: Sequence[runs.Spec], **how: Any) -> pd.DataFrame:
    """One row a phase, in the order asked: the best epoch, as in tables 3.1 to 3.3 and figure 3.3.

    Columns: those of `named`, `epoch`, `valid_error` and `test_error` (%), `weights`, `nonzeros`,
    `zeros` and `pruned` (% of all weights). A training that diverged has neither epoch nor errors,
    and the counts that it ended with. `how` goes to `runs.studies`.
    """
    rows = []
    for spec, table in zip(asked, runs.studies(asked, **how), strict=True):
        row = _best(table)
        counts = {"weights": sum(_sizes(spec).values()), "nonzeros": sum(_nonzeros(row).values())}
        epoch = row["epoch"] if row["test_error"] == row["test_error"] else np.nan
        errors = {name: row[name] for name in ("valid_error", "test_error")}
        shares = {name: row[name] for name in ("zeros", "pruned")}
        rows.append({**named(spec), "epoch": epoch, **errors, **counts, **shares})
    return pd.DataFrame(rows)


def layers(asked: Sequence[runs.Spec], **how: Any) -> pd.DataFrame:
    """One row for each phase and layer, after the best epoch: figure 3.4.

    Columns: those of `named`, `layer`, `kind`, `weights`, `nonzeros` and `share`, the nonzeros in
    % of the layer's weights. `how` goes to `runs.studies`.
    """
    rows = []
    for spec, table in zip(asked, runs.studies(asked, **how), strict=True):
        sizes = _sizes(spec)
        for layer, count in _nonzeros(_best(table)).items():
            kind = KINDS[layer.rstrip("0123456789")]
            counts = {
                "weights": sizes[layer],
                "nonzeros": count,
                "share": 100 * count / sizes[layer],
            }
            rows.append({**named(spec), "layer": layer, "kind": kind, **counts})
    return pd.DataFrame(rows)


def curves(asked: Sequence[runs.Spec], **how: Any) -> pd.DataFrame:
    """The tables of the phases below each other, with the columns of `named`: figure 3.1."""
    tables = runs.studies(asked, **how)
    parts = [table.assign(**named(one)) for one, table in zip(asked, tables, strict=True)]
    return pd.concat(parts, ignore_index=True)


@store.method(version=1)
def histogram(*, study: runs.Spec, layer: str, bins: int = 80) -> pd.DataFrame:
    """How often w_r of a layer that a phase left lie where in [−1, 1]: figure 3.2.

    One row a bin: `low`, `high`, and `weights` in it (the last bin holds 1); pruned ones are left
    out. Raises `SparsityError` for a layer that there is not and fewer than 2 bins.
    """
    spec = runs.complete(study)
    runs.check(spec)
    known = _sizes(spec)
    if layer not in known:
        raise SparsityError(f"layer must be one of {', '.join(known)}, not {layer!r}.")
    if not whole(bins) or bins < 2:
        raise SparsityError(f"bins must be a whole number of at least 2, not {bins!r}.")
    state = runs.weights_of(spec)
    real = state["real"][layer]
    if layer in state["pruned"]:
        real = real[~state["pruned"][layer]]
    edges = np.linspace(-1, 1, bins + 1)
    counts, _ = np.histogram(real.numpy(), edges)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "weights": counts})


def named(spec: runs.Spec) -> dict[str, Any]:
    """What tells phases apart: network, width, act_bits, seed, eta, sigma, strength, iteration.

    `eta` and `sigma` are those of the fully connected layers, `eta_conv` and `sigma_conv` those of
    the convolutions (missing for "mlp"); a first training has no sigma. `iteration` counts how
    often was pruned, `epochs_in_all` the epochs from new weights on.
    """
    spec = runs.complete(spec)
    found = {name: spec[name] for name in ("dataset", "network", "width", "act_bits", "seed")}
    convolutions = spec["network"] == "vgg"
    for name in ("eta", "sigma"):
        value = np.nan if spec[name] is None else spec[name]
        pair = value if isinstance(value, Sequence) else (value, value)
        found |= {name: pair[1], f"{name}_conv": pair[0] if convolutions else np.nan}
    chain = _chain(spec)
    return found | {
        "strength": spec["strength"],
        "iteration": len(chain) - 1,
        "epochs_in_all": sum(one["epochs"] for one in chain),
    }


def _chain(spec: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return [] if spec is None else [*_chain(spec["start"]), spec]


def _best(table: pd.DataFrame) -> dict[str, Any]:
    """The row with a test error, else the last one."""
    tested = table[table.test_error.notna()]
    return (table if tested.empty else tested).iloc[-1].to_dict()


def _nonzeros(row: Mapping[str, Any]) -> dict[str, int]:
    return {
        name.removeprefix("nonzeros_"): int(count)
        for name, count in row.items()
        if name.startswith("nonzeros_")
    }


def _sizes(spec: runs.Spec) -> dict[str, int]:
    with torch.device("meta"):  # shapes without numbers
        made = runs.model_of(spec)
    return {name: layer.weight.numel() for name, layer in binary_connect.weights(made).items()}
