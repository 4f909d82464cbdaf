"""Chapter 05: what Stewart et al. and Ducasse et al. claim about throughput, as predicates.

Speeds are those of the model, which reproduces every printed one; what fits is judged by FINN's
formulas, with thresholds and weights where the page puts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from qbench import reference
from qbench.hardware import Fold, Folding
from qbench.hardware.folding import divisors
from qbench.studies.folding import DUCASSE, STEWART, WHY, Setup, folded, published_speeds

PAPERS = ("W2A2", "W3A3", "W4A4")
DIGIT = "printed in thousands, some cut off and some rounded: one more or less in the last digit"

Rows = list[dict[str, Any]]


def claims(
    setup: Setup,
    designs: pd.DataFrame,
    fastest: Mapping[str, Folding],
    every: pd.DataFrame,
    runs: pd.DataFrame,
    epoch: int,
) -> pd.DataFrame:
    """A row for every claim that this run allows to judge: where, claim, ours, verdict, why.

    `designs` from `folding.uniform_designs`, `fastest` from `folding_search.searched_designs`,
    `every` from `folding_search.fastest_of_all`, `runs` from `folding.accuracies`, of which those
    after `epoch` count.
    """
    accuracy = runs[runs["epoch"] == epoch].groupby("configuration")["accuracy"].mean()
    rows = [
        *_numbers(setup, designs),
        *_speeds(setup, designs),
        *_costs(setup, designs),
        *_parallelism(setup),
        *_fits(setup, designs),
        *_room(setup, fastest, every),
        *_compromise(setup, designs, fastest, accuracy),
    ]
    return pd.DataFrame(rows, columns=["where", "claim", "ours", "verdict", "why"])


def _numbers(setup: Setup, designs: pd.DataFrame) -> Rows:
    """Frame rates in thousands, and how many times faster: only for what the papers measured."""
    if not setup.as_published:
        return []
    rates = designs.drop_duplicates("pe_simd").set_index("pe_simd")["frame_rate"]
    rows = [
        reference.claim_value(STEWART, name, rates[number], tolerance=digit, why=DIGIT)
        for name, number, digit in (
            ("throughput_before_parallelising", 2, 1000),
            ("throughput_before_parallelising_summary", 2, 100),
            ("throughput_parallelism_8", 8, 1000),
            ("throughput_after_parallelising", 16, 1000),
        )
        if number in rates
    ]
    for row in reference.load(STEWART, "figure_8").dropna(subset="value").to_dict("records"):
        if row["quantity"] == "throughput" and int(row["pe"]) in rates:
            ours = rates[int(row["pe"])]
            reference.verdict(row["value"], ours, tolerance=1000, why=DIGIT, of=row)
    if {2, 16} <= set(rates.index):
        times = rates[16] / rates[2]
        rows.append(
            reference.claim(
                STEWART,
                "parallel_speedup",
                holds=round(times) == 62,
                ours=f"{times:.1f} times",
                erratum=_arithmetic(STEWART, "speedup_from_6_1k"),
            )
        )
    return rows


def _arithmetic(source: str, name: str) -> str:
    return reference.errata(source).set_index("erratum")["arithmetic"][name]


def _speeds(setup: Setup, designs: pd.DataFrame) -> Rows:
    """What throughput depends on."""
    rows, printed = [], published_speeds(setup).query("quantity == 'throughput'")
    alike = designs.groupby("pe_simd")["frame_rate"].nunique()
    if designs["configuration"].nunique() > 1:
        within = printed.groupby(["pe", "simd"])["published"]
        apart = 100 * (within.max() / within.min() - 1).max()
        ours = f"one rate for all bits, by the formula; printed rates are up to {apart:.2f} % apart"
        for source in (STEWART, DUCASSE):
            claim = source, "precision_leaves_throughput"
            rows.append(reference.claim(*claim, holds=bool((alike == 1).all()), ours=ours, why=WHY))
    rates = designs.drop_duplicates("pe_simd").sort_values("pe_simd")["frame_rate"]
    if len(rates) > 1:
        ours = "frames/s: " + ", ".join(f"{rate:,.0f}" for rate in rates)
        for claim in (
            (STEWART, "parallelism_raises_throughput"),
            (DUCASSE, "more_parallelism_more_throughput"),
            (DUCASSE, "parallelism_sets_throughput"),
        ):
            rows.append(
                reference.claim(
                    *claim,
                    holds=bool(rates.diff().min() > 0),
                    ours=ours,
                    why="beyond the size of a layer PE and SIMD change nothing",
                )
            )
    return rows


def _costs(setup: Setup, designs: pd.DataFrame) -> Rows:
    """What parallelism costs."""
    ordered = designs.sort_values("pe_simd").groupby("configuration", sort=False)
    if designs["pe_simd"].nunique() < 2:
        return []
    longer, cheaper = ordered["latency"].diff().max(), ordered["lut"].diff().min()
    name, some = next(iter(ordered))
    said = ", ".join(
        f"{latency:.1f} µs and {lut:,} LUTs"
        for latency, lut in zip(some["latency"], some["lut"], strict=True)
    )
    return [
        reference.claim(
            STEWART,
            "parallel_hardware_trades_area_for_latency",
            holds=bool(longer < 0 < cheaper),
            ours=f"{name}: {said}",
            why="a wider unit wastes less of each block of memory or of each product",
        )
    ]


def _parallelism(setup: Setup) -> Rows:
    """PE against SIMD, the slowest layer against the others, sums that do not change."""
    swapped = {
        (pe, simd): [
            setup.measures(setup.uniform("W3A3", *pair)) for pair in ((pe, simd), (simd, pe))
        ]
        for pe, simd in combinations((2, 8, 16), 2)
    }
    apart = max(abs(a["frame_rate"] / b["frame_rate"] - 1) for a, b in swapped.values())
    wide = [measures["lut"] for measures in swapped[2, 16]]
    rows = [
        reference.claim(
            DUCASSE,
            "pe_and_simd_interchangeable",
            holds=apart < 0.001,
            ours=f"rates {100 * apart:.2g} % apart; but {wide[0]:,} LUTs with PE 2 and SIMD 16, "
            f"{wide[1]:,} with PE 16 and SIMD 2 (W3A3)",
            why="SIMD does not divide the inputs as PE divides the neurons",
        )
    ]
    before = setup.uniform("W3A3", 2, 2)
    slowest = [layer.name for layer in before.layers].index(setup.measures(before)["bottleneck"])
    rates = [
        setup.measures(_doubled(before, layers))["frame_rate"]
        for layers in ([], [slowest], [n for n in range(len(before.folds)) if n != slowest])
    ]
    rows.append(
        reference.claim(
            STEWART,
            "critical_layer_sets_throughput",
            holds=rates[1] > rates[0] == rates[2],
            ours=f"W3A3 at 2/2: {rates[0]:,.0f} frames/s, with SIMD doubled in the slowest layer "
            f"{rates[1]:,.0f}, in all others {rates[2]:,.0f}",
            why="two layers are equally slow",
        )
    )
    rng = np.random.default_rng(0)
    weights, inputs = rng.integers(-3, 4, (64, 1024)), rng.integers(0, 256, 1024)
    sums = [folded(weights, inputs, number, number)[0] for number in (2, 8, 16)]
    rows.append(
        reference.claim(
            STEWART,
            "parallelism_leaves_accuracy",
            holds=all(np.array_equal(one, weights @ inputs) for one in sums),
            ours="a random layer has the same sums in three foldings, as whole numbers must",
            why="sums differ",
        )
    )
    return rows


def _doubled(folding: Folding, layers: list[int]) -> Folding:
    """The folding with the next larger SIMD in some layers."""

    def wider(number: int, fold: Fold) -> Fold:
        larger = [d for d in divisors(folding.layers[number].mw) if d > fold.simd]
        return replace(fold, simd=larger[0]) if number in layers and larger else fold

    return replace(folding, folds=tuple(wider(*one) for one in enumerate(folding.folds)))


def _fits(setup: Setup, designs: pd.DataFrame) -> Rows:
    """W4A4 at 16/16 is too large for the Z7020; the papers' others are not."""
    there = designs.set_index(["configuration", "pe_simd"])
    asked = [(name, number) for name in PAPERS for number in (2, 8, 16)]
    if setup.device != "Z7020" or not set(asked) <= set(there.index):
        return []
    too_large = [one for one in asked if not there.loc[one, "fits"]]
    shares = ", ".join(f"{name} {there.loc[(name, 16), 'lut_share']:.0f} %" for name in PAPERS)
    why = (
        f"thresholds: {setup.threshold_storage}, weights: {setup.weight_storage}. FINN's formulas "
        "count no FIFOs, width converters or DMA, and tools seldom route a nearly full device"
    )
    rows = [
        reference.claim(
            source,
            name,
            holds=too_large == [("W4A4", 16)],
            ours=f"LUTs at 16/16: {shares} of the {setup.device}'s",
            why=why,
        )
        for source, name in (
            (STEWART, "w4a4_does_not_fit_at_16"),
            (DUCASSE, "a4w4_does_not_fit_at_16"),
        )
    ]
    largest = max(
        (
            n
            for n in (2**k for k in range(11))
            if setup.measures(setup.uniform("W3A3", n, n))["fits"]
        ),
        default=float("nan"),
    )
    why = "the largest power of two with which W3A3 fits"
    return [*rows, reference.claim_value(DUCASSE, "best_compromise_parallelism", largest, why=why)]


def _room(setup: Setup, fastest: Mapping[str, Folding], every: pd.DataFrame) -> Rows:
    """What few bits leave room for; only on the papers' device."""
    if setup.device != "Z7020":
        return []
    rows = []
    limit = f"within {100 * setup.share:.0f} % of the device"
    if {"W2A2", "W3A3"} <= set(fastest):
        uniform = setup.measures(setup.uniform("W3A3", 16, 16))["frame_rate"]
        found = {name: setup.measures(fastest[name])["frame_rate"] for name in ("W2A2", "W3A3")}
        said = ", ".join(f"{name} {rate:,.0f}" for name, rate in found.items())
        rows.append(
            reference.claim(
                DUCASSE,
                "low_bits_could_be_parallelised_more",
                holds=min(found.values()) > uniform,
                ours=f"frames/s with foldings of their own {limit}: {said}; 16/16 {uniform:,.0f}",
                why=f"{limit} no folding is faster",
            )
        )
    many = every[(every["weight_bits"] >= 7) & (every["act_bits"] >= 7)]["frame_rate"]
    few = every[(every["weight_bits"] == 2) & (every["act_bits"] == 2)]["frame_rate"]
    ours = (
        f"frames/s at one folding equal; each with its own {limit}: W2A2 {few.iloc[0]:,.0f}, 7 and "
        f"8 bits {many.min():,.0f} to {many.max():,.0f}"
    )
    rows.append(
        reference.claim(
            DUCASSE,
            "low_bits_outperform_high_bits",
            holds=bool(few.iloc[0] > many.max()),
            ours=ours,
            erratum=_arithmetic(DUCASSE, "throughput_depends_on_bits"),
        )
    )
    return rows


def _compromise(
    setup: Setup, designs: pd.DataFrame, fastest: Mapping[str, Folding], accuracy: pd.Series
) -> Rows:
    """Of the fastest designs that fit, W3A3 with PE = SIMD = 16 is the most accurate."""
    if not set(PAPERS) <= set(designs["configuration"]) or not set(PAPERS) <= set(accuracy.index):
        return []
    fitting = designs[designs["fits"] & designs["configuration"].isin(PAPERS)]
    if fitting.empty or 16 not in set(designs["pe_simd"]):
        return []
    quick = fitting[np.isclose(fitting["frame_rate"], fitting["frame_rate"].max())]
    best = quick.loc[quick["configuration"].map(accuracy).idxmax()]
    own = ", ".join(
        f"{name} {setup.measures(fastest[name])['frame_rate']:,.0f} ({accuracy[name]:.2f} %)"
        for name in PAPERS
    )
    ours = (
        f"of those that fit at {best['frame_rate']:,.0f} frames/s, {best['configuration']} is the "
        f"most accurate ({accuracy[best['configuration']]:.2f} %). Folded layer by layer, which "
        f"the papers did not: {own}"
    )
    holds = (best["configuration"], best["pe_simd"]) == ("W3A3", 16)
    why = "what fits depends on where thresholds and weights are kept"
    return [
        reference.claim(source, name, holds=holds, ours=ours, why=why)
        for source, name in ((STEWART, "w3a3_best_compromise"), (DUCASSE, "a3w3_best_compromise"))
    ]


def errata() -> pd.DataFrame:
    """Where the two papers disagree with themselves on this chapter's matters."""
    found = reference.errata()
    wanted = {
        DUCASSE: (
            "bandwidth_unit",
            "throughput_lost_decimal_point",
            "throughput_a3w3_2_2",
            "throughput_depends_on_bits",
            "pe_written_out",
        ),
        STEWART: ("speedup_from_6_1k", "mlp_layers_three_or_five"),
    }
    rows = [
        found[(found["source"] == source) & (found["erratum"] == name)]
        for source, names in wanted.items()
        for name in names
    ]
    table = pd.concat(rows, ignore_index=True)
    return pd.DataFrame(
        {
            "where": table["source"] + ", " + table["where"],
            "printed": table["printed"],
            "should be": table["should_be"],
            "arithmetic": table["arithmetic"],
        }
    )


def lessons(
    setup: Setup, designs: pd.DataFrame, compared: pd.DataFrame, cheapest: pd.DataFrame
) -> str:
    """What this run shows, as a Markdown list; the tables are those of `folding_search`."""
    lines = []
    speeds = published_speeds(setup)
    agree = (speeds["verdict"] == "matches").sum()
    lines.append(
        f"* {agree} of {len(speeds)} printed throughputs and bandwidths follow within 0.1 % from "
        f"the cycles of the first layer and {setup.overhead_cycles} more; the farthest is "
        f"{speeds['off'].abs().max():.2f} % off."
    )
    too_large = designs[~designs["fits"]]
    names = too_large["configuration"] + " at " + too_large["pe_simd"].map("{0}/{0}".format)
    lines.append(
        f"* Too large for the {setup.device}, by these formulas: {', '.join(names)}."
        if len(names)
        else f"* All of these uniform foldings fit the {setup.device}, by these formulas."
    )
    for row in compared.dropna(subset="times").itertuples():
        lines.append(
            f"* **{row.configuration}**: a folding for each layer gives {row.frame_rate:,.0f} "
            f"frames/s within {100 * setup.share:.0f} % of the device, {row.times:.2f} times those "
            f"of {row.uniform} for all."
        )
    for row in cheapest.dropna(subset="part").itertuples():
        lines.append(
            f"* **{row.configuration}**: the {row.frame_rate:,.0f} frames/s of {row.uniform} can "
            f"be had with {row.part:.0f} % of its LUTs."
        )
    return "\n".join(lines)
