"""NEMOKD's search (Stewart et al. 2021, section 3.4), and random search with the same effort."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .archive import Archive, Values
from .dominance import OBJECTIVES, distinguishable, front
from .errors import EvolutionError, check_not_negative, check_whole, is_number, is_whole
from .genotype import USUAL, Genotype, Phenotype, Rates, Space, initial_population, perturb

Keep = Callable[[Phenotype, Values], None]
Evaluate = Callable[[Sequence[Phenotype], Keep], None]
DRAWS = ("uniform", "perturbed")


def nsga2(
    space: Space,
    evaluate: Evaluate,
    *,
    population: int,
    generations: int,
    seed: int,
    noise: float,
    error_step: float,
    archive: Path | None = None,
    budget_minutes: float | None = None,
    rates: Rates = USUAL,
    start: Sequence[Genotype] | None = None,
    cost: str = OBJECTIVES[0],
    progress: bool = True,
) -> pd.DataFrame:
    """Evolve the baseline of `space` with NSGA-II towards low latency and low error (eq. 4).

    The first generation is `initial_population`, or `start`; each further one has `population`
    offspring, all of them networks that were not asked for before, and the best of parents and
    offspring survive.

    `evaluate(new, keep)` gets the different networks of a generation that are still unknown, and
    must call `keep(phenotype, values)` for each as soon as that one is complete, in any order;
    `values` holds `error` (%) and `latency_ms` (positive), and whatever else should be archived.
    An `error` of NaN says that the network failed: it ranks behind all others, and of these the one
    that is least `beyond` what is allowed first, if that is among the values (0: within).

    `cost` is what stands in the latency's place, by its name among the values.

    Objectives are ranked as `distinguishable` rounds them with `noise` (a share of the latency) and
    `error_step` (percentage points); the archive has what was measured. All randomness comes from
    `seed`. With `archive`, each network is written to that file as it is kept, and a search that
    was interrupted continues from there to the same table, provided that the evaluator repeats
    itself; more generations continue a finished search. The file knows the settings and not the
    evaluator: another evaluator needs another file.

    `budget_minutes` stops the search before a generation that would begin later than that,
    interruptions not counted. Returns the archive's table, see `archive.read`; `survivors` and
    `summary` read it. Raises `EvolutionError`, one sentence, before any work.
    """
    check_whole("population", population, 2)
    check_whole("generations", generations, 1)
    check_not_negative("noise", noise)
    check_not_negative("error_step", error_step)
    _check_common(seed, budget_minutes)
    settings = {"search": "nsga2", "population": int(population), "seed": int(seed)}
    settings |= {"noise": float(noise), "error_step": float(error_step), "rates": asdict(rates)}
    if cost != OBJECTIVES[0]:  # archives without a name are of latencies
        settings["cost"] = cost
    if start is not None:
        if len(start) != population:
            raise EvolutionError(
                f"start must hold as many genotypes as the population, {population}, not "
                f"{len(start)}."
            )
        for one in start:
            space.check(one)
        start = [tuple(int(gene) for gene in one) for one in start]
        settings["start"] = start
    known = Archive(space, settings, archive)

    from pymoo.core.evaluator import Evaluator
    from pymoo.problems.static import StaticProblem

    from .operators import algorithm

    origins = ["start"] * population
    if start is None:
        start = initial_population(space, population, np.random.default_rng([seed, 1]), rates)
        origins = ["baseline" if one == space.baseline else "perturbed" for one in start]
    search = algorithm(space, start, known.asked, rates, int(seed))
    with _progress(population * generations, space.name, progress) as bar:
        for generation in range(1, generations + 1):
            if _over(
                budget_minutes, known, generation, f"generation {generation} of {generations}"
            ):
                break
            infills = search.ask()
            if infills is None:
                _say(f"no new network within reach: stopped after generation {generation - 1}")
                break
            genotypes = [tuple(int(gene) for gene in one.X) for one in infills]
            asked = _evaluate(known, evaluate, generation, genotypes, origins, bar)
            origins = ["offspring"] * population
            failed = np.array([known.failed(one.phenotype) for one in asked])
            table = pd.DataFrame([known.values[one.phenotype] for one in asked])
            ranked = np.zeros((len(asked), 2))
            ranked[~failed] = distinguishable(
                table[~failed], noise=noise, error_step=error_step, cost=cost
            )
            violated = failed.astype(float)
            if "beyond" in table:
                violated = np.where(failed & (table["beyond"] > 0), table["beyond"], violated)
            given = StaticProblem(search.problem, F=ranked, G=violated[:, None])
            Evaluator().eval(given, infills)
            for infill, one in zip(infills, asked, strict=True):
                infill.set("individual", one)
            search.tell(infills=infills)
            for survivor in search.pop:
                survivor.get("individual").survived_until = generation
            known.write()
    return known.frame()


def random_search(
    space: Space,
    evaluate: Evaluate,
    *,
    evaluations: int,
    seed: int,
    archive: Path | None = None,
    draw: str = "uniform",
    batch: int = 10,
    budget_minutes: float | None = None,
    rates: Rates = USUAL,
    progress: bool = True,
) -> pd.DataFrame:
    """Evaluate `evaluations` different networks drawn at random: what evolution has to beat.

    `draw` is `uniform`, each gene uniformly within its bounds, or `perturbed`, the baseline mutated
    as `initial_population` does it. A draw that decodes to a network already drawn is drawn again.
    Batches of `batch` networks count as generations, and none is ever discarded. Evaluator,
    archive, budget and table are as in `nsga2`; more evaluations continue a finished search when
    they are whole batches. Raises `EvolutionError`, also when the space has too few networks.
    """
    check_whole("evaluations", evaluations, 1)
    check_whole("batch", batch, 1)
    _check_common(seed, budget_minutes)
    if draw not in DRAWS:
        raise EvolutionError(f"draw must be one of {', '.join(DRAWS)}, not {draw!r}.")
    if evaluations > space.size:
        raise EvolutionError(
            f"evaluations must be at most {space.size:,}, the different networks of {space.name}, "
            f"not {evaluations:,}."
        )
    settings = {"search": "random", "draw": draw, "batch": int(batch), "seed": int(seed)}
    known = Archive(space, settings | {"rates": asdict(rates)}, archive)
    rng = np.random.default_rng([seed, 2])
    last = -(-evaluations // batch)
    with _progress(evaluations, f"{space.name}, random", progress) as bar:
        for generation in range(1, last + 1):
            if _over(budget_minutes, known, generation, f"batch {generation} of {last}"):
                break
            count = min(batch, evaluations - batch * (generation - 1))
            genotypes = _draw(space, count, known, draw, rng, rates)
            _evaluate(known, evaluate, generation, genotypes, ["random"] * count, bar)
            for one in known.individuals:
                one.survived_until = generation
            known.write()
    return known.frame()


def _draw(
    space: Space, count: int, known: Archive, draw: str, rng: np.random.Generator, rates: Rates
) -> list[Genotype]:
    """`count` genotypes of different networks that were not asked for before."""
    found: dict[Phenotype, Genotype] = {}
    misses = 0
    while len(found) < count:
        genotype = space.sample(rng) if draw == "uniform" else perturb(space, rng, rates)
        phenotype = space.decode(genotype)
        if phenotype in found or phenotype in known.asked:
            misses += 1
            if misses > 100_000:
                raise EvolutionError(
                    f"{draw} draws from {space.name} give hardly any network that was not drawn "
                    f"before: ask for fewer than {len(list(known.asked)) + count:,} evaluations."
                )
            continue
        found[phenotype] = genotype
    return list(found.values())


def _evaluate(
    known: Archive,
    evaluate: Evaluate,
    generation: int,
    genotypes: Sequence[Genotype],
    origins: Sequence[str],
    bar: Any,
) -> list[Any]:
    """Ask for a generation's individuals, have those evaluated that are unknown; returns all."""
    asked, new = known.ask(generation, genotypes, origins[: len(genotypes)])
    bar.set_postfix_str(f"generation {generation}", refresh=False)
    bar.update(len(asked) - len(new))

    def keep(phenotype: Phenotype, values: Values) -> None:
        known.keep(phenotype, values)
        bar.update()

    if new:
        evaluate(new, keep)
    missing = next((one for one in new if one not in known.values), None)
    if missing is not None:
        raise EvolutionError(f"the evaluator returned without a result for {missing}.")
    found = [[known.values[one][name] for name in known.objectives] for one in known.asked]
    best, at_front = np.nanmin([np.inf, *(error for _, error in found)]), front(found).sum()
    bar.set_postfix_str(
        f"generation {generation}, best error {best:.4g} %, {at_front} on the front"
    )
    return asked


def _check_common(seed: object, budget_minutes: object) -> None:
    if not is_whole(seed) or not 0 <= seed < 2**31:
        raise EvolutionError(f"seed must be a whole number from 0 to 2**31 - 1, not {seed!r}.")
    if budget_minutes is not None and not (is_number(budget_minutes) and budget_minutes > 0):
        raise EvolutionError(
            f"budget_minutes must be a positive number, or None for no limit, "
            f"not {budget_minutes!r}."
        )


def _over(budget_minutes: float | None, known: Archive, generation: int, which: str) -> bool:
    """Whether the budget forbids to begin a generation; one begun before is always finished."""
    if budget_minutes is None or generation == 1 or known.begun(generation):
        return False
    if known.minutes < budget_minutes:
        return False
    _say(f"the budget of {budget_minutes:g} minutes is used up: stopped before {which}")
    return True


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _progress(total: int, title: str, shown: bool) -> AbstractContextManager[Any]:
    from tqdm import tqdm

    return tqdm(total=total, desc=title, unit="network", disable=not shown, file=sys.stderr)
