"""Chapter 17: mixed against homogeneous precision at equal cost, the tables, the conclusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from qbench import evolution, reference
from qbench.data import specs
from qbench.parameters import MixedPrecision
from qbench.studies import words
from qbench.studies.bit_width_sweep import STEWART, chance
from qbench.studies.seeds import LEVEL, interval

from .mixed_precision import (
    LAYERS,
    WEIGHTS,
    Bits,
    Prices,
    Recipe,
    every_homogeneous,
    is_homogeneous,
    named,
    priced,
)

KINDS = {True: "homogeneous", False: "mixed"}
COSTS = {"lut": "LUTs", "bram18": "block RAMs", "share": "% of the device"}
BETTER, WORSE, OPEN = "mixed precision is better", "homogeneous precision is better", "not settled"


def cost_of(p: MixedPrecision, value: float) -> str:
    """A cost with its unit."""
    return f"{value:.1f} %" if p.cost == "share" else f"{value:,.0f} {COSTS[p.cost]}"


def axis(p: MixedPrecision) -> str:
    """What an axis of costs is called."""
    if p.cost == "share":
        return f"Most used resource (% of the {p.device})"
    return f"{COSTS[p.cost]} of the {p.device} at {p.frame_rate:,.0f} frames/s"


# The front of the search


def networks_of(archive: pd.DataFrame) -> pd.DataFrame:
    """The different networks of a search with `bits`, `network` and `kind`."""
    found = archive.drop_duplicates("phenotype").reset_index(drop=True)
    bits = [tuple(int(one) for one in row) for row in found[list(LAYERS)].to_numpy()]
    kinds = [KINDS[is_homogeneous(one)] for one in bits]
    return found.assign(bits=bits, network=[named(one) for one in bits], kind=kinds)


def front(archive: pd.DataFrame) -> pd.DataFrame:
    """The mixed networks of a search that no other mixed one beats in cost and validation error,
    the cheapest first."""
    found = networks_of(archive)
    found = found[found["kind"] == KINDS[False]]
    best = found[evolution.front(found[["cost", "error"]])]
    return best.sort_values(["cost", "network"]).reset_index(drop=True)


def finalists(archive: pd.DataFrame, count: int) -> list[Bits]:
    """At most `count` networks of the front, spread evenly along it, its ends among them."""
    best = front(archive)
    if best.empty:
        return []
    places = np.linspace(0, len(best) - 1, min(count, len(best))).round().astype(int)
    return [best["bits"][place] for place in dict.fromkeys(places)]


def finals(p: MixedPrecision, chosen: Sequence[Bits], prices: Prices) -> pd.DataFrame:
    """All homogeneous networks that fit the device and the `chosen` ones, trained with fresh seeds:
    `Recipe.errors`, `kind` and the columns of `Price`."""
    homogeneous = [bits for bits in every_homogeneous(p) if prices(bits).beyond == 0]
    runs = Recipe.of(p).errors([*homogeneous, *chosen], seeds=p.seeds, epochs=p.final_epochs)
    kinds = [KINDS[is_homogeneous(bits)] for bits in runs["bits"]]
    return priced(runs.assign(kind=kinds), prices)


def means(finals: pd.DataFrame) -> pd.DataFrame:
    """One row a network, trained with all seeds: mean errors, and the ends of the 95 % interval of
    the test error over seeds (`low`, `high`; missing with one seed). The cheapest first."""
    seeds, rows = finals["seed"].nunique(), []
    for _, runs in finals.groupby("network", sort=False):
        if len(runs) < seeds:
            continue
        centre, half = interval(runs["test_error"])
        row = runs.iloc[0].to_dict() | {"valid_error": runs["valid_error"].mean()}
        row |= {"test_error": centre, "low": np.maximum(0.0, centre - half), "high": centre + half}
        rows.append(row)
    columns = [*finals.columns.drop("seed"), "low", "high"]
    return pd.DataFrame(rows, columns=columns).sort_values(["cost", "network"], ignore_index=True)


# Against homogeneous precision at equal cost


def versus(finals: pd.DataFrame) -> pd.DataFrame:
    """Each mixed network against homogeneous precision that costs no more.

    Its `rival` is the homogeneous network of at most its cost with the least mean validation error.
    `difference` is the mean over the seeds of the test errors' differences, seed by seed, in
    points: below 0 where the mixed network is better. What is left of the differences without
    their means is noise, pooled over all networks compared; `half` is the half-width of the
    interval by Student's t, at a level divided by the number of networks compared, so that all
    intervals together hold in 95 % of cases (Bonferroni). `verdict` is settled where the interval
    leaves out 0; with one seed nothing is. `as_good` is the cheapest homogeneous network whose mean
    test error is no higher, empty without one, and `as_good_cost` what it costs.
    """
    table = finals.pivot(index="network", columns="seed", values="test_error").dropna()
    each = means(finals).set_index("network")
    plain = each[each["kind"] == KINDS[True]]
    pairs = {}
    for name, one in each[each["kind"] == KINDS[False]].iterrows():
        allowed = plain[plain["cost"] <= one["cost"]]
        if len(allowed):
            pairs[name] = allowed["valid_error"].idxmin()
    count, seeds = len(pairs), table.shape[1]
    differences = {name: table.loc[name] - table.loc[rival] for name, rival in pairs.items()}
    half = np.nan
    if count and seeds > 1:
        freedom = count * (seeds - 1)
        squares = sum(((one - one.mean()) ** 2).sum() for one in differences.values())
        factor = stats.t.ppf(1 - LEVEL / (2 * count), freedom)
        half = float(factor * (squares / freedom / seeds) ** 0.5)
    rows = []
    for name, rival in pairs.items():
        difference = float(differences[name].mean())
        verdict = BETTER if difference + half < 0 else WORSE if difference - half > 0 else OPEN
        as_good = plain[plain["test_error"] <= each["test_error"][name]]["cost"]
        rows.append(
            {
                "network": name,
                "bits": each["bits"][name],
                "cost": each["cost"][name],
                "test_error": each["test_error"][name],
                "rival": rival,
                "rival_cost": plain["cost"][rival],
                "rival_error": plain["test_error"][rival],
                "difference": difference,
                "half": half,
                "verdict": verdict,
                "as_good": as_good.idxmin() if len(as_good) else "",
                "as_good_cost": as_good.min(),
            }
        )
    columns = ["network", "bits", "cost", "test_error", "rival", "rival_cost", "rival_error"]
    columns += ["difference", "half", "verdict", "as_good", "as_good_cost"]
    return pd.DataFrame(rows, columns=columns)


def compared(found: pd.DataFrame, p: MixedPrecision) -> pd.DataFrame:
    """`versus` as the page shows it."""
    if found.empty:
        return pd.DataFrame({"note": ["No mixed network of the front was trained to its end."]})
    difference = found["difference"].map("{:+z.2f}".format)
    if len(p.seeds) > 1:
        difference += found["half"].map(" ± {:.2f}".format)
    return pd.DataFrame(
        {
            "mixed network": found["network"],
            "costs": [cost_of(p, one) for one in found["cost"]],
            "test error (%)": found["test_error"],
            "homogeneous network": found["rival"],
            "costs at most that": [cost_of(p, one) for one in found["rival_cost"]],
            "its test error (%)": found["rival_error"],
            "difference (points)": difference,
            "beyond seeds": found["verdict"],
            "cheapest homogeneous as good": [_as_good(one, p) for one in found.itertuples()],
        }
    )


def _as_good(one: Any, p: MixedPrecision) -> str:
    return f"{one.as_good}, {cost_of(p, one.as_good_cost)}" if one.as_good else "none"


def conclusion(found: pd.DataFrame, p: MixedPrecision) -> str:
    """The chapter's answer, one of two, as Markdown."""
    scale = f"{words.dataset(p.dataset)}, {p.final_epochs} epochs, {len(p.seeds)} seeds"
    seeds = f" over {len(p.seeds)} seeds, all intervals together at 95 %"
    better = found[found["verdict"] == BETTER].sort_values("difference")
    if len(better):
        rows = [
            f"at {cost_of(p, one.cost)} {one.network} has a test error of {one.test_error:.2f} %, "
            f"{one.rival} at {cost_of(p, one.rival_cost)} one of {one.rival_error:.2f} %: "
            f"{one.difference:+z.2f} ± {one.half:.2f} points (the cheapest homogeneous network as "
            f"good: {_as_good(one, p)})"
            for one in better.itertuples()
        ]
        worse = int((found["verdict"] == WORSE).sum())
        return (
            "**Mixed precision beats homogeneous precision somewhere on the front outside seed "
            f"noise** ({scale}): {'; '.join(rows)}{seeds}. That is {len(better)} of {len(found)} "
            f"networks compared; {worse or 'none'} {'is' if worse < 2 else 'are'} clearly worse "
            "than homogeneous precision."
        )
    text = (
        "**Mixed precision does not beat homogeneous precision anywhere on the front outside seed "
        f"noise** ({scale})"
    )
    if found.empty:
        return f"{text}: no mixed network was compared."
    best = found.loc[found["difference"].idxmin()]
    if len(p.seeds) < 2:
        return f"{text}: one seed cannot tell a difference from noise."
    return (
        f"{text}. The largest difference is that of {best['network']} at "
        f"{cost_of(p, best['cost'])} from {best['rival']}: {best['difference']:+z.2f} ± "
        f"{best['half']:.2f} points{seeds}, {len(found)} networks compared."
    )


# Which layers like few bits


def preferences(profile: pd.DataFrame, chosen: Sequence[Bits], p: MixedPrecision) -> pd.DataFrame:
    """A row a searched layer: what it loses and saves with the fewest bits, and its bits on the
    front (mean, least and most). The layer with the fewest bits there first."""
    fewest = profile[profile["bits"] == p.least_bits].set_index("layer")
    rows = []
    for place, layer in enumerate(LAYERS):
        if layer not in p.searched:
            continue
        bits = [one[place] for one in chosen]
        rows.append(
            {
                "layer": layer,
                "of": "weights" if layer in WEIGHTS else "activations",
                "lost": fewest["lost"][layer],
                "saved": fewest["saved"][layer],
                "bits": float(np.mean(bits)) if bits else np.nan,
                "range": f"{min(bits)} to {max(bits)}" if bits else "–",
            }
        )
    return pd.DataFrame(rows).sort_values("bits", kind="stable", ignore_index=True)


def preferences_shown(table: pd.DataFrame, p: MixedPrecision) -> pd.DataFrame:
    """`preferences` as the page shows it."""
    fewest = _few(p)
    return pd.DataFrame(
        {
            "layer": table["layer"],
            "of": table["of"],
            f"lost with {fewest} (points)": table["lost"],
            f"saved with {fewest} ({COSTS[p.cost]})": table["saved"],
            "bits on the front, mean": table["bits"],
            "least to most": table["range"],
        }
    )


def claims(profile: pd.DataFrame, p: MixedPrecision) -> pd.DataFrame:
    """The article's one finding on single layers, cited there, as a predicate on the profile.

    It needs the loss of at least two layers with 1-bit weights: theirs differ where the largest and
    the smallest are further apart than `chance` explains on the validation images.
    """
    rows = profile[profile["layer"].isin(WEIGHTS) & (profile["bits"] == 1)].dropna()
    if len(rows) < 2:
        return pd.DataFrame({"note": ["No claim: fewer than two layers were lowered to 1 bit."]})
    enough = _by_chance(rows["error"], p)
    lost = ", ".join(f"{row.layer} {row.lost:+z.2f}" for row in rows.itertuples())
    row = reference.claim(
        STEWART,
        "binarised_layers_differ",
        holds=bool(rows["lost"].max() - rows["lost"].min() > enough),
        ours=f"points lost: {lost}; chance explains a difference of {enough:.2f}",
        why="the network is trained anew with its bits, and learns to do without",
    )
    return pd.DataFrame([row])


def members(p: MixedPrecision, finals: pd.DataFrame) -> pd.DataFrame:
    """The front as trained at the end: a row a mixed network, whose name has the layers' bits."""
    rows = means(finals)
    rows = rows[rows["kind"] == KINDS[False]]
    if rows.empty:
        return pd.DataFrame({"note": ["No mixed network of the front was trained to its end."]})
    half = (rows["high"] - rows["test_error"]).map(" ± {:.2f}".format)
    error = rows["test_error"].map("{:.2f}".format)
    use = {"LUTs": rows["lut"], "BRAM18": rows["bram18"], f"% of the {p.device}": rows["share"]}
    error = error + half if len(p.seeds) > 1 else error
    return pd.DataFrame({"network": rows["network"], **use, "test error (%)": error})


def lessons(
    profile: pd.DataFrame, liked: pd.DataFrame, archive: pd.DataFrame, p: MixedPrecision
) -> str:
    """What profile and search show besides the answer, as a Markdown list."""
    fewest = profile[profile["bits"] == p.least_bits].dropna(subset=["lost"])
    lines = []
    if len(fewest):
        most, least = fewest["lost"].max(), fewest["lost"].min()
        hurt, calm = (
            " and ".join(fewest.loc[fewest["lost"] == lost, "layer"]) for lost in (most, least)
        )
        seeds = len(p.search_seeds)
        lines.append(
            f"* **Profile**: with {_few(p)} in one layer alone, most accuracy goes in {hurt} "
            f"({most:+z.2f} points of validation error), least in {calm} "
            f"({least:+z.2f}). Mean over {words.counted(seeds, 'seed')}; by chance two errors "
            f"of that size differ by up to {_by_chance(fewest['error'], p):.2f}."
        )
        dear = fewest.loc[fewest["saved"].idxmax()]
        share = dear["saved"] / fewest["saved"].sum() if fewest["saved"].sum() > 0 else np.nan
        lines.append(
            f"* **Cost**: most is saved in {dear['layer']}, {cost_of(p, dear['saved'])} of what "
            f"all layers save one by one ({100 * share:.0f} %)."
        )
    if liked["bits"].notna().any():
        few, many = liked.iloc[0], liked.iloc[-1]
        lines.append(
            f"* **Layers**: on the front {few['layer']} has the fewest bits ({few['bits']:.1f} on "
            f"average), {many['layer']} the most ({many['bits']:.1f})."
        )
    found = networks_of(archive)
    over = int((found["beyond"] > 0).sum())
    limits = f"{100 * p.share:.0f} % of the {p.device}"
    if over:
        said = f"{over} did not keep to {limits} and {'was' if over == 1 else 'were'} not trained"
    else:
        said = f"all kept to {limits}"
    lines.append(f"* **Limits**: of {len(found)} networks that the search asked for, {said}.")
    return "\n".join(lines)


def _few(p: MixedPrecision) -> str:
    return f"{p.least_bits} bit{'s' * (p.least_bits > 1)}"


def _by_chance(errors: pd.Series, p: MixedPrecision) -> float:
    """Two standard errors of a difference of two of these validation errors, in points."""
    return chance(float(errors.mean()), specs.find(p.dataset).split["valid"])
