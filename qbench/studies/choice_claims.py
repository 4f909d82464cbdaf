"""Chapter 16: what Stewart et al. 2021 recommend, judged by choosing; what the page shows."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from qbench import plots, reference
from qbench.parameters import Choice
from qbench.parameters.choice import CPU

from . import choice
from .choice import PREFERRED, Wanted
from .choice_networks import Offer, candidates, words
from .choice_page import NAMES, amount, resource
from .folding import STEWART

DEVICE = "Z7020"  # the paper's
SWEEP = "bit-width sweep"
REAL_TIME = 30.0
#: Points of accuracy below the best of the sweep that a reader may give up, and those that are
#: judged: more than seeds make (0.3), and little enough to be called a compromise.
GIVEN_UP = (0.1, 0.5, 1.0, 2.0, 5.0)
JUDGED = (0.5, 1.0, 2.0)
WHY = "what is best depends on what matters, and on how much accuracy may go"


def sweet_spots(every: Offer, p: Choice) -> pd.DataFrame:
    """What a reader with the paper's FPGA would choose of the sweep: a row a data set and request.

    A request gives up some points of accuracy for what is preferred. Columns: `dataset`,
    `given_up`, `prefer`, `weight_bits`, `act_bits`, `accuracy`, `value` (of what is preferred). No
    rows where the page offers neither the device nor a data set of the sweep.
    """
    rows = []
    for dataset in p.offered_datasets if DEVICE in every.devices else []:
        there = candidates(every, dataset, DEVICE)
        swept = [words(every, row)["method"] == SWEEP for row in there.to_dict("records")]
        there = there[pd.Series(swept, index=there.index, dtype=bool)]
        if there.empty:
            continue
        base = Wanted(frames_per_second=REAL_TIME, share=p.share)
        best = choice.reach(there, base)["accuracy"]
        for points in GIVEN_UP:
            for prefer in (name for name in PREFERRED if name != "accuracy"):
                wanted = replace(base, accuracy=best - points, prefer=prefer)
                first = choice.choose(there, wanted).iloc[0]
                bits = words(every, first)["bits"].split(" / ")
                found = {"dataset": dataset, "given_up": points, "prefer": prefer}
                found |= dict(zip(("weight_bits", "act_bits"), map(int, bits), strict=True))
                rows.append(
                    found | {"accuracy": first["accuracy"], "value": first[PREFERRED[prefer]]}
                )
    columns = ["dataset", "given_up", "prefer", "weight_bits", "act_bits", "accuracy", "value"]
    return pd.DataFrame(rows, columns=columns)


def claims(spots: pd.DataFrame) -> pd.DataFrame:
    """A row a claim on the sweet spot that `sweet_spots` allows to judge."""
    judged = spots[spots["given_up"].isin(JUDGED)]
    rows: list[dict[str, Any]] = []
    if len(judged):
        rows = [
            _mostly_three(judged, "sweet_spot_weight_bits", "weight_bits"),
            _mostly_three(judged, "sweet_spot_act_bits", "act_bits"),
        ]
        bits = judged[["weight_bits", "act_bits"]].to_numpy()
        ours = f"from {bits.min()} to {bits.max()} bits in {len(judged)} choices"
        for name, holds in (
            ("fpga_sweet_spot_bits_low", bits.min() >= 2),
            ("fpga_sweet_spot_bits_high", bits.max() <= 4),
        ):
            rows.append(reference.claim(STEWART, name, holds=bool(holds), ours=ours, why=WHY))
    return pd.DataFrame(rows, columns=["where", "claim", "ours", "verdict", "why"])


def _mostly_three(judged: pd.DataFrame, name: str, column: str) -> dict[str, Any]:
    """Holds if no other width is chosen as often as 3 bits."""
    counted = judged[column].value_counts().sort_index()
    said = ", ".join(f"{number} × {width} bits" for width, number in counted.items())
    threes = counted.get(3, 0)
    others = counted.drop(3, errors="ignore")
    holds = threes > (others.max() if len(others) else 0)
    ours = f"of {len(judged)} choices {said}"
    return reference.claim(STEWART, name, holds=bool(holds), ours=ours, why=WHY)


def spots_table(spots: pd.DataFrame) -> pd.DataFrame:
    """`sweet_spots` as the page has it: a row a data set and points, a column a preference."""
    if spots.empty:
        return pd.DataFrame()
    named = spots.assign(
        choice=[
            f"W{r.weight_bits}A{r.act_bits}, {amount(PREFERRED[r.prefer], r.value, DEVICE)}"
            for r in spots.itertuples()
        ],
        what=[NAMES[PREFERRED[name]] for name in spots["prefer"]],
    )
    table = named.pivot(index=["dataset", "given_up"], columns="what", values="choice")
    order = [NAMES[column] for name, column in PREFERRED.items() if name != "accuracy"]
    heads = {"dataset": "data set", "given_up": "points given up", "energy": "energy (µJ)"}
    return table[order].reset_index().rename(columns=heads).rename_axis(columns=None)


def overview(every: Offer, p: Choice) -> pd.DataFrame:
    """The smallest network within a point of the best, for every data set and device of the form.

    In real time and within `p.share`. Devices that have none for the same reason share a row, which
    says how many networks there are, and why it is none of them.
    """
    rows, base = [], Wanted(frames_per_second=REAL_TIME, share=p.share, prefer="resources")
    for dataset in p.offered_datasets:
        none: dict[str, list[str]] = {}
        for device in every.devices:
            there = candidates(every, dataset, device)
            best = choice.reach(there, base)["accuracy"]
            if isnan(best):
                none.setdefault(_why_none(every, dataset, device, p), []).append(device)
                continue
            first = choice.choose(there, replace(base, accuracy=best - 1)).iloc[0]
            one = words(every, first)
            found = {"data set": dataset, "device": device}
            found |= {"network": one["name"], "method": one["method"]}
            found |= {"accuracy (%)": first["accuracy"], "of the best (%)": best}
            seen = f"all {one['images']:,}" if one["whole"] else f"only {one['images']:,}"
            found |= {"frames/s": first["rate"], "trained on images": seen}
            rows.append(found | {"takes": amount("resource", first["resource"], device)})
        for said, names in none.items():
            rows.append({"data set": dataset, "device": ", ".join(names), "network": said})
    heads = ["data set", "device", "network", "method", "accuracy (%)", "of the best (%)"]
    return pd.DataFrame(rows, columns=[*heads, "frames/s", "takes", "trained on images"])


def _why_none(every: Offer, dataset: str, device: str, p: Choice) -> str:
    """That no network is left, and whether it is too slow there or was never a candidate."""
    there = candidates(every, dataset, device)["network"].nunique()
    if there:
        within = "" if device == CPU else f" within {100 * p.share:g} %"
        return f"none of {there} in real time{within}"
    if not _stored(every, dataset):
        return "no network of it is stored"
    why = "no latency was measured" if device == CPU else "none has a design"
    return f"none of {_stored(every, dataset)}: {why}"


def _stored(every: Offer, dataset: str) -> int:
    return sum(one["dataset"] == dataset for one in every.networks)


def figure(every: Offer, p: Choice) -> go.Figure | None:
    """Accuracy against resources of what keeps to the limits; None where nothing does."""
    there = candidates(every, p.dataset, p.device)
    rows = choice.fitting(there, Wanted.of(p)) if len(there) else there
    if rows.empty:
        return None
    about = [words(every, row) for row in rows.to_dict("records")]
    scale = 1.0 if p.device == CPU else 100.0
    shown = rows.assign(
        resource=scale * rows["resource"],
        name=[one["name"] for one in about],
        method=[one["method"] for one in about],
    )
    unit = "kB" if p.device == CPU else "%"
    labels = {
        "resource": f"{resource(p.device).capitalize()} ({unit})",
        "accuracy": "Test accuracy (%)",
        "method": "Method",
    }
    wide = shown["resource"].max() > 10 * shown["resource"].min()  # a decade, so that it has ticks
    return plots.pareto(
        shown, "resource", "accuracy", "method", name="name", labels=labels, log_x=bool(wide)
    )


def lessons(every: Offer, p: Choice, spots: pd.DataFrame) -> str:
    """What this run shows, as a Markdown list."""
    lines = []
    counted = ", ".join(f"{_stored(every, name)} of {name}" for name in p.offered_datasets)
    seen = sum(one["whole"] for one in every.networks)
    lines.append(
        f"* The page chooses among {len(every.networks)} stored networks ({counted}); {seen} of "
        "them were trained on all training images."
    )
    judged = spots[spots["given_up"].isin(JUDGED)]
    if len(judged):
        kinds = (judged["weight_bits"].astype(str) + "/" + judged["act_bits"].astype(str)).nunique()
        exact = ((judged["weight_bits"] == 3) & (judged["act_bits"] == 3)).sum()
        lines.append(
            f"* On the {DEVICE}, {len(judged)} requests that give up half a point to two choose "
            f"{kinds} different networks of the sweep; {exact} of them choose W3A3."
        )
    rows = overview(every, p)
    none = rows[rows["method"].isna()]
    if len(none):
        rows = (f"{r['data set']} on {r['device']}, {r['network']}" for _, r in none.iterrows())
        lines.append(f"* Without a choice in real time: {'; '.join(rows)}.")
    return "\n".join(lines)
