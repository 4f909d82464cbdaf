"""Chapter 10: what its figures and tables show, from `sparse_ternary.table` and its neighbours."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qbench import reference
from qbench.parameters import SparseTernary

from .qkd_tables import scatter
from .sparse_ternary import ROLES, thresholds
from .sparse_ternary_bounds import FARAONE, PRINTED, dense_slip, erratum

MLP_4096 = 784 * 4096 + 2 * 4096**2 + 4096 * 10  # weights of Table 3.1's network, by our count
METHODS = {"ternary": "ternary", "binary": "binary", "sparse": "sparse_tnn"}  # as in `data/paper`
KEYS = ["role", "eta", "sigma"]
VGG_KEYS = ["role", "eta_conv", "eta"]  # σ is η where there is one


def errors(table: pd.DataFrame, column: str = "test_error") -> pd.DataFrame:
    """A quantity (%) of every network, a column a seed.

    A row for each of `KEYS` (σ is −1 where there is none), of the VGG for each of `VGG_KEYS`.
    """
    keys = KEYS if table["eta_conv"].isna().all() else VGG_KEYS
    rows = table.assign(sigma=table["sigma"].fillna(-1.0))
    return rows.pivot_table(index=keys, columns="seed", values=column)


def noise(table: pd.DataFrame) -> float:
    """Standard deviation (points) of a test error from seed to seed; NaN with one seed."""
    return scatter(errors(table))


def grid(table: pd.DataFrame) -> pd.DataFrame:
    """Table 3.1 with our means: `eta`, `sigma`, `test_error`, `nonzeros` and `pruned` (%)."""
    rows = table[table["role"] == "pruned"].assign(nonzeros=100 - table["zeros"])
    return rows.groupby(["eta", "sigma"], as_index=False)[
        ["test_error", "nonzeros", "pruned"]
    ].mean()


def warning(p: SparseTernary) -> str:
    """Where σ is above η, which is allowed, as Markdown."""
    above = [f"{sigma:g} above η = {eta:g}" for eta, sigma in thresholds(p) if sigma > eta]
    if not above:
        return "No σ here is above its η: only weights that are 0 were pruned."
    return (
        f"**Weights in use were pruned** where σ is above η: {', '.join(above)}. That is allowed, "
        "and shows what it costs."
    )


def published_grid() -> pd.DataFrame:
    """Table 3.1: rows for `error`, `nonzeros` (in % of the weights that we count) and `pruned`."""
    rows = reference.load(FARAONE, "table_3_1")
    some = rows["quantity"] == "nonzeros"
    rows.loc[some, "value"] = 100 * rows.loc[some, "value"] / MLP_4096
    rows.loc[some, "unit"] = "%"
    return rows


def beside_grid(table: pd.DataFrame) -> pd.DataFrame:
    """Ours beside Table 3.1, a row for each cell and quantity. Errors agree within chance."""
    ours = grid(table).rename(columns={"test_error": "error"})
    ours = ours.melt(["eta", "sigma"], ["error", "nonzeros", "pruned"], "quantity", "value")
    keys = ["eta", "sigma", "quantity"]
    slip = {(0.5, 0.5, "pruned"): erratum("pruned_last_row")}
    printed = published_grid()
    is_error = printed["quantity"] == "error"
    why, bound = _chance(table)
    parts = [
        reference.compare(printed[is_error], ours, on=keys, tolerance=bound, why=why),
        reference.compare(printed[~is_error], ours, on=keys, erratum=slip),
    ]
    found = pd.concat(parts, ignore_index=True)
    return found[[*keys, "published", "ours", "verdict", "why"]]


def summary(table: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Table 3.2 or 3.3 with our means: a row a network.

    Columns: `network`, `epochs` in all, `error` (test, %), `zeros` (%), and MB by RLE, by HC, of
    the entropy bounds and the general compressors, where the network was encoded.
    """
    megabytes = sizes.groupby(["role", "encoding"])["megabytes"].mean().unstack("encoding")
    rows = []
    for role in ROLES:
        part = table[table["role"] == role]
        if role in ("first", "pruned") or part.empty:
            continue
        row = {
            "role": role,
            "network": ROLES[role],
            "epochs": int(part["epochs_in_all"].iloc[0]),
            "error": part["test_error"].mean(),
            "zeros": part["zeros"].mean(),
        }
        if role in megabytes.index:
            row |= megabytes.loc[role].to_dict()
            row["dense"] = row["binary" if role == "binary" else "ternary"]
        rows.append(row)
    return pd.DataFrame(rows)


def beside_summary(found: pd.DataFrame, table: pd.DataFrame, name: str, width: int) -> pd.DataFrame:
    """`summary` beside Table 3.2 or 3.3: `method`, `quantity`, both, verdict, why.

    Only the network with our activations, and sizes only where ours has as many weights.
    """
    bits = int(table["act_bits"].iloc[0])
    printed = reference.load(FARAONE, name)
    printed = printed[printed["act_bits"] == bits]
    same = width == {"table_3_2": {1: 4096, 32: 1024}[bits], "table_3_3": 128}[name]
    ours = []
    for row in found[found["role"].isin(METHODS)].to_dict("records"):
        method = METHODS[row["role"]]
        values = {("zeros", ""): row["zeros"], ("error", ""): row["error"]}
        if same and row["role"] == "sparse":
            values |= {("size", "RLE"): row["RLE"], ("size", "HC"): row["HC"]}
        elif same:
            values["size", "none"] = row["dense"]
        ours += [
            {"method": method, "quantity": quantity, "encoding": encoding, "value": value}
            for (quantity, encoding), value in values.items()
        ]
    keys = ["method", "quantity", "encoding"]
    why, bound = _chance(table)
    is_error = printed["quantity"] == "error"
    is_dense = (printed["quantity"] == "size") & (printed["encoding"] == "none")
    mine = pd.DataFrame(ours)
    counted = mine.set_index(keys)["value"]
    dense = {
        key: dense_slip(name, row["value"], counted[key])
        for row in printed[is_dense].to_dict("records")
        if (key := tuple(row[column] for column in keys)) in counted.index
    }
    slips = _exchanged(printed.set_index(keys)["value"], counted)
    parts = [
        reference.compare(printed[is_error], mine, on=keys, tolerance=bound, why=why),
        reference.compare(printed[is_dense], mine, on=keys, **PRINTED, erratum=dense),
        reference.compare(printed[~is_error & ~is_dense], mine, on=keys, erratum=slips),
    ]
    both = pd.concat(parts, ignore_index=True)
    return both[[*keys, "unit", "published", "ours", "verdict", "why"]]


def _exchanged(printed: pd.Series, ours: pd.Series) -> dict[tuple[str, str, str], str]:
    """The erratum of both coders' sizes where each of ours is near the other's printed one."""
    pair = [("sparse_tnn", "size", encoding) for encoding in ("RLE", "HC")]
    if not all(key in ours.index and key in printed.index for key in pair):
        return {}
    apart = [abs(printed[one] - ours[other]) for one, other in (pair, pair[::-1])]
    near = max(apart) <= PRINTED["tolerance"]
    return dict.fromkeys(pair, erratum("rle_huffman_order")) if near else {}


def beside_shown(found: pd.DataFrame) -> pd.DataFrame:
    """`beside_summary` for the page: networks in words, and no column that is empty."""
    names = {method: ROLES[role] for role, method in METHODS.items()}
    found = found.assign(method=found["method"].map(names)).rename(columns={"method": "network"})
    return filled(found)


def filled(found: pd.DataFrame) -> pd.DataFrame:
    """The table without the columns that hold nothing."""
    return found.loc[:, [found[column].ne("").any() for column in found]]


def against_zeros(table: pd.DataFrame) -> pd.DataFrame:
    """Figure 3.3: networks that were not pruned, over η: mean `zeros` and `test_error`, low, high.

    `curve` says which thresholds, as for the VGG they are two.
    """
    rows = table[table["role"].isin(["binary", "ternary", "first"])]
    keys = ["eta_conv", "eta"]
    rows = rows.assign(eta_conv=rows["eta_conv"].fillna(-1.0))
    found = rows.groupby(keys, as_index=False).agg(
        zeros=("zeros", "mean"),
        test_error=("test_error", "mean"),
        low=("test_error", "min"),
        high=("test_error", "max"),
    )
    named = [
        f"η = {eta:.2g}" if conv < 0 else f"η = {conv:.2g} and {eta:.2g}"
        for conv, eta in found[keys].to_numpy()
    ]
    return found.assign(threshold=named)


def by_layer(layers: pd.DataFrame) -> pd.DataFrame:
    """Figure 3.4: mean share of nonzeros (%) by `layer` and `threshold`; binary ones left out."""
    rows = layers[layers["eta"] > 0]
    rows = rows.assign(eta_conv=rows["eta_conv"].fillna(-1.0))
    found = rows.groupby(["eta_conv", "eta", "layer"], as_index=False, sort=False)["share"].mean()
    # By threshold; the layers of one stay from the input to the output
    found = found.sort_values(["eta_conv", "eta"], kind="stable", ignore_index=True)
    named = [
        f"{eta:.2g}" if conv < 0 else f"{conv:.2g} and {eta:.2g}"
        for conv, eta in found[["eta_conv", "eta"]].to_numpy()
    ]
    return found.assign(threshold=named)


def convergence(curves: pd.DataFrame) -> pd.DataFrame:
    """Figure 3.1: mean validation error by `threshold` and `epoch`, `low` and `high` of seeds."""
    found = curves.groupby(["eta", "epoch"], as_index=False).agg(
        valid_error=("valid_error", "mean"),
        low=("valid_error", "min"),
        high=("valid_error", "max"),
    )
    return found.assign(threshold=[f"η = {eta:.2g}" for eta in found["eta"]])


def distribution(histograms: pd.DataFrame) -> pd.DataFrame:
    """Figure 3.2: mean share (%) of weights by `training` and `middle` of the bin."""
    rows = histograms.assign(middle=(histograms["low"] + histograms["high"]) / 2)
    return rows.groupby(["training", "middle"], as_index=False)["share"].mean()


def diverged(tables: Sequence[pd.DataFrame]) -> str:
    """Which trainings diverged, as Markdown."""
    table = pd.concat(list(tables), ignore_index=True)
    lost = table[table["test_error"].isna()]
    if lost.empty:
        return f"None of the {len(table):,} trainings diverged."
    named = [f"{ROLES[row.role]}, η = {row.eta:.2g}, seed {row.seed}" for row in lost.itertuples()]
    return f"{len(lost)} of the {len(table):,} trainings diverged: {'; '.join(named)}."


def of(p: SparseTernary) -> str:
    """What our sparse network is called beside the thesis' own."""
    return f"ours ({p.width:,} neurons)"


def _chance(table: pd.DataFrame) -> tuple[str, float]:
    """By how much one training and our mean differ by chance, and that in words."""
    count, spread = errors(table).shape[1], noise(table)
    if np.isnan(spread):
        return "", 0.0
    bound = 2 * spread * (1 + 1 / count) ** 0.5
    return f"one training and a mean of {count} differ by up to {bound:.2f} points by chance", bound
