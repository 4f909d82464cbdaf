"""Chapter 15: what Stewart et al. 2021 say around Fig. 11, on our networks; and what we learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from qbench import reference
from qbench.parameters import Comparison
from qbench.studies.folding import STEWART, Setup
from qbench.studies.folding_claims import DIGIT

from .comparison import COSTS, ONE_SEED, TITLES, contributions, front, shown
from .words import dataset as written

SWEEP, EVOLVED = "bit-width sweep", "evolved"
PLANES = ("throughput", "lut")  # in which a compromise of the sweep is looked for
ROWS = ["where", "claim", "ours", "verdict", "why"]

Rows = list[dict[str, Any]]


def figure_11(frame: pd.DataFrame) -> pd.DataFrame:
    """The throughputs of Fig. 11 that the text prints, beside ours.

    Columns: `device` and `method` of the paper, `published` (images/s), `ours`, `verdict`, `why`.
    """
    printed = reference.load(STEWART, "figure_11").set_index("method", drop=False)
    fpga, vpu = printed["value"]["quantisation"], printed["value"]["NEMOKD"]
    setup = Setup()
    model = setup.measures(setup.uniform("W3A3", 16, 16))["frame_rate"]
    how = {"tolerance": 1000, "why": DIGIT}
    reference.claim_value(STEWART, "fpga_real_time_throughput", model, **how)  # the same number
    rows = [
        {
            "device": "FPGA",
            "method": "quantisation",
            "published": fpga,
            "ours": f"{model:,.0f}, W3A3 with PE and SIMD of 16 on the Z7020, by a model",
            "verdict": reference.verdict(fpga, model, **how, of=printed.loc["quantisation"]),
            "why": DIGIT,
        }
    ]
    times = frame[(frame["method"] == EVOLVED) & frame["latency"].notna()]
    ours = "no evolved network was measured"
    if len(times):
        low, high = times["throughput"].min(), times["throughput"].max()
        ours = f"{low:,.0f} to {high:,.0f}, measured on a CPU of today"
    why = "the vision processor is not driven by today's software"
    rows.append(
        {"device": "VPU", "method": "NEMOKD", "published": vpu, "ours": ours}
        | {"verdict": "needs hardware", "why": why}
    )
    return pd.DataFrame(rows)


def claims(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for every claim of section 4.4.3 that the store's networks allow to judge."""
    swept = frame[frame["method"] == SWEEP]
    evolved = frame[frame["method"] == EVOLVED]
    rows: Rows = []
    if len(swept):
        rows += _of_quantisation(swept)
    if len(evolved):
        rows += _of_evolution(evolved)
    if len(swept) and evolved["latency"].notna().any():
        rows.append(_real_time(swept, evolved))
    return pd.DataFrame(rows, columns=ROWS)


def _of_quantisation(swept: pd.DataFrame) -> Rows:
    each = swept.groupby("dataset", sort=False)["weights"]
    said = ", ".join(f"{name} {of.min():,} weights" for name, of in each)
    same = bool((each.nunique() == 1).all())
    rows = [
        reference.claim(
            STEWART,
            "quantisation_keeps_architecture",
            holds=same,
            ours=f"{len(swept)} networks: {said}",
            why="the stored networks have several widths",
        )
    ]
    found = compromises(swept)
    if found.empty:
        return rows
    bits = found[["weight_bits", "act_bits"]].to_numpy()
    ours = "; ".join(
        f"{written(r.dataset)}, {TITLES[r.plane]}: W{r.weight_bits}A{r.act_bits}"
        for r in found.itertuples()
    )
    why = "where the compromise lies depends on what accuracy is set against"
    for name, holds in (
        ("fpga_sweet_spot_bits_low", bits.min() >= 2),
        ("fpga_sweet_spot_bits_high", bits.max() <= 4),
        ("sweet_spot_precision_conclusion", bool((bits == 3).all())),
    ):
        rows.append(reference.claim(STEWART, name, holds=bool(holds), ours=ours, why=why))
    return rows


def _of_evolution(evolved: pd.DataFrame) -> Rows:
    sizes, bits = evolved["weights"].nunique(), sorted(set(evolved["weight_bits"]))
    stored = 8 * evolved["memory"] / evolved["weights"]
    return [
        reference.claim(
            STEWART,
            "evolution_keeps_precision",
            holds=bits == [32] and sizes > 1,
            ours=f"{len(evolved)} networks of {sizes} sizes, all trained in float32",
            why="only one size is stored",
        ),
        reference.claim_value(STEWART, "vpu_deployment_bits", float(stored.median())),
    ]


def _real_time(swept: pd.DataFrame, evolved: pd.DataFrame) -> dict[str, Any]:
    limit = reference.load(STEWART, "figure_11").set_index("method")["value"]["real time"]
    words, holds = [], True
    for name, part in (("quantised, by a model of an FPGA", swept), ("evolved, on a CPU", evolved)):
        rates = part["throughput"].dropna()
        enough = int((rates >= limit).sum())
        holds = holds and bool(len(rates)) and enough == len(rates)
        words.append(f"{name}: {enough} of {len(rates)}, the slowest {rates.min():,.0f} images/s")
    why = "not every network reaches 30 images/s"
    return reference.claim(STEWART, "both_real_time", holds=holds, ours="; ".join(words), why=why)


def compromises(swept: pd.DataFrame, planes: Sequence[str] = PLANES) -> pd.DataFrame:
    """The sweep's best compromise in each plane: a row a data set and plane, with its bits.

    Of the front it is the network nearest to the corner where the cheapest and the most accurate
    would be one, accuracy and the logarithm of the cost scaled to the front's range, as chapter 7
    chooses. A front of one or two networks has none between its ends and is left out.
    """
    rows = []
    for dataset in swept["dataset"].unique():
        for plane in planes:
            best = front(swept, dataset, plane)
            if len(best) < 3:
                continue
            cost = np.log(best[plane].to_numpy(float))
            cost = -cost if COSTS[plane] == "higher" else cost
            worse = [_scaled(cost), _scaled(-best["accuracy"].to_numpy(float))]
            at = int(np.hypot(*worse).argmin())
            row = best.loc[at, ["weight_bits", "act_bits", "accuracy", plane]]
            found = {"dataset": dataset, "plane": plane, "networks": len(best)}
            found |= {name: int(row[name]) for name in ("weight_bits", "act_bits")}
            rows.append(found | {"accuracy": row["accuracy"], "cost": row[plane]})
    columns = ["dataset", "plane", "networks", "weight_bits", "act_bits", "accuracy", "cost"]
    return pd.DataFrame(rows, columns=columns)


def _scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (np.ptp(values) or 1)


def errata() -> pd.DataFrame:
    """Where the paper disagrees with itself on the throughputs of this comparison."""
    table = reference.errata(STEWART).set_index("erratum")
    rows = table.loc[["throughput_range_contradicts_latencies", "speedup_from_6_1k"]]
    names = {"should_be": "should be"}
    return rows.rename(columns=names)[["where", "printed", "should be", "arithmetic"]]


def lessons(frame: pd.DataFrame, p: Comparison) -> str:
    """What this run shows, as a Markdown list."""
    lines, there = [], shown(frame, p)
    trainings = int(frame["seeds"].sum())
    lines.append(
        f"* The page compares {len(there)} networks, which {trainings:,} trainings of "
        f"{frame['chapter'].nunique()} chapters gave; nothing was trained for it. *Runs shown*, "
        "below, are the stored results that were read: one of a search holds many trainings, and "
        "some are of other data sets."
    )
    known = contributions(there)
    for dataset in there["dataset"].unique():
        part = there[there["dataset"] == dataset]
        of = known[known["dataset"] == dataset].set_index("method")
        said = ", ".join(f"{name} {count}" for name, count in of["overall"].items() if count)
        best = part.loc[part["accuracy"].idxmax()]
        lines.append(
            f"* **{written(dataset)}**: the most accurate of {len(part)} networks is "
            f"{best['network']} ({best['method']}), {best['accuracy']:.2f} %. "
            + (
                f"On the front of accuracy, throughput and LUTs together: {said}."
                if said
                else "None has a throughput and LUTs by the same model, so there is no such front."
            )
        )
        steps = front(part, dataset, p.cost)["clear"].iloc[1:]
        if len(steps):
            lines.append(
                f"* Steps along its front against {TITLES[p.cost]}: {len(steps)}. Larger than "
                f"seeds': {(steps == 'yes').sum()}; not larger: {(steps == 'no').sum()}; cannot be "
                f"told, as a network has one seed: {(steps == ONE_SEED).sum()}."
            )
    rates = there["throughput"].dropna()
    slow = there[there["throughput"] < p.real_time]
    lines.append(
        f"* {(rates >= p.real_time).sum()} of {len(rates)} networks with a throughput have at "
        f"least {p.real_time:g} frames/s"
        + (f"; the slowest has {rates.min():,.0f}." if slow.empty and len(rates) else ".")
    )
    return "\n".join(lines)
