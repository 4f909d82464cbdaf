"""Chapter 12: trainings for multipliers made of adders, beside Tables 6.4, 6.9, 6.10 and Fig. 6.10.

Ours are small networks on small images, the thesis' are AlexNet and ResNets on ImageNet. So no
accuracy of ours can match one of its; differences between methods can have the same sign. The
tables put both side by side and say which data set is which; they give no verdict on numbers.
"""

from collections.abc import Mapping
from itertools import chain, combinations

import numpy as np
import pandas as pd

from qbench import reference
from qbench.addnet.codebooks import FARAONE, published
from qbench.models.small import TITLES

from .addnet import accuracies, label
from .seeds import interval, plus_minus
from .words import dataset as written

#: The network here that stands for one of the thesis.
STANDS_FOR = {"AlexNet": "alexnet_small", "ResNet-18": "resnet20", "ResNet-50": "resnet20"}
#: Gains by sets, and half the intervals of each.
MATCHING = {"rounded": "rounded_half_width", "ours": "half_width"}


def against_published(made: pd.DataFrame) -> pd.DataFrame:
    """Table 6.9 (ImageNet, top-1) beside ours, a row a network of ours and printed accuracy.

    Columns: `network` (the thesis'), `ours_network`, `ours_dataset`, `weights`, `published` and
    `ours` (%, mean over seeds, activations of the width that most have), `half_width` of its 95 %
    interval, and what each loses against its own float32: `published_loss` and `ours_loss`, points.
    Networks that stand for none of the thesis' are left out; what was not trained is NaN.
    """
    ours, printed = _usual(made), table_6_9()
    rows = []
    for dataset, network in tasks(made):
        for theirs in (one for one, stand in STANDS_FOR.items() if stand == network):
            for weights, value in printed[theirs].items():
                one = _of(ours, dataset, network, weights)
                mean, half = interval(one) if len(one) else (np.nan, np.nan)
                base = _of(ours, dataset, network, "float32")
                rows.append(
                    {
                        "network": theirs,
                        "ours_network": TITLES[network],
                        "ours_dataset": written(dataset),
                        "weights": weights,
                        "published": value,
                        "ours": mean,
                        "half_width": half,
                        "published_loss": printed[theirs]["float32"] - value,
                        "ours_loss": float((base - one).mean()),
                    }
                )
    return pd.DataFrame(rows)


def order(made: pd.DataFrame) -> pd.DataFrame:
    """Whether methods are in the order of Table 6.9 (top-1): a row a network of ours and pair.

    Columns: `dataset`, `network`, `first` and `second`, the former above the latter in the mean
    over the thesis' networks, `published` and `ours` (first less second, mean, points),
    `half_width` of the latter's 95 % interval over seeds and `same_sign`. Pairs that the thesis has
    equal, or that were not trained, are left out.
    """
    ours, printed = _usual(made), pd.DataFrame(table_6_9()).mean(axis=1)
    rows = []
    for dataset, network in tasks(made):
        trained = [name for name in printed.index if len(_of(ours, dataset, network, name))]
        for one, other in combinations(trained, 2):
            gap = printed[one] - printed[other]
            if np.isclose(gap, 0):
                continue
            first, second = (one, other) if gap > 0 else (other, one)
            gain = _of(ours, dataset, network, first) - _of(ours, dataset, network, second)
            mean, half = interval(gain.dropna())
            rows.append(
                {
                    "dataset": written(dataset),
                    "network": TITLES[network],
                    "first": first,
                    "second": second,
                    "published": abs(gap),
                    "ours": mean,
                    "half_width": half,
                    "same_sign": mean > 0,
                }
            )
    columns = ["dataset", "network", "first", "second", "published", "ours", "half_width"]
    return pd.DataFrame(rows, columns=[*columns, "same_sign"])


def matching(made: pd.DataFrame, rounded: pd.DataFrame) -> pd.DataFrame:
    """Table 6.4 beside ours: what a better set is worth, a row a network and pair of sets.

    Where several multipliers have matched sets, their mean gain of each seed has a row as well.
    Columns: `dataset`, `network`, `better` and `worse` (the set that matches best and worst, or
    Table 6.2's and the unoptimised one), `rounded` (points, mean over seeds, of the networks that
    are only rounded: `addnet.rounded`) with `rounded_half_width` of its 95 % interval, `ours` with
    `half_width`, the same after training on, `seeds` and `published` (AlexNet, top-1: the thesis
    says 2-Add, see the errata).
    """
    if made.empty or rounded.empty:
        return pd.DataFrame()
    printed = reference.load(FARAONE, "table_6_4")
    printed = printed[printed["metric"] == "top1"].set_index("method")["value"]
    there = printed["distribution_matching"] - printed["unoptimised"]
    ours, before = _usual(made), accuracies(rounded).droplevel("act_bits")
    rows = []
    for dataset, network in tasks(made):
        same = {"dataset": written(dataset), "network": TITLES[network]}
        every: list[dict[str, pd.Series]] = []
        for rccm in published():
            for better, worse in (("matched", "worst"), ("published", "unoptimised")):
                pair = label(rccm, better), label(rccm, worse)
                gains = {
                    name: _of(table, dataset, network, pair[0])
                    - _of(table, dataset, network, pair[1])
                    for name, table in (("rounded", before), ("ours", ours))
                }
                if not gains["ours"].count():
                    continue
                rows.append(same | {"better": pair[0], "worse": pair[1]} | _told(gains))
                every += [gains] if better == "matched" else []
        if len(every) > 1:
            mean = {name: sum(one[name] for one in every) / len(every) for name in MATCHING}
            rows.append(same | {"better": "mean of matched", "worse": "of worst"} | _told(mean))
    columns = ["dataset", "network", "better", "worse", *chain(*MATCHING.items()), "seeds"]
    return pd.DataFrame(rows, columns=columns).assign(published=there)


def order_by_network(found: pd.DataFrame) -> pd.DataFrame:
    """`order` for the page: a row a pair, a column a network with "+0.25 ± 0.31".

    The last column says for how many networks the difference has the printed sign.
    """
    if found.empty:
        return pd.DataFrame()
    named = found.assign(
        network=found["network"] + " on " + found["dataset"], ours=with_half(found, "ours")
    )
    keys = ["first", "second"]
    wide = named.pivot(index=keys, columns="network", values="ours").fillna("")
    each = named.groupby(keys, sort=False)
    rows = each[["published"]].first().join(wide[list(named["network"].unique())])
    signs = each["same_sign"].agg(["sum", "size"])
    rows["same sign"] = [f"{s} of {n}" for s, n in signs.itertuples(index=False)]
    return rows.sort_values("published", ascending=False, kind="stable").reset_index()


def with_half(rows: pd.DataFrame, name: str, half: str = "half_width") -> list[str]:
    """Points with half their interval, in words: `+0.25 ± 0.31`; without one, alone."""
    return [plus_minus(m, h, signed=True) for m, h in zip(rows[name], rows[half], strict=True)]


def _told(gains: Mapping[str, pd.Series]) -> dict[str, float | int]:
    """Means over seeds, half the intervals, and how many seeds there are."""
    found: dict[str, float | int] = {"seeds": int(gains["ours"].count())}
    for name, gain in gains.items():
        found[name], found[MATCHING[name]] = interval(gain.dropna())
    return found


def activations(made: pd.DataFrame) -> pd.DataFrame:
    """Table 6.10 (2-Add, ResNet-18, top-1) beside ours: accuracy less that with 8 bits.

    A row a network, set and width of the activations: `dataset`, `network`, `weights`, `act_bits`,
    `ours` (points, mean over seeds), `half_width` of its 95 % interval and `published` (NaN where
    not printed). Only what was trained with 8 bits as well.
    """
    printed = reference.load(FARAONE, "table_6_10")
    printed = printed[printed["metric"] == "top1"].set_index("act_bits")["value"]
    ours = accuracies(made)
    rows = []
    for dataset, network, weights, bits in ours.index:
        usual = (dataset, network, weights, 8)
        if bits == 8 or usual not in ours.index:
            continue
        mean, half = interval(ours.loc[(dataset, network, weights, bits)] - ours.loc[usual])
        row = {"dataset": written(dataset), "network": TITLES[network], "weights": weights}
        row |= {"act_bits": bits, "ours": mean, "half_width": half}
        rows.append(row | {"published": printed.get(bits, np.nan) - printed[8]})
    columns = ["dataset", "network", "weights", "act_bits", "ours", "half_width", "published"]
    return pd.DataFrame(rows, columns=columns)


def against_area(
    made: pd.DataFrame, luts: Mapping[str, float], task: str, act_bits: int | None = None
) -> pd.DataFrame:
    """Figure 6.10: accuracy of a task against the look-up tables of one multiplier.

    task: "cifar10/resnet20"; act_bits: those of the areas, None for what most have. `luts` by what
    `weights` says, such as "2-Add worst" or "8-bit"; the rest is left out. Columns: `weights`,
    `which` ("matched", "worst", … of sets, "uniform" of other weights), `luts`, `ours` (%, mean
    over seeds), `low` and `high` (worst and best seed) and `front`: whether nothing as small is
    more accurate.
    """
    dataset, _, network = task.partition("/")
    usual, rows = _usual(made, act_bits), []
    for weights, area in luts.items():
        by_seed = _of(usual, dataset, network, weights)
        if len(by_seed):
            adders, _, which = weights.partition(" ")
            row = {"weights": weights, "luts": area, "ours": by_seed.mean()}
            row["which"] = (which or "as printed") if adders in published() else "uniform"
            rows.append(row | {"low": by_seed.min(), "high": by_seed.max()})
    found = pd.DataFrame(rows, columns=["weights", "which", "luts", "ours", "low", "high"])
    small, good = found["luts"].to_numpy(), found["ours"].to_numpy()
    beaten = (small <= small[:, None]) & (good > good[:, None])
    return found.assign(front=~beaten.any(axis=1))


def equal_area(made: pd.DataFrame, luts: Mapping[str, float]) -> pd.DataFrame:
    """The largest multiplier made of adders that fits in uniform weights' one: a row a task and it.

    `luts` as in `against_area`. Columns: `dataset`, `network`, `uniform` and `uniform_luts`,
    `adders` and `adders_luts`, at most as many, `gain` of the latter (points, mean over seeds) and
    `half_width` of its 95 % interval. Uniform weights that none fits in are left out.
    """
    ours, rows = _usual(made), []
    for dataset, network in tasks(made):
        for uniform in (name for name in luts if name.endswith("-bit")):
            fit = [name for name in published() if luts.get(name, np.inf) <= luts[uniform]]
            if not fit:
                continue
            adders = max(fit, key=luts.__getitem__)
            one, other = (_of(ours, dataset, network, name) for name in (adders, uniform))
            mean, half = interval((one - other).dropna())
            row = {"dataset": written(dataset), "network": TITLES[network], "uniform": uniform}
            row |= {"uniform_luts": luts[uniform], "adders": adders, "adders_luts": luts[adders]}
            rows.append(row | {"gain": mean, "half_width": half})
    columns = ["dataset", "network", "uniform", "uniform_luts", "adders", "adders_luts", "gain"]
    return pd.DataFrame(rows, columns=[*columns, "half_width"]).dropna(subset="gain")


def usual_act_bits(made: pd.DataFrame) -> int:
    """The width of activations that most trainings with rounded weights have."""
    rows = made[made["weight_bits"] < 32]
    return int(rows["act_bits"].mode().iloc[-1]) if len(rows) else 32


def _usual(made: pd.DataFrame, act_bits: int | None = None) -> pd.DataFrame:
    """`accuracies` at that width, float32 at its own, without it among the keys."""
    bits = act_bits or usual_act_bits(made)
    rows = made[(made["act_bits"] == bits) | (made["weight_bits"] == 32)]
    return accuracies(rows).droplevel("act_bits")


def tasks(made: pd.DataFrame) -> list[tuple[str, str]]:
    """Data sets and networks, in the order in which they were asked for."""
    pairs = made[["dataset", "network"]].drop_duplicates()
    return [(dataset, network) for dataset, network in pairs.itertuples(index=False, name=None)]


def _of(ours: pd.DataFrame, dataset: str, network: str, weights: str) -> pd.Series:
    key = (dataset, network, weights)
    return ours.loc[key].dropna() if key in ours.index else pd.Series(dtype=float)


def table_6_9() -> dict[str, dict[str, float]]:
    """Top-1 accuracies by network, then by what ours calls the weights."""
    rows = reference.load(FARAONE, "table_6_9")
    found: dict[str, dict[str, float]] = {}
    for row in rows[rows["metric"] == "top1"].to_dict("records"):
        names = {"AddNet": row["rccm"], "fixed_point": f"{row['weight_bits']}-bit"}
        names["floating_point"] = "float32"
        weights = names.get(row["method"], row["method"])
        found.setdefault(row["network"], {})[weights] = row["value"]
    return found
