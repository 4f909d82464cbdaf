"""Chapter 15: every stored training of the book as a network to compare.

A reader (`comparison_readers`, `comparison_faraone`) goes through what the store has of a method,
whatever the parameters, and yields a `Trained` for each network. A new chapter adds a function
marked `@reader`; nothing else names its trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

import pandas as pd

from qbench import store
from qbench.data import specs as specs_of
from qbench.parameters.comparison import EVERY

from .comparison_costs import FLOAT, Design

#: What a point of the figure is the result of, in the order of the legend.
METHODS = tuple(EVERY)
MIXED = "mixed precision"  # whose bits are those of each layer
Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """One stored training: what it is called, how it was trained, what it computes.

    `epochs` count those of what it started from, too. `accuracy` on the test images in %, NaN where
    the training diverged. `recipe` is equal for trainings that differ in seeds alone. `latency_ms`
    where it was measured, and on which device; `memory` in bytes where weights were really encoded.
    """

    method: str
    chapter: int
    dataset: str
    name: str
    images: int
    epochs: int
    seed: int
    accuracy: float
    design: Design = field(repr=False)
    recipe: str = field(repr=False)
    latency_ms: float = nan
    measured_on: str = ""
    memory: float = nan


@dataclass(frozen=True)
class Asked:
    """Which trainings a page wants: of these data sets, and whether local results count."""

    datasets: Collection[str]
    published: bool = False

    def tables(
        self, function: Callable[..., pd.DataFrame], of: str = ""
    ) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
        """Parameters and table of every stored result of a method, as far as it is wanted."""
        for entry in store.results(function, published=self.published):
            parameters = entry.spec["parameters"]
            if (parameters[of] if of else parameters)["dataset"] in self.datasets:
                yield parameters, store.read(entry)


Reader = Callable[[Asked], Iterator[Trained]]
READERS: list[Reader] = []


def everything(asked: Asked) -> list[Trained]:
    """What all readers find."""
    return [one for function in READERS for one in function(asked)]


def reader(function: Reader) -> Reader:
    """Mark a function that gives the networks of a chapter."""
    READERS.append(function)
    return function


def recipe(method: str, spec: Spec, **more: Any) -> str:
    """A name that trainings share which differ in seeds alone, also of what they start from."""
    return store.key({"method": method, "version": 1, "parameters": _without_seeds(spec) | more})


def _without_seeds(spec: Spec) -> dict[str, Any]:
    return {
        name: _without_seeds(value) if isinstance(value, Mapping) else value
        for name, value in spec.items()
        if name != "seed"
    }


def scale(spec: Spec) -> dict[str, Any]:
    """What all trainings say of themselves: data set, images, epochs, seed."""
    epochs, start = spec["epochs"], spec.get("start")
    while start:
        epochs, start = epochs + start["epochs"], start.get("start")
    images = spec["images"] or specs_of.find(spec["dataset"]).split["train"]
    same = {"dataset": spec["dataset"], "images": images, "epochs": epochs}
    return same | {"seed": spec["seed"]}


def bits_named(weights: int, acts: int) -> str:
    """`W4A8`, or `float32` where both are."""
    return "float32" if (weights, acts) == (FLOAT, FLOAT) else f"W{weights}A{acts}"


def accuracy(table: pd.DataFrame) -> float:
    """Of the last epoch; NaN where the loss was no longer finite."""
    return 100 - float(table["test_error"].iloc[-1])
