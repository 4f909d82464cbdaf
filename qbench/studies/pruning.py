"""Chapter 13: rankings and strategies of Faraone 2021, chapter 4, on networks trained here.

Ours are small networks on small images, the thesis' AlexNet on ImageNet and TinyYolo on PASCAL VOC:
what its shapes alone decide is in `pruning_tables`. Trainings of one chain follow one another; the
chains of different rankings, weights and seeds are trained side by side.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from qbench import store
from qbench.hardware import fastest, performance
from qbench.parameters.pruning import FilterPruning
from qbench.pruning import measures, resources, runs, strategies
from qbench.pruning.rankings import RANKINGS

from .pruning_tables import costs
from .seeds import interval

CLOCK = 100e6  # Hz, of Ducasse et al. 2021, as in the other chapters
KEYS = ["weights", "ranking", "iteration"]
UNPRUNED = ""  # ranking of the networks that lose no filter
FENCE = 1.5  # interquartile ranges above the upper quartile: Tukey's outliers


@dataclass(frozen=True)
class Cell:
    """One training of the ranking study: which filters went first, and after how many prunings."""

    weights: str
    ranking: str
    iteration: int
    seed: int
    spec: dict[str, Any] = field(repr=False)


def first_training(p: FilterPruning, weights: str, seed: int) -> dict[str, Any]:
    """The parameters of the training before any pruning."""
    names = ("dataset", "network", "width", "act_bits", "epochs", "learning_rate", "batch_size")
    same = {name: getattr(p, name) for name in (*names, "images")}
    return runs.complete(same | {"weights": weights, "seed": seed})


def cells(p: FilterPruning) -> list[Cell]:
    """The trainings of figure 4.3: the first convolutions pruned evenly, by every ranking.

    With `p.control` also the unpruned network retrained as often: pruned networks have been trained
    for longer than the one they come from, which alone may make them better.
    """
    found = []
    for weights in p.weights:
        for seed in p.seeds:
            first = first_training(p, weights, seed)
            found.append(Cell(weights, UNPRUNED, 0, seed, first))
            network = runs.hardware_of(first)
            layers = network.prunable[: p.ranked_layers]
            plan = strategies.plan(
                "even", network, iterations=p.iterations, rate=p.rate, layers=layers
            )
            ways = {ranking: (plan, ranking) for ranking in p.rankings}
            if p.control:  # nothing goes, whatever the ranking
                ways[UNPRUNED] = ([network.filters] * p.iterations, "l1")
            for ranking, (counts, by) in ways.items():
                chain = runs.chain(first, counts, by, epochs=retraining(p))
                found += [
                    Cell(weights, ranking, step, seed, spec)
                    for step, spec in enumerate(chain[1:], 1)
                ]
    return found


def table(p: FilterPruning, *, title: str = "pruned networks") -> pd.DataFrame:
    """Train all that figure 4.3 asks for, or look it up: one row a training.

    Columns: `weights`, `ranking` ("" without pruning), `iteration` (0, 1, …), `pruned` (% of the
    filters of the layers that are pruned), `filters` left in all, `seed`, `train_loss`,
    `valid_error` and `test_error` (%).
    """
    asked = cells(p)
    logs = runs.trainings([one.spec for one in asked], at_once=p.workers, title=title)
    rows = []
    for one, log in zip(asked, logs, strict=True):
        last = log.iloc[-1]
        row = {name: getattr(one, name) for name in ("weights", "ranking", "iteration", "seed")}
        row["pruned"] = 100 * one.iteration * p.rate if one.ranking else 0.0
        row["filters"] = sum(one.spec["filters"].values())
        names = ("train_loss", "valid_error", "test_error")
        rows.append(row | {name: float(last[name]) for name in names})
    order = ["weights", "ranking", "iteration", "pruned", "filters", "seed"]
    return pd.DataFrame(rows)[[*order, "train_loss", "valid_error", "test_error"]]


def curves(found: pd.DataFrame) -> pd.DataFrame:
    """Figure 4.3: test accuracy against that of the unpruned network of the same seed, points.

    A row for each of weights, ranking and share pruned: `weights`, `ranking` (as on the page),
    `pruned` (%), `against` ("unpruned", or "unpruned, retrained" where `table` has that control),
    `gain` (mean over seeds), `half_width` of its 95 % interval, `seeds`.
    """
    pruned, rows = found.drop_duplicates(KEYS).set_index(KEYS)["pruned"], []
    against = {"unpruned": False} | ({"unpruned, retrained": True} if controlled(found) else {})
    for name, control in against.items():
        for key, one in relative(found, control=control).iterrows():
            mean, half = interval(one.dropna())
            row = {"weights": key[0], "ranking": RANKINGS[key[1]], "pruned": pruned[key]}
            row |= {"against": name, "gain": mean, "half_width": half}
            rows.append(row | {"seeds": int(one.notna().sum())})
    columns = ["weights", "ranking", "pruned", "against", "gain", "half_width", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def controlled(found: pd.DataFrame) -> bool:
    """Whether `table` has the unpruned network retrained as often as the pruned ones."""
    return bool(((found["ranking"] == UNPRUNED) & (found["iteration"] > 0)).any())


def relative(found: pd.DataFrame, *, control: bool = False) -> pd.DataFrame:
    """Test accuracies less the unpruned ones', points: a row each of `KEYS`, a column a seed.

    control: less those of the unpruned network retrained as often, instead of not at all.
    """
    errors = found.pivot_table(index=KEYS, columns="seed", values="test_error")
    rows = errors[errors.index.get_level_values("ranking") != UNPRUNED]
    keys = [(weights, UNPRUNED, step if control else 0) for weights, _, step in rows.index]
    return errors.loc[keys].set_axis(rows.index) - rows


def profile(p: FilterPruning) -> pd.DataFrame:
    """Figure 4.4: every filter's quantisation error, highest first, of the first seed's networks.

    Columns: `weights`, `layer`, `rank` (% of the layer's filters that are before it), `qerror`
    normalised to the layer's highest, and `high`: whether it is an outlier of its layer, above the
    upper quartile by more than 1.5 times the interquartile range.
    """
    parts = []
    for weights in p.weights:
        spec = first_training(p, weights, p.seeds[0])
        found = store.run(measures.profile, training=spec)
        for layer, rows in found.groupby("layer", sort=False):
            values = rows["qerror"].sort_values(ascending=False, ignore_index=True)
            low, high = np.percentile(values, [25, 75])
            parts.append(
                pd.DataFrame(
                    {
                        "weights": weights,
                        "layer": layer,
                        "rank": 100 * values.index / len(values),
                        "qerror": values / max(values.max(), np.finfo(float).tiny),
                        "high": values > high + FENCE * (high - low),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def plans(p: FilterPruning, seed: int) -> dict[str, list[dict[str, int]]]:
    """What each strategy leaves of the network of a seed, of the first kind of weights.

    Sensitivities are those of its convolutions pruned alone by one step, by validation error.
    """
    first = first_training(p, p.weights[0], seed)
    network, losses = runs.hardware_of(first), None
    if "sensitivity" in p.strategies:
        how = {"training": first, "ranking": p.rankings[0], "rate": p.rate}
        errors = store.run(measures.sensitivity, **how).set_index("layer")["valid_error"]
        losses = (errors - errors[""]).drop("").to_dict()
    how = {"iterations": p.iterations, "rate": p.rate, "most": p.most, "on": p.device}
    return {
        name: strategies.plan(name, network, losses=losses, mmv=p.mmv, **how)
        for name in p.strategies
    }


def courses(p: FilterPruning, *, title: str = "strategies") -> pd.DataFrame:
    """Every pruning of every strategy, whether accuracy allows it or not: a row a training.

    Columns: `strategy` and `seed`, `iteration` (0: not pruned yet), and as in `compared`
    `valid_error`, `test_error`, `pruning_tables.costs` and `frame_rate`.
    """
    chains = {
        (name, seed): runs.chain(
            first_training(p, p.weights[0], seed), plan, p.rankings[0], epochs=retraining(p)
        )
        for seed in p.seeds
        for name, plan in plans(p, seed).items()
    }
    every = [spec for chain in chains.values() for spec in chain]
    runs.trainings(every, at_once=p.workers, title=title)
    rows = []
    for (name, seed), chain in chains.items():
        fixed = resources.quickest(runs.hardware_of(chain[0]), on=p.device, mmv=p.mmv).interval
        for step, spec in enumerate(chain):
            row = {"strategy": name, "seed": seed, "iteration": step}
            row |= {"valid_error": runs.error_of(spec)} | _outcome(p, spec, fixed)
            rows.append(row)
    return pd.DataFrame(rows)


def compared(p: FilterPruning) -> pd.DataFrame:
    """Figures 4.6 and 4.7 for ours: each strategy pruned as long as accuracy allows.

    Step 2 of algorithm 3 with `p.tolerance`, by validation error. A row a strategy and seed, and
    one without a strategy for the network as it was: `strategy` ("" for that), `seed`, `iterations`
    that accuracy allowed, `test_error` (%), `pruning_tables.costs` at the cycles a frame of the
    unpruned network's quickest design on the device, and of the quickest design of this network
    `frame_rate` (images/s at 100 MHz).
    """
    rows = []
    for seed in p.seeds:
        first = first_training(p, p.weights[0], seed)
        fixed = resources.quickest(runs.hardware_of(first), on=p.device, mmv=p.mmv).interval
        rows.append({"strategy": "", "seed": seed, "iterations": 0} | _outcome(p, first, fixed))
        for name, plan in plans(p, seed).items():
            chain = runs.chain(first, plan, p.rankings[0], epochs=retraining(p))
            kept = runs.until(chain, p.tolerance)
            row = {"strategy": name, "seed": seed, "iterations": len(kept) - 1}
            rows.append(row | _outcome(p, kept[-1], fixed))
    return pd.DataFrame(rows)


def deployed(p: FilterPruning, seed: int) -> list[dict[str, Any]]:
    """Algorithm 3 from end to end by the first of `p.strategies`: its trainings, the last deployed.

    Pruning as far as accuracy allows, reuse until the design fits the device, filters added where
    they are cheap so that PE divides them (`strategies.customise`), retraining; where accuracy then
    falls short, step 5 goes back to the pruning before.
    """
    first = first_training(p, p.weights[0], seed)
    plan = plans(p, seed)[p.strategies[0]]
    kept = runs.until(runs.chain(first, plan, p.rankings[0], epochs=retraining(p)), p.tolerance)
    most, network = runs.error_of(first) + p.tolerance, runs.hardware_of(first)
    while True:
        before = kept[-1]["filters"]
        tuned = strategies.customise(network, before, p.device, rate=p.rate, mmv=p.mmv).counts
        if tuned == before:
            return kept
        last = runs.chain(kept[-1], [tuned], p.rankings[0], epochs=retraining(p))[-1]
        if len(kept) == 1 or runs.error_of(last) <= most:
            return [*kept, last]
        kept = kept[:-1]


def before_and_after(p: FilterPruning) -> pd.DataFrame:
    """The quickest designs on the device before pruning and after algorithm 3: two rows a seed.

    Columns: `seed`, `network` ("original" or "pruned"), `filters`, `test_error` (%), `frame_rate`
    (images/s at 100 MHz), `lut`, `bram18`, `dsp`, `frames_per_klut`, `frames_per_bram`; and of the
    exact folding search, `hardware.fastest` with all multipliers in LUTs and a pixel at a time:
    `folded_frame_rate`, `folded_lut`, `folded_bram18` and `bottleneck`, its slowest layer.
    """
    rows = []
    for seed in p.seeds:
        chain = deployed(p, seed)
        for name, spec in (("original", chain[0]), ("pruned", chain[-1])):
            network = runs.hardware_of(spec)
            cost = resources.quickest(network, on=p.device, mmv=p.mmv).cost
            rate = CLOCK / cost.cycles
            row = {"seed": seed, "network": name, "filters": sum(spec["filters"].values())}
            row |= {"test_error": runs.error_of(spec, "test"), "frame_rate": rate}
            row |= {part: getattr(cost, part) for part in ("lut", "bram18", "dsp")}
            row |= {"frames_per_klut": 1000 * rate / cost.lut}
            row |= {"frames_per_bram": rate / cost.bram18}
            folding = fastest(
                [one for group in network.units().values() for one in group], p.device
            )
            quick = performance(folding, clock=CLOCK)
            row |= {"folded_frame_rate": quick.frame_rate, "folded_lut": folding.cost.lut}
            row |= {"folded_bram18": folding.cost.bram18, "bottleneck": quick.bottleneck}
            rows.append(row)
    return pd.DataFrame(rows)


def _outcome(p: FilterPruning, spec: dict[str, Any], fixed: int) -> dict[str, Any]:
    network = runs.hardware_of(spec)
    quick = resources.quickest(network, on=p.device, mmv=p.mmv)
    row = {"test_error": runs.error_of(spec, "test")}
    return row | costs(network, None, fixed, mmv=p.mmv) | {"frame_rate": CLOCK / quick.cost.cycles}


def retraining(p: FilterPruning) -> int:
    """How many epochs each retraining has: a quarter of the first training's unless it was said."""
    return p.retrained or max(1, round(runs.RETRAINED * p.epochs))
