"""Evolve networks towards low latency and low error, as NEMOKD does (Stewart et al. 2021).

    from qbench import evolution

    table = evolution.nsga2(
        evolution.FLEX_STUDENT, evaluate, population=10, generations=14, seed=0,
        noise=0.05, error_step=0.5, archive=Path("search.jsonl"),
    )
    evolution.summary(table, reference=(2.0, 90.0))

It trains and measures nothing itself: `evaluate(new, keep)` is given the networks that are new, as
`Phenotype`s, and keeps error and latency of each. What cannot be is an `EvolutionError`. Genes may
as well be bits of layers, another cost may stand in the latency's place, and networks may be beyond
limits: chapter 17 searches so.

- `genotype`: the spaces `FLEX_STUDENT` and `RESNET8X4`, decoding, mutation, crossover;
- `dominance`: eq. 5 and 6, hypervolume, and what noise leaves `distinguishable`;
- `search`: `nsga2` and `random_search`, which continue where they were interrupted;
- `archive`: the file that makes it so, `read_archive`;
- `summaries`: `survivors` of a generation, `summary` and `attained`.
"""

from .archive import read as read_archive
from .dominance import (
    OBJECTIVES,
    distinguishable,
    dominates,
    front,
    hypervolume,
    standard_error,
)
from .errors import EvolutionError
from .genotype import (
    FLEX_STUDENT,
    RESNET8X4,
    Gene,
    Phenotype,
    Rates,
    Space,
    crossover,
    initial_population,
    mutate,
)
from .search import nsga2, random_search
from .summaries import attained, summary, survivors

__all__ = [
    "FLEX_STUDENT",
    "OBJECTIVES",
    "RESNET8X4",
    "EvolutionError",
    "Gene",
    "Phenotype",
    "Rates",
    "Space",
    "attained",
    "crossover",
    "distinguishable",
    "dominates",
    "front",
    "hypervolume",
    "initial_population",
    "mutate",
    "nsga2",
    "random_search",
    "read_archive",
    "standard_error",
    "summary",
    "survivors",
]
