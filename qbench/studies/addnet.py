"""Chapter 12: networks trained for multipliers made of adders, as Faraone 2021, chapter 6.

Which trainings a chapter asks for, and their table; `addnet_tables` puts it beside the thesis'.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from qbench import store
from qbench.addnet import AddnetError, runs
from qbench.parameters.addnet import AddNet

PRETRAINED = "pre-trained"  # what all others start from
METHODS: dict[str, dict[str, Any]] = {
    "float32": {"method": "float32"},
    "8-bit": {"method": "uniform", "weight_bits": 8},
    "6-bit": {"method": "uniform", "weight_bits": 6},
    "4-bit": {"method": "uniform", "weight_bits": 4},
    "ternary": {"method": "ternary"},
    "binary": {"method": "binary"},
}
UNOPTIMISED = "3-Add"  # the multiplier that has the unoptimised set: see the errata
FOUND = ("matched", "worst")  # sets that have to be found
KEYS = ["dataset", "network", "weights", "act_bits"]
ERRORS = ["valid_error", "test_error"]

#: By task, then by what `label` gives: coefficients in ascending order.
Sets = Mapping[str, Mapping[str, Sequence[int]]]


@dataclass(frozen=True)
class Cell:
    """One training: how its weights are called on the page, and its parameters."""

    dataset: str
    network: str
    weights: str
    act_bits: int
    seed: int
    spec: dict[str, Any] = field(repr=False)


def label(rccm: str, which: str = "published") -> str:
    """What the weights of a multiplier's set are called: "2-Add", "2-Add worst", …"""
    return rccm if which == "published" else f"{rccm} {which}"


def cells(p: AddNet, found: Sets | None = None) -> list[Cell]:
    """The trainings that a chapter with parameters `p` asks for.

    For every task and seed: the float32 network that is pre-trained, and from its weights every
    method, float32 among them, and every multiplier with each of the sets, all with one recipe; the
    first set also with the other widths of activations. `found` has the "matched" and "worst" sets,
    by task ("cifar10/resnet20") and `label`, of the multipliers that are enumerated. Raises
    `AddnetError` where it lacks one that is asked for, and for a set that is none.
    """
    return [
        cell for task in p.tasks for seed in p.seeds for cell in _cells(p, task, seed, found or {})
    ]


def _cells(p: AddNet, task: str, seed: int, found: Sets) -> Iterator[Cell]:
    dataset, _, network = task.partition("/")
    start = pretrained(p, task, seed)
    same = {**start, "epochs": p.epochs, "start": start}

    def cell(weights: str, act_bits: int, **how: Any) -> Cell:
        own = {"act_bits": act_bits, "fraction_bits": None, "outer": None}
        spec = runs.complete({**same, **own, **how})
        return Cell(dataset, network, weights, spec["act_bits"], seed, spec)

    yield Cell(dataset, network, PRETRAINED, 32, seed, start)
    for name in p.methods:
        yield cell(name, 32 if name == "float32" else p.act_bits, **METHODS[name])
    chosen = [(rccm, which) for rccm in p.rccms for which in p.sets if _there_is(p, rccm, which)]
    for place, (rccm, which) in enumerate(chosen):
        name = label(rccm, which)
        coefficients = _coefficients(name, rccm, which, found.get(task, {}), task)
        others = [bits for bits in p.act_widths if not place and bits != p.act_bits]
        for bits in (p.act_bits, *others):
            yield cell(name, bits, method="addnet", codebook=coefficients)


def _there_is(p: AddNet, rccm: str, which: str) -> bool:
    if which in FOUND:
        return rccm in p.enumerated
    return which == "published" or rccm == UNOPTIMISED


def _coefficients(
    name: str, rccm: str, which: str, found: Mapping[str, Sequence[int]], task: str
) -> str | Sequence[int]:
    if which in FOUND:
        if name not in found:
            raise AddnetError(
                f"the coefficients of {name} for {task} must be given where sets are "
                f"{' or '.join(FOUND)}, and they are not among {', '.join(found) or 'none'}."
            )
        return found[name]
    return rccm if which == "published" else which


def pretrained(p: AddNet, task: str, seed: int) -> dict[str, Any]:
    """The training of the float32 network that all of a task and seed start from."""
    dataset, _, network = task.partition("/")
    return runs.complete(
        {
            "dataset": dataset,
            "network": network,
            "width": p.width,
            "method": "float32",
            "epochs": p.pretrain_epochs,
            "learning_rate": p.learning_rate,
            "batch_size": p.batch_size,
            "images": p.images,
            "seed": seed,
        }
    )


def histograms(
    p: AddNet, of: str = "layer", *, title: str = "pre-trained networks"
) -> pd.DataFrame:
    """Where the weights of the pre-trained networks of the first seed lie: see `runs.histogram`.

    A row a task, layer and bin, 31 bins a layer; `of` whose range the bins divide.
    """
    specs = {task: pretrained(p, task, p.seeds[0]) for task in p.tasks}
    runs.trainings(list(specs.values()), at_once=p.workers, title=title)
    parts = []
    for task, spec in specs.items():
        rows = store.run(runs.histogram, training=spec, of=of)
        rows.insert(0, "task", task)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def matched_with(found: pd.DataFrame) -> dict[str, np.ndarray]:
    """From `histograms`, by task: counts in 31 bins, over all layers that share a codebook."""
    return {str(task): runs.pooled(rows) for task, rows in found.groupby("task", sort=False)}


def table(p: AddNet, found: Sets | None = None, *, title: str = "trainings") -> pd.DataFrame:
    """Train all that `cells` lists, or look it up: one row a training.

    Columns: `dataset`, `network`, `weights` (as `label` and `METHODS` have it), `coefficients` (how
    many an inner layer can have; of float32 none), `weight_bits` (of an inner layer, in memory),
    `act_bits`, `seed`, `train_loss` (nats, last epoch), `valid_error` and `test_error` (%).
    """
    asked = cells(p, found)
    logs = runs.trainings([one.spec for one in asked], at_once=p.workers, title=title)
    rows = []
    for one, log in zip(asked, logs, strict=True):
        last, how = log.iloc[-1], runs.rounding_of(one.spec)
        several = {"ternary": 3, "binary": 2}.get(how.method, len(how.inner() or ()))
        row = {name: getattr(one, name) for name in ("dataset", "network", "weights")}
        row |= {"coefficients": several or pd.NA, "weight_bits": how.stored_bits}
        row |= {"act_bits": one.act_bits, "seed": one.seed}
        rows.append(row | {name: float(last[name]) for name in ("train_loss", *ERRORS)})
    return pd.DataFrame(rows).astype({"coefficients": "Int64"})


def rounded(
    p: AddNet, found: Sets | None = None, *, title: str = "rounded networks"
) -> pd.DataFrame:
    """Every rounded network of the usual activations before it is trained on: a row each.

    Columns as in `table`, but for `coefficients` and `train_loss`.
    """
    asked = [one for one in cells(p, found) if one.act_bits == p.act_bits and one.spec["start"]]
    asked = [one for one in asked if one.weights != "float32"]
    tables = runs.only_rounded([one.spec for one in asked], at_once=p.workers, title=title)
    rows = []
    for one, errors in zip(asked, tables, strict=True):
        row = {name: getattr(one, name) for name in (*KEYS, "seed")}
        row["weight_bits"] = runs.rounding_of(one.spec).stored_bits
        rows.append(row | {name: float(errors[name].iloc[0]) for name in ERRORS})
    return pd.DataFrame(rows, columns=[*KEYS, "seed", "weight_bits", *ERRORS])


def accuracies(made: pd.DataFrame) -> pd.DataFrame:
    """Test accuracies (%): a row for each of `KEYS`, a column a seed."""
    rows = made.assign(accuracy=100 - made["test_error"])
    return rows.pivot_table(index=KEYS, columns="seed", values="accuracy")
