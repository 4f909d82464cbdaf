"""What became of a search: its populations, generation by generation, and what it attained."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .dominance import OBJECTIVES, distinguishable, front, hypervolume
from .errors import EvolutionError, is_whole


def survivors(archive: pd.DataFrame, generation: int) -> pd.DataFrame:
    """The population that the selection of a generation left, rows of the archive's table.

    Raises `EvolutionError` for a generation that the search has not completed.
    """
    last = int(archive.survived_until.max()) if len(archive) else 0
    if not is_whole(generation) or not 1 <= generation <= last:
        raise EvolutionError(
            f"generation must be a whole number from 1 to {last}, the last that was completed, "
            f"not {generation!r}."
        )
    kept = (archive.generation <= generation) & (archive.survived_until >= generation)
    return archive[kept]


def summary(
    archive: pd.DataFrame,
    *,
    reference: Sequence[float],
    noise: float = 0.0,
    error_step: float = 0.0,
    cost: str = OBJECTIVES[0],
) -> pd.DataFrame:
    """One row a completed generation, of the population that its selection left.

    `trained` (networks evaluated so far), `size` and `failed` of the population; `front`, how many
    different networks of it are on its front as `distinguishable` ranks them (a first population
    may hold the same one several times); `hypervolume` of what was measured, below `reference`
    (latency in ms, error in %), in ms times percentage points; `best_error` (%) and
    `median_latency_ms`. `attrs["reference"]` states the reference. `cost` names what stands in the
    latency's place.
    """
    rows, objectives = [], [cost, OBJECTIVES[1]]
    for generation in range(1, int(archive.survived_until.max()) + 1 if len(archive) else 1):
        population = survivors(archive, generation)
        known = population.dropna(subset=objectives)
        ranked = distinguishable(known, noise=noise, error_step=error_step, cost=cost)
        rows.append(
            {
                "generation": generation,
                "trained": int(archive.trained[archive.generation <= generation].sum()),
                "size": len(population),
                "failed": len(population) - len(known),
                "front": int(known.phenotype[front(ranked)].nunique()),
                "hypervolume": hypervolume(known[objectives], reference),
                "best_error": known.error.min(),
                f"median_{cost}": known[cost].median(),
            }
        )
    table = pd.DataFrame(rows)
    table.attrs["reference"] = tuple(float(value) for value in reference)
    return table


def attained(archive: pd.DataFrame, *, reference: Sequence[float]) -> pd.DataFrame:
    """The hypervolume of all networks evaluated so far, by their number: any two searches compare.

    One row a network, in the order asked for: `trained` (1 to N), `generation`, `hypervolume` below
    `reference` (latency in ms, error in %), in ms times percentage points.
    """
    trained = archive[archive.trained]
    values = trained[list(OBJECTIVES)].to_numpy(float)
    return pd.DataFrame(
        {
            "trained": np.arange(1, len(trained) + 1),
            "generation": trained.generation.to_numpy(),
            "hypervolume": [
                hypervolume(values[:count], reference) for count in range(1, len(trained) + 1)
            ],
        }
    )
