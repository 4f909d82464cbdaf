"""Chapter 11: what its figures and tables show, from `syq.table`, `syq.curves` and `syq.scales`."""

import numpy as np
import pandas as pd

from qbench.models.small import TITLES
from qbench.parameters import SymmetricScales

from . import words
from .qkd_tables import clear
from .seeds import ONE_SEED, interval, over_seeds
from .syq import METHODS, PRINTED, SCALED, STANDS_FOR, accuracies, granularities, printed_top1

TABLES = ("5_3", "5_4", "5_5")
SYQ_BITS = 8  # activations of SYQ that the thesis sets against float32 activations of others
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")  # of 3 × 3 kernels

Key = tuple[str, str, str, int, int]  # of `KEYS`


def described(p: SymmetricScales) -> str:
    """The scale of the trainings, for a caption."""
    many = "one seed" if len(p.seeds) == 1 else f"{len(p.seeds)} seeds"
    images = "all images" if p.images is None else f"{p.images:,} images"
    passes = "1 epoch" if p.epochs == 1 else f"{p.epochs:,} epochs"
    return f"width {p.width:g}, {images} of {words.dataset(p.dataset)}, {passes}, {many}"


def by_granularity(found: pd.DataFrame) -> pd.DataFrame:
    """SYQ's accuracies: `network`, `granularity`, `bits` (such as W1A8), `accuracy`, low, high."""
    rows = found[(found["method"] == "syq") & (found["scale_gradient"] == "chain")]
    bits = [f"W{w}A{a}" for w, a in rows[["weight_bits", "act_bits"]].values]
    rows = rows.assign(bits=bits, accuracy=100 - rows["test_error"])
    return over_seeds(rows, ["network", "granularity", "bits"], "accuracy")


def by_method(found: pd.DataFrame) -> pd.DataFrame:
    """Every method's accuracy, SYQ's at its first granularity: `network`, `name`, `activations`,
    `accuracy`, low, high."""
    rows = found[found["scale_gradient"] == "chain"]
    syq = rows[rows["method"] == "syq"]
    rows = rows[(rows["method"] != "syq") | (rows["granularity"] == syq["granularity"].iloc[0])]
    rows = rows.sort_values("method", key=lambda of: of == "float32", kind="stable")
    named = [
        f"{METHODS[one.method]} {one.weight_codes}" if one.method != "float32" else "float32"
        for one in rows.itertuples()
    ]
    bits = ["float32" if b == 32 else f"{b} bit{'s' * (b > 1)}" for b in rows["act_bits"]]
    rows = rows.assign(name=named, activations=bits, accuracy=100 - rows["test_error"])
    return over_seeds(rows, ["network", "name", "activations"], "accuracy")


def learning(curves: pd.DataFrame, p: SymmetricScales) -> pd.DataFrame:
    """Figure 5.2: training loss of the first codes and granularity asked for, with low and high.

    Columns: `network`, `activations`, `epoch`, `train_loss`.
    """
    rows = curves[
        (curves["granularity"] == p.granularities[0]) & (curves["weight_codes"] == p.codes[0])
    ]
    bits = ["float32" if b == 32 else f"{b} bit{'s' * (b > 1)}" for b in rows["act_bits"]]
    return over_seeds(
        rows.assign(activations=bits), ["network", "activations", "epoch"], "train_loss"
    )


def pixels(scales: pd.DataFrame) -> pd.DataFrame:
    """Scales at each place of 3 × 3 kernels over the mean of their layer, before and after.

    Columns `row` (from bottom to top, as a heat map is drawn), `column`, `start` and `trained`:
    means over all layers with such kernels, networks, codes and seeds. Empty where there is none.
    """
    rows = scales[scales["scale"] == "pixel"]
    keys = ["network", "weight_codes", "seed", "layer"]
    rows = rows[rows.groupby(keys)["place"].transform("count") == len(ROWS) ** 2]
    means = rows.groupby(keys)[["start", "trained"]].transform("mean")
    found = rows[["start", "trained"]] / means
    found["row"] = [ROWS[place // len(ROWS)] for place in rows["place"]]
    found["column"] = [COLUMNS[place % len(COLUMNS)] for place in rows["place"]]
    found = found.groupby(["row", "column"])[["start", "trained"]].mean()
    order = [(row, column) for row in reversed(ROWS) for column in COLUMNS]
    return found.reindex([one for one in order if one in found.index]).reset_index()


def beside_table_5_2(found: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """`syq.granularities` of what is printed, with a verdict on the sign and what seeds say."""
    rows = granularities(found, dataset)
    rows = rows[rows["published"].notna()]
    ours, spread = accuracies(found), _spread(found)
    keys = {title: name for name, title in TITLES.items()}
    said, seeds = [], []
    for one in rows.itertuples():
        key = (keys[one.network], "syq", one.granularity, one.weight_bits, one.act_bits)
        pixel = (*key[:2], "pixel", *key[3:])
        said.append("trend" if one.same_sign else "differs")
        seeds.append(_seeds(ours.loc[key] - ours.loc[pixel], spread))
    shown = rows.drop(columns=["same_sign", "seeds"])
    return shown.assign(verdict=said, seeds=seeds)


def contrasts(found: pd.DataFrame) -> pd.DataFrame:
    """What Tables 5.3 to 5.5 compare, as differences of top-1: printed, and ours by our recipe.

    SYQ against each method that we have and the thesis lists with as many bits of weights: at the
    same activations or, where the other has float32, at `SYQ_BITS`. And SYQ at more activation
    bits against fewer. Ours has the same activations on both sides. Columns: `where`, `network`,
    `ours_network`, `contrast`, `published` and `ours` (points), `half_width` of its 95 % interval,
    `verdict` (trend: the same sign) and `seeds`. What was not trained is left out.
    """
    ours, spread = accuracies(found), _spread(found)
    rows = []
    for table in TABLES:
        printed = printed_top1(f"table_{table}")
        network = printed["network"].iloc[0]
        values = printed.set_index(["method", "weight_bits", "act_bits"])["value"]
        for first, second, said in _pairs(list(values.index)):
            acts = first[2] if second[0] != "SYQ" else second[2]
            keys = [_key(network, *first), _key(network, *second[:2], acts)]
            if not set(keys) <= set(ours.index):
                continue
            gain = (ours.loc[keys[0]] - ours.loc[keys[1]]).dropna()
            mean, half = interval(gain)
            theirs = values[first] - values[second]
            same = np.sign(mean) == np.sign(theirs)
            rows.append(
                {
                    "where": printed["where"].iloc[0],
                    "network": network,
                    "ours_network": TITLES[STANDS_FOR[network]],
                    "contrast": said,
                    "published": theirs,
                    "ours": mean,
                    "half_width": half,
                    "verdict": "trend" if same else "differs",
                    "seeds": _seeds(gain, spread),
                }
            )
    columns = ["where", "network", "ours_network", "contrast", "published", "ours", "half_width"]
    return pd.DataFrame(rows, columns=[*columns, "verdict", "seeds"])


def gradients(found: pd.DataFrame) -> pd.DataFrame:
    """SYQ with the chain rule and with eq. 5.10 as printed, a row each network and width.

    Columns: `network`, `granularity`, `bits`, `chain`, `printed` (accuracy, %), `difference`
    (points), `half_width` and `seeds`.
    """
    chain, printed = accuracies(found), accuracies(found, "printed")
    spread, rows = _spread(found), []
    for key in printed.index:
        lost = (chain.loc[key] - printed.loc[key]).dropna()
        mean, half = interval(lost)
        rows.append(
            {
                "network": TITLES[key[0]],
                "granularity": key[2],
                "bits": f"W{key[3]}A{key[4]}",
                "chain": chain.loc[key].mean(),
                "printed": printed.loc[key].mean(),
                "difference": mean,
                "half_width": half,
                "seeds": _seeds(lost, spread),
            }
        )
    return pd.DataFrame(rows)


def costs(found: pd.DataFrame) -> pd.DataFrame:
    """Scalars and operations (Table 5.6) of our networks for one image, a row each method."""
    rows = found.drop_duplicates(["network", "method", "granularity"])
    names = [
        METHODS[one.method] + (f" by {one.granularity}" if one.method == "syq" else "")
        for one in rows.itertuples()
    ]
    rows = rows.assign(network=rows["network"].map(TITLES), method=names)
    return rows[["network", "method", "scalars", "operations"]]


def _pairs(rows: list[tuple[str, int, int]]) -> list[tuple[tuple, tuple, str]]:
    """Rows of a table (method, bits of weights, of activations) that are compared, and in words."""
    mine = [row for row in rows if row[0] == "SYQ"]
    found = []
    for row in rows:
        acts = SYQ_BITS if row[2] == 32 else row[2]
        first = ("SYQ", row[1], acts)
        if row[0] in PRINTED and row[0] != "SYQ" and first in mine:
            found.append((first, row, f"{_said(first)} over {_said(row)}"))
    for bits in (1, 2):
        of = sorted(row for row in mine if row[1] == bits)
        if len(of) > 1:
            found.append((of[-1], of[0], f"{_said(of[-1])} over {_said(of[0])}"))
    return found


def _key(network: str, method: str, weight_bits: int, act_bits: int) -> Key:
    name = PRINTED[method]
    where = "pixel" if name == "syq" else SCALED[name]
    return STANDS_FOR[network], name, where, weight_bits, act_bits


def _said(row: tuple[str, int, int]) -> str:
    return f"{row[0]} W{row[1]}A{row[2]}"


def _spread(found: pd.DataFrame) -> float:
    """Standard deviation (points) of one accuracy from seed to seed, pooled; NaN with one seed."""
    from .syq_claims import SyqJudge

    return SyqJudge(found, "").spread


def _seeds(difference: pd.Series, spread: float) -> str:
    if len(difference.dropna()) < 2:
        return ONE_SEED
    return "settled" if clear(difference, spread) else "not settled"
