"""What chapter 17 stores: the search for bits by layer. Its trainings are stored one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import nan
from typing import Any

import pandas as pd

from qbench import evolution, store
from qbench.evolution import Phenotype
from qbench.studies.folding import Setup

from .mixed_precision import Prices, Recipe, bits_of, named, space_of


@store.method(version=1)
def search(
    *,
    recipe: Mapping[str, Any],
    setup: Mapping[str, Any],
    start: Sequence[Sequence[int]],
    frame_rate: float,
    cost: str = "lut",
    least_bits: int = 1,
    most_bits: int = 8,
    searched: Sequence[str],
    seeds: Sequence[int],
    epochs: int,
    population: int,
    generations: int,
    error_step: float = 0.1,
    seed: int = 0,
) -> pd.DataFrame:
    """NSGA-II over the bits of each layer, towards a low validation error and a low cost.

    `recipe` and `setup` are fields of `Recipe` and of `folding.Setup`, `start` the first generation
    (seven numbers each). A generation's new networks are trained together, with every one of
    `seeds`; those that do not fit the device are not trained and rank by how far they are beyond
    it. Returns the archive of `evolution.nsga2`: a column a layer with its bits, `error` (mean
    validation error over the seeds, %, missing where not trained), `test_error` (%) and the fields
    of `Price`.

    A search that was killed goes on: what has been trained is stored, the search walks the same
    way again over it, and the training that was interrupted has its checkpoint. Raises a
    `UserError`, one sentence, before any work.
    """
    evaluate = Evaluator(
        Recipe(**recipe), Prices(Setup(**setup), frame_rate, cost), list(seeds), epochs
    )
    return evolution.nsga2(
        space_of(least_bits, most_bits, searched),
        evaluate,
        population=population,
        generations=generations,
        seed=seed,
        noise=0.0,  # the cost is a formula
        error_step=error_step,
        start=[tuple(bits) for bits in start],
        cost="cost",
    )


class Evaluator:
    """Prices a generation's networks, and trains those that fit as one."""

    def __init__(self, recipe: Recipe, prices: Prices, seeds: Sequence[int], epochs: int) -> None:
        self.recipe, self.prices, self.seeds, self.epochs = recipe, prices, seeds, epochs

    def __call__(
        self, new: Sequence[Phenotype], keep: Callable[[Phenotype, dict[str, Any]], None]
    ) -> None:
        prices = {one: self.prices(bits_of(one)) for one in new}
        fitting = [bits_of(one) for one in new if prices[one].beyond == 0]
        found: dict[str, pd.DataFrame] = {}
        if fitting:
            runs = self.recipe.errors(fitting, seeds=self.seeds, epochs=self.epochs)
            found = dict(list(runs.groupby("network")))
        for one in new:
            rows = found.get(named(bits_of(one)), ())
            errors = {"error": nan, "test_error": nan}
            if len(rows) == len(self.seeds):  # none of its trainings diverged
                means = rows[["valid_error", "test_error"]].mean()
                errors = dict(zip(errors, map(float, means), strict=True))
            keep(one, errors | asdict(prices[one]))
