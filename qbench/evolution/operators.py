"""What NSGA-II is made of here: the genotypes' variation as pymoo's operators, and its survival."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2, binary_tournament
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.core.termination import NoTermination
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from .genotype import Genotype, Phenotype, Rates, Space, crossover, mutate

Decode = Callable[[np.ndarray], Phenotype]


def algorithm(
    space: Space, start: list[Genotype], asked: Collection[Phenotype], rates: Rates, seed: int
) -> NSGA2:
    """NSGA-II over `space`, ready to be asked; all its randomness comes from `seed`.

    Two objectives, and one constraint that failed individuals violate, so that they rank last.
    `asked` is what was asked for so far, and grows as the search goes on.
    """
    parts = {
        "repair": _Repair(space),
        "eliminate_duplicates": _New(space.decode, asked),
    }
    made = NSGA2(
        pop_size=len(start),
        sampling=np.array(start),
        mating=Mating(
            TournamentSelection(func_comp=binary_tournament),
            _Crossover(space, rates),
            _Mutation(space, rates),
            **parts,
        ),
        survival=_Survival(space.decode),
        eliminate_duplicates=False,  # of the first population, half of which are copies
    )
    problem = Problem(
        n_var=len(space.genes),
        n_obj=2,
        n_ieq_constr=1,
        xl=np.array([gene.lower for gene in space.genes]),
        xu=np.array([gene.upper for gene in space.genes]),
        vtype=int,
    )
    made.setup(problem, termination=NoTermination(), seed=seed)
    return made


class _Crossover(Crossover):
    def __init__(self, space: Space, rates: Rates):
        super().__init__(n_parents=2, n_offsprings=2, prob=rates.crossover)
        self.space, self.rates = space, rates

    def _do(self, problem: Problem, X: np.ndarray, *_: Any, random_state: Any, **__: Any) -> Any:
        """X of shape (2 parents, matings, genes) to children of the same shape."""
        pairs = [
            crossover(self.space, a, b, random_state, self.rates) for a, b in zip(*X, strict=True)
        ]
        return np.array(pairs).swapaxes(0, 1)


class _Mutation(Mutation):
    def __init__(self, space: Space, rates: Rates):
        super().__init__(prob=1.0)
        self.space, self.rates = space, rates

    def _do(self, problem: Problem, X: np.ndarray, *_: Any, random_state: Any, **__: Any) -> Any:
        return np.array([mutate(self.space, x, random_state, self.rates) for x in X])


class _Repair(Repair):
    def __init__(self, space: Space):
        super().__init__()
        self.space = space

    def _do(self, problem: Problem, X: np.ndarray, **_: Any) -> np.ndarray:
        return np.array([self.space.repair(x) for x in X])


class _New(DuplicateElimination):
    """Leaves only networks that were never asked for: evaluating one again tells nothing new."""

    def __init__(self, decode: Decode, asked: Collection[Phenotype]):
        super().__init__()
        self.decode, self.asked = decode, asked

    def _do(self, pop: Population, other: Population | None, is_duplicate: np.ndarray) -> Any:
        known = set(self.asked if other is None else (self.decode(one.X) for one in other))
        for place, one in enumerate(pop):
            phenotype = self.decode(one.X)
            is_duplicate[place] = phenotype in known
            if other is None:
                known.add(phenotype)
        return is_duplicate


class _Survival(RankAndCrowding):
    """NSGA-II's, but copies of a network survive only where there are too few others.

    The first population is half copies of the baseline; on the front together they would hold half
    of the places for good.
    """

    def __init__(self, decode: Decode):
        super().__init__()
        self.decode = decode

    def do(self, problem: Problem, pop: Population, *args: Any, n_survive: int, **options: Any):
        first: dict[Phenotype, int] = {}
        for place, one in enumerate(pop):
            first.setdefault(self.decode(one.X), place)
        if len(first) >= n_survive:
            pop = pop[list(first.values())]
        return super().do(problem, pop, *args, n_survive=n_survive, **options)
