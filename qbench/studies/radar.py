"""Chapter 04: scores of 64 configurations in accuracy and resources, and how far seeds allow them.

Tables have a row a configuration, indexed by (weight_bits, act_bits); `errors` of `test_errors` has
a column a seed, in percent.
"""

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from scipy import stats

from qbench import reference
from qbench.studies.bit_width_sweep import STEWART, Errors, chance, named, run
from qbench.studies.words import PLACES

READINGS = ("rank", "range")
BITS = range(1, 9)
#: What is scored, less being better, in the order of the chart's axes, and the axes' names.
AXES = {"test_error": "Accuracy", "lut": "LUT", "ff": "FF", "bram18": "BRAM"}
#: Parameters of the chapter that `resources.resources` takes.
OPTIONS = ("network", "parallelism", "input_bits", "memories", "thresholds", "multipliers")
RECIPE = {"learning_rate": 0.01, "dropout": 0.2, "epochs": 100, "hidden": 64, "batch_size": 100}

Bits = tuple[int, int]


def test_errors(dataset: str, epoch: int, seeds: Sequence[int]) -> pd.DataFrame:
    """Test errors (%) of all 64 configurations after `epoch` epochs of chapter 02's sweep."""
    runs = run([dataset], BITS, BITS, seeds, baseline=False, **RECIPE)
    return Errors(runs).at(dataset, epoch)


test_errors.__test__ = False  # its name is the field's, and no test


def families() -> dict[str, list[Bits]]:
    """The configurations of each chart of Stewart et al. 2021, Fig. 7, by the chart's name."""
    printed = reference.load(STEWART, "figure_7")
    return {
        str(panel): list(zip(rows["weight_bits"], rows["act_bits"], strict=True))
        for panel, rows in printed.groupby("panel", sort=False)
    }


def bits(configuration: str) -> Bits:
    """`W3A4` → (3, 4)."""
    weights, acts = configuration[1:].split("A")
    return int(weights), int(acts)


def word(configuration: Bits) -> str:
    """(3, 4) → `W3A4`."""
    return f"W{configuration[0]}A{configuration[1]}"


def assumed(
    network: str,
    parallelism: int | None,
    input_bits: int | None,
    memories: str,
    thresholds: str,
    multipliers: str,
) -> str:
    """What the estimates of `resources.resources` with `OPTIONS` assume, for a caption."""
    folded = "its own folding" if parallelism is None else f"PE = SIMD = {parallelism}"
    words = [f"estimates for {network.upper()} at {folded}", f"thresholds {PLACES[thresholds]}"]
    if input_bits is not None:
        words.append(f"{input_bits}-bit pixels")
    if memories == "a layer":
        words.append("one memory of weights a layer")
    if multipliers == "dsp":
        words.append("products in DSP blocks")
    return ", ".join(words)


def costs(errors: pd.DataFrame, resources: pd.DataFrame) -> pd.DataFrame:
    """What the axes score, less being better: test_error (mean over seeds, %), lut, ff, bram18.

    `resources` has a row a configuration with weight_bits, act_bits, lut, ff and bram18. A resource
    without a number for every configuration is left out, as flip-flops are until there is a model.
    """
    found = resources.set_index(["weight_bits", "act_bits"])
    # Equal means of hundredths may differ in the last bit, and would be no ties.
    found = found.assign(test_error=errors.mean(axis=1).round(6))
    return found.loc[errors.index, list(AXES)].dropna(axis=1).astype(float)


def scores(values: pd.DataFrame, reading: str = "rank") -> pd.DataFrame:
    """Every column of `costs` brought to 0 (the worst configuration) to 1 (the best).

    score = (worst − x)/(worst − best), where x is the value ("range") or its place among all
    configurations ("rank"; equal values share the mean of their places). A column that is the same
    everywhere scores 1. Stewart et al. 2021, section 4.2.2, say "ranked", then "normalised".
    """
    if reading not in READINGS:
        raise ValueError(f"reading must be one of {', '.join(READINGS)}, not {reading!r}.")
    placed = values.rank() if reading == "rank" else values
    best, worst = placed.min(), placed.max()
    return (worst - placed) / (worst - best).where(worst > best, 1) + (worst == best)


def outlines(scored: pd.DataFrame, configurations: Sequence[Bits]) -> pd.DataFrame:
    """Rows for `plots.radar`: configuration, axis, score, in the order given."""
    chosen = scored.loc[list(configurations)].rename(columns=AXES)
    chosen.insert(0, "configuration", [word(pair) for pair in configurations])
    return chosen.melt("configuration", var_name="axis", value_name="score")


def ranks(errors: pd.DataFrame) -> pd.DataFrame:
    """Place of each configuration by its error: `rank` of the mean, `low` and `high` of one seed.

    1 is the most accurate; equal errors share the mean of their places. `low` to `high` are the
    places it would have had, had only one of the seeds been trained.
    """
    alone = errors.rank()
    mean = errors.mean(axis=1).round(6)
    return pd.DataFrame({"rank": mean.rank(), "low": alone.min(axis=1), "high": alone.max(axis=1)})


def agreement(errors: pd.DataFrame, least_bits: Sequence[int] = (1, 2, 3, 4)) -> pd.DataFrame:
    """Do two seeds put the configurations in the same order? A row for each of `least_bits`.

    Of the configurations with weights and activations of at least so many bits: their number, the
    distance from the best to the worst mean error (points), Kendall's tau-b and Spearman's rho (the
    means over all pairs of seeds), the share of pairs of configurations in the same order in both
    seeds, (1 + tau)/2 in percent, and p of Friedman's test that configurations do not differ at all
    (missing with fewer than three seeds). No rows with a single seed.
    """
    rows = []
    for least in least_bits if errors.shape[1] > 1 else ():
        wide = errors.index.to_frame().min(axis=1) >= least
        part = errors[wide]
        pairs = list(combinations(part.columns, 2))
        tau = np.mean([stats.kendalltau(part[a], part[b]).statistic for a, b in pairs])
        rho = np.mean([stats.spearmanr(part[a], part[b]).statistic for a, b in pairs])
        p = stats.friedmanchisquare(*part.to_numpy()).pvalue if errors.shape[1] > 2 else np.nan
        mean = part.mean(axis=1)
        rows.append(
            {
                "least_bits": least,
                "configurations": len(part),
                "spread": mean.max() - mean.min(),
                "tau": tau,
                "rho": rho,
                "same_order": 50 * (1 + tau),
                "p": p,
            }
        )
    return pd.DataFrame(rows)


def area(scored: pd.DataFrame) -> pd.Series:
    """Area of each outline, 1 for scores of 1 throughout; it depends on the order of the columns.

    On n axes it is ½ sin(2π/n) Σ rᵢ rᵢ₊₁, of which the full outline has n products of 1.
    """
    values = scored.to_numpy()
    return pd.Series((values * np.roll(values, -1, axis=1)).mean(axis=1), index=scored.index)


def overall(values: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    """All configurations, the greatest mean score first.

    `configuration`, the scores, `mean`, `area`, its least and greatest (`area_low`, `area_high`)
    over all orders of the axes, and whether it is on the `front`: no other configuration is at
    least as good in every column of `values` and better in one.
    """
    first, *others = scored.columns
    orders = [area(scored[[first, *order]]) for order in permutations(others)]
    areas = pd.concat(orders, axis=1)
    found = scored.assign(
        mean=scored.mean(axis=1),
        area=area(scored),
        area_low=areas.min(axis=1),
        area_high=areas.max(axis=1),
        front=front(values),
    ).reset_index()
    found.insert(0, "configuration", named(found))
    order = ["mean", "area", "weight_bits", "act_bits"]
    return found.sort_values(order, ascending=[False, False, True, True], ignore_index=True)


def front(values: pd.DataFrame) -> np.ndarray:
    """Whether no other row is at least as good in every column (less is better), better in one."""
    rows = values.to_numpy()
    no_worse = (rows[:, None] <= rows).all(axis=2)
    better = (rows[:, None] < rows).any(axis=2)
    return ~(no_worse & better).any(axis=0)


def by_place(values: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Both scores of every configuration against its place: axis, reading, place, score."""
    parts = []
    for column in columns:
        one = values[[column]].sort_values(column, kind="stable")
        for reading in READINGS:
            part = pd.DataFrame({"score": scores(one, reading)[column].to_numpy()})
            parts.append(part.assign(axis=AXES[column], reading=reading, place=part.index + 1))
    return pd.concat(parts, ignore_index=True)


def published(values: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Table 3 of Stewart et al. 2021 beside ours: the best and worst of all configurations.

    A row for each metric and bound: `metric`, `bound`, `published` (with the tolerance, if any),
    `ours`, `of` (which configurations), `ours/theirs`, `verdict`, `why`. Errors, given on MNIST
    only, match within two standard errors of a difference of two shares of 10,000 images. Resources
    have no verdict here: `resource_claims.table_3` has.
    """
    printed = reference.load(STEWART, "table_3").set_index(["quantity", "bound"])["value"]
    rows = []
    for quantity, column, metric in (
        ("accuracy_loss", "test_error", "error (%)"),
        ("lut", "lut", "LUT"),
        ("flip_flops", "ff", "FF"),
        ("bram", "bram18", "BRAM"),
    ):
        error = column == "test_error"
        if column not in values or (error and dataset != "mnist"):
            continue
        for bound, extreme in (("best", min), ("worst", max)):
            theirs, ours = printed[quantity, bound], extreme(values[column])
            tolerance = chance(theirs) if error else 0.0
            of = {"source": STEWART, "where": "Table 3", "quantity": quantity, "bound": bound}
            of = of if error else None  # chapter 3 judges the others
            said = reference.verdict(theirs, ours, tolerance=tolerance, why="chance", of=of)
            why = "unstated epochs and width" if said == "differs" else ""
            digits = ".2f" if error else ",.0f"
            rows.append(
                {
                    "metric": metric,
                    "bound": bound,
                    "published": format(theirs, digits) + (f" ± {tolerance:.2f}" if error else ""),
                    "ours": format(ours, digits),
                    "of": _listed(values.index[values[column] == ours]),
                    "ours/theirs": ours / theirs,
                    "verdict": said if error else None,
                    "why": why if error else "chapter 3",
                }
            )
    return pd.DataFrame(rows)


def _listed(configurations: Sequence[Bits]) -> str:
    """`W1A1`, or `W1A1–8` where equal weights have all of these activations."""
    weights = {weight for weight, _ in configurations}
    acts = sorted(act for _, act in configurations)
    if len(weights) == 1 and len(acts) == len(BITS):
        return f"W{weights.pop()}A{acts[0]}–{acts[-1]}"
    return ", ".join(word(pair) for pair in configurations)
