"""Chapter 15: every network that the book has trained, in one table; fronts, and what is left out.

A row is a recipe: its trainings with different seeds together. Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any, get_args

import numpy as np
import pandas as pd
from scipy import stats

from qbench import store
from qbench.evolution import front as non_dominated
from qbench.hardware import rccm
from qbench.hardware.synthesis import lut_slopes
from qbench.hardware.synthesis import multiplier_grid as grid
from qbench.parameters import Comparison
from qbench.parameters.types import AnyImageSet
from qbench.studies.folding import Setup
from qbench.studies.seeds import LEVEL, ONE_SEED, interval

from . import comparison_costs as costs
from . import comparison_faraone, comparison_readers  # noqa: F401  their readers register
from .comparison_networks import METHODS, Asked, Trained, everything
from .words import dataset as written

KEYS = ["method", "chapter", "dataset", "name", "recipe"]
#: What accuracy can be set against, and which way is better.
COSTS = {
    "throughput": "higher",
    "lut": "lower",
    "bram18": "lower",
    "memory": "lower",
    "energy": "lower",
    "latency": "lower",
}
TITLES = {  # in the middle of a sentence
    "throughput": "throughput",
    "lut": "LUTs",
    "bram18": "block RAM",
    "memory": "memory",
    "energy": "energy",
    "latency": "latency on a CPU",
}
MEASURED = "measured one image at a time on: {}"
DIVERGED = "the training diverged"
COLUMNS = (
    *("dataset", "method", "chapter", "network", "images", "epochs", "seeds", "accuracy"),
    *("half_width", "accuracies", "weight_bits", "act_bits", "weights", "macs", "memory"),
    *("throughput", "throughput_by", "lut", "bram18", "dsp", "energy", "latency"),
    *("assumed", "why_no_throughput", "why_no_lut"),
)


def terms(p: Comparison) -> costs.Terms:
    """What the networks of a page are costed by; RCCMs by the stored syntheses."""
    setup = Setup(
        device=p.device,
        clock=1e6 * p.clock_mhz,
        share=p.share,
        most_simd=p.most_simd,
        threshold_storage=p.threshold_storage,
    )
    return costs.Terms(setup, p.real_time, p.outer_bits, rccm_luts(p.stored == "published"))


def table(p: Comparison) -> pd.DataFrame:
    """All networks of the store that `p` asks for: a row a recipe, with `COLUMNS`.

    `accuracy` (%): mean over seeds on the test images, `half_width` of its 95 % interval and the
    `accuracies` themselves; `memory` in bytes, `energy` in J an image, `throughput` in frames/s and
    `throughput_by` what it comes from; `lut`, `bram18` and `dsp` of the cheapest design with
    `p.real_time` frames/s; `latency` (ms) where it was measured. What is missing is NaN, the reason
    beside it. Recipes of which no training ended have no accuracy.
    """
    asked = Asked(tuple(p.datasets), p.stored == "published")
    shared = terms(p)
    rows = [_row(group, shared) for group in recipes(asked, p.methods)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["method"] = pd.Categorical(frame["method"], METHODS)
    frame["dataset"] = pd.Categorical(frame["dataset"], p.datasets)
    frame = frame.sort_values(["dataset", "method"], kind="stable", ignore_index=True)
    return frame.astype({"dataset": str})


def recipes(asked: Asked, methods: Sequence[str] = METHODS) -> list[list[Trained]]:
    """The stored trainings of some methods, those that differ in seeds alone together."""
    groups: dict[tuple, list[Trained]] = {}
    for one in everything(asked):
        if one.method in methods:
            groups.setdefault(tuple(getattr(one, key) for key in KEYS), []).append(one)
    return list(groups.values())


def shown(frame: pd.DataFrame, p: Comparison) -> pd.DataFrame:
    """The rows that figures show: with an accuracy, of at least `p.min_accuracy`."""
    return frame[frame["accuracy"] >= max(p.min_accuracy, 0)].reset_index(drop=True)


def design_of(group: Sequence[Trained]) -> costs.Design:
    """What the trainings of a recipe compute; zeros, elsewhere with each seed, as their mean."""
    design = group[0].design
    if design.nonzeros:
        shares = np.mean([t.design.nonzeros for t in group], axis=0)
        design = replace(design, nonzeros=tuple(map(float, shares)))
    return design


def outcome(group: Sequence[Trained]) -> tuple[float, float, tuple[float, ...]]:
    """Mean accuracy (%) over seeds, half of its 95 % interval, each; those that ended."""
    ended = tuple(t.accuracy for t in group if t.accuracy == t.accuracy)
    mean, half = interval(pd.Series(ended)) if ended else (nan, nan)
    return mean, half, ended


def stored_bytes(group: Sequence[Trained], design: costs.Design) -> float:
    """Memory of the weights: as they were encoded, or at the bits of their layer."""
    encoded = float(np.mean([t.memory for t in group]))
    return encoded if encoded == encoded else costs.memory(design)


def _row(group: Sequence[Trained], shared: costs.Terms) -> dict[str, Any]:
    one, design = group[0], design_of(group)
    mean, half, ended = outcome(group)
    rate, model, why = costs.speed(design, shared)
    use, why_not = costs.resources(design, shared)
    whole = design.outer_bits == costs.FLOAT and design.whole_numbers
    assumed = f"first and last layer at {shared.outer_bits} bits" if whole and not why else ""
    measured = one.latency_ms == one.latency_ms
    if model:
        model = f"{model}, {shared.setup.device}"
    elif measured:
        rate, model, why = 1e3 / one.latency_ms, MEASURED.format(one.measured_on), ""
    return {
        **{name: getattr(one, name) for name in ("dataset", "method", "chapter")},
        "network": one.name,
        **{name: getattr(one, name) for name in ("images", "epochs")},
        "seeds": len(group),
        "accuracy": mean,
        "half_width": half,
        "accuracies": ended,
        **{name: getattr(design, name) for name in ("weight_bits", "act_bits")},
        "weights": costs.weights(design),
        "macs": costs.macs(design),
        "memory": stored_bytes(group, design),
        "throughput": rate,
        "throughput_by": model,
        **use,
        "energy": costs.energy(design),
        "latency": one.latency_ms,
        "assumed": assumed,
        "why_no_throughput": why,
        "why_no_lut": why_not,
    }


def rccm_luts(published: bool) -> tuple[tuple[str, float, float], ...]:
    """LUTs a bit of input, and at none, of each RCCM of Table 6.3 synthesised at several widths."""
    printed = [grid.parameters(rccm.published(name)) for name in rccm.WIRING]
    tables = [
        store.read(entry)
        for entry in store.results(grid.synthesise_rccm, published=published)
        if {k: v for k, v in entry.spec["parameters"].items() if k != "input_bits"} in printed
    ]
    if not tables:
        return ()
    every = pd.concat(tables, ignore_index=True)
    widths = every.groupby("multiplier")["input_bits"].transform("nunique")
    lines = lut_slopes(every[widths > 1])
    names = ("multiplier", "lut_per_input_bit", "lut_at_0")
    return tuple(lines[list(names)].itertuples(index=False, name=None))


# Fronts


def on_front(frame: pd.DataFrame, cost: str | Sequence[str] = "throughput") -> pd.Series:
    """Which rows no other of the same data set beats in accuracy and in one cost, or in several.

    Rows that lack one of them are never on the front. Raises `ValueError` for an unknown cost.
    """
    names = [cost] if isinstance(cost, str) else list(cost)
    for name in names:
        if name not in COSTS:
            raise ValueError(f"cost must be one of {', '.join(COSTS)}, not {name!r}.")
    best = pd.Series(False, index=frame.index)
    for _, rows in frame.groupby("dataset", sort=False):
        signed = [-rows["accuracy"]]
        signed += [-rows[n] if COSTS[n] == "higher" else rows[n] for n in names]
        best.loc[rows.index] = non_dominated(np.column_stack(signed))
    return best


def front(frame: pd.DataFrame, dataset: str, cost: str = "throughput") -> pd.DataFrame:
    """The front of one data set, best cost first, each network beside the next.

    Adds `gain`, the points of accuracy that it has more than the network before it, and `clear`:
    whether seeds leave that beyond doubt ("yes", "no", or that there is one seed). Welch's t-test,
    two-sided, at 5 %. As a front picks the luckiest of many, a "yes" is no proof either.
    """
    rows = frame[(frame["dataset"] == dataset)]
    rows = rows[on_front(rows, cost)]
    rows = rows.sort_values([cost, "accuracy"], ascending=[COSTS[cost] == "lower", True])
    gains, clear = [nan], [""]
    for before, after in zip(rows["accuracies"], rows["accuracies"].iloc[1:], strict=False):
        gains.append(float(np.mean(after) - np.mean(before)))
        clear.append(differ(before, after))
    return rows.assign(gain=gains[: len(rows)], clear=clear[: len(rows)]).reset_index(drop=True)


def differ(first: Sequence[float], second: Sequence[float]) -> str:
    """Whether two recipes differ by more than their seeds make them: "yes", "no" or why not."""
    if min(len(first), len(second)) < 2:
        return ONE_SEED
    if np.ptp(first) == np.ptp(second) == 0:
        return "yes" if first[0] != second[0] else "no"
    told = [(np.mean(of), np.std(of, ddof=1), len(of)) for of in (first, second)]
    p = stats.ttest_ind_from_stats(*told[0], *told[1], equal_var=False).pvalue
    return "yes" if p < LEVEL else "no"


def contributions(frame: pd.DataFrame) -> pd.DataFrame:
    """How many points each method has on each front: a row a data set and method.

    Columns: `dataset`, `method`, `networks`, one for each of `COSTS`, and `overall`, the front of
    accuracy, throughput and LUTs together. Methods without a network are left out.
    """
    marks = {name: on_front(frame, name) for name in COSTS}
    marks["overall"] = on_front(frame, ("throughput", "lut"))
    counted = frame.assign(networks=1, **{name: mark.astype(int) for name, mark in marks.items()})
    groups = counted.groupby(["dataset", "method"], observed=True, sort=False)
    return groups[["networks", *marks]].sum().reset_index()


def methods(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a data set and method: networks, trainings, scale and the best of each.

    Columns: `dataset`, `method`, `chapters`, `networks`, `trainings`, `images` and `epochs` (from
    the least to the most), `accuracy` (the best), `throughput` (the highest), `memory` (least).
    """
    rows = []
    for (dataset, method), part in frame.groupby(["dataset", "method"], observed=True, sort=False):
        rows.append(
            {"dataset": dataset, "method": method}
            | {"chapters": ", ".join(map(str, sorted(part["chapter"].unique())))}
            | {"networks": len(part), "trainings": int(part["seeds"].sum())}
            | {name: _range(part[name]) for name in ("images", "epochs")}
            | {"accuracy": part["accuracy"].max(), "throughput": part["throughput"].max()}
            | {"memory": part["memory"].min()}
        )
    head = ["dataset", "method", "chapters", "networks", "trainings", "images", "epochs"]
    return pd.DataFrame(rows, columns=[*head, "accuracy", "throughput", "memory"])


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def left_out(frame: pd.DataFrame, p: Comparison) -> pd.DataFrame:
    """What is not in a figure, and why: a row a data set, quantity and reason.

    Columns: `dataset`, `missing`, `why`, `networks` and `methods`. A method that was asked for and
    has no network on the data sets shown has a row that says on what it was trained.
    """
    parts = [
        ("all of it", frame["accuracy"].isna(), DIVERGED),
        (
            "all of it",
            frame["accuracy"] < p.min_accuracy,
            f"less than {p.min_accuracy:g} % of the test images right",
        ),
    ]
    there = frame["accuracy"] >= p.min_accuracy
    columns = {"throughput": "why_no_throughput", "LUTs and block RAM": "why_no_lut"}
    rows = []
    for what, mark, why in parts:
        rows.append(frame[mark].assign(missing=what, why=why))
    for what, column in columns.items():
        mark = there & (frame[column] != "")
        rows.append(frame[mark].assign(missing=what, why=frame.loc[mark, column].map(_general)))
    every = pd.concat(rows, ignore_index=True)
    columns = ["dataset", "missing", "why", "networks", "methods"]
    absent = pd.DataFrame(_elsewhere(frame, p), columns=columns)
    if every.empty:
        return absent
    groups = every.groupby(["dataset", "missing", "why"], sort=False)
    found = groups.agg(
        networks=("network", "size"),
        methods=("method", lambda of: ", ".join(m for m in METHODS if m in set(of))),
    )
    return pd.concat([found.reset_index(), absent], ignore_index=True)


def _elsewhere(frame: pd.DataFrame, p: Comparison) -> list[dict[str, Any]]:
    """A row each method that was asked for and has no network on `p.datasets`: where it has."""
    absent = [name for name in p.methods if name not in set(frame["method"])]
    others = [name for name in get_args(AnyImageSet) if name not in p.datasets]
    groups = recipes(Asked(others, p.stored == "published"), absent) if absent else []
    rows = []
    for method in absent:
        there = [group[0] for group in groups if group[0].method == method]
        images: dict[str, int] = {}
        for one in there:
            images[one.dataset] = max(one.images, images.get(one.dataset, 0))
        words = " and ".join(
            f"{written(name)} (up to {most:,} images)" for name, most in images.items()
        )
        why = f"trained on {words} alone" if words else "no training of it is stored"
        rows.append(
            {"dataset": "all of these", "missing": "all of it", "why": why}
            | {"networks": len(there), "methods": method}
        )
    return rows


def _general(why: str) -> str:
    """A reason without the numbers of one network."""
    return why.partition(" first, of which")[0]
