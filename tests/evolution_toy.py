"""Small spaces and evaluators that take no time, for the tests of the search; not a test itself."""

import itertools
import math
import random

import pandas as pd

from qbench.evolution import Gene, Phenotype, Space

TINY = Space(
    "tiny",
    (
        Gene("convolutions", "convolutions", 1, 3),
        Gene("hidden", "hidden", 0, 1),
        *(Gene(f"channels_{n}", "channels", 2, 10, 2) for n in (1, 2, 3)),
        Gene("neurons_1", "neurons", 10, 40, 10),
    ),
    baseline=(2, 1, 6, 6, 6, 20),
)


def measured(one: Phenotype) -> dict[str, float | str | bool]:
    """Wider is slower and better, deeper too; every value is a function of the network alone."""
    strength = sum(math.log(size) * place for place, size in enumerate(one.channels, start=1))
    strength += 0.05 * sum(one.neurons)
    work = sum(a * b for a, b in itertools.pairwise((3, *one.channels)))
    work += sum(one.neurons) * one.channels[-1]
    return {
        "error": 100 / (1 + strength),
        "latency_ms": 0.1 + work / 200,
        "parameters": work,
        "runtime": "toy",
        "exact": True,
    }


class Evaluator:
    """Keeps `measure` of each network, in an order of its own; `kept` are the networks so far.

    `stop` is called before each `keep`, with the number of networks kept so far.
    """

    def __init__(self, measure=measured, stop=None):
        self.measure, self.stop, self.kept, self.calls = measure, stop, [], 0

    def __call__(self, new, keep):
        self.calls += 1
        shuffled = sorted(new, key=str)
        random.Random(len(shuffled)).shuffle(shuffled)
        for one in shuffled:
            if self.stop:
                self.stop(len(self.kept))
            keep(one, self.measure(one))
            self.kept.append(one)


def everything(space: Space) -> pd.DataFrame:
    """What `measured` says of every network of a small space, indexed by its text."""
    genotypes = itertools.product(*(gene.values for gene in space.genes))
    networks = sorted({space.decode(genotype) for genotype in genotypes}, key=str)
    return pd.DataFrame([measured(one) for one in networks], index=[str(one) for one in networks])
