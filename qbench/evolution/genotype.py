"""Networks as lists of integers, and how such lists vary (Stewart et al. 2021, section 3.3.1).

A genotype is a tuple of whole numbers, one a gene of its `Space`; the `Phenotype` is the network
that it stands for. FlexStudent has 11 genes: the number of convolutions, the number of hidden fully
connected layers, the output channels of up to five convolutions and the neurons of up to four fully
connected layers. ResNet8x4 keeps its layers and has a gene for each group's channels. A space may
also keep its layers and have genes for their precision.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import EvolutionError, check_whole, is_number, is_whole

Genotype = tuple[int, ...]
LAYERS = {"convolutions": "channels", "hidden": "neurons"}  # what counts layers of which sizes
BITS = ("weight_bits", "act_bits")  # of one layer
ROLES = (*LAYERS, *LAYERS.values(), *BITS)


@dataclass(frozen=True)
class Phenotype:
    """A network to train: output channels of its convolutions, neurons of its hidden layers.

    The classifier behind them is not counted. Or, of a network whose layers stay, the bits of each
    layer's weights and activations. Equal phenotypes are the same network.
    """

    channels: tuple[int, ...] = ()
    neurons: tuple[int, ...] = ()
    weight_bits: tuple[int, ...] = ()
    act_bits: tuple[int, ...] = ()

    def __str__(self) -> str:
        parts = (("conv", self.channels), ("fc", self.neurons))
        parts += (("W", self.weight_bits), ("A", self.act_bits))
        return " · ".join(f"{name} {'-'.join(map(str, sizes))}" for name, sizes in parts if sizes)


@dataclass(frozen=True)
class Gene:
    """A whole number from `lower` to `upper`, both included, in steps.

    `role` is `convolutions` or `hidden` for a number of layers, `channels` or `neurons` for the
    size of one layer, `weight_bits` or `act_bits` for its precision.
    """

    name: str
    role: str
    lower: int
    upper: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise EvolutionError(
                f"gene {self.name} must be one of {', '.join(ROLES)}, not {self.role!r}."
            )
        whole = all(map(is_whole, (self.lower, self.upper, self.step)))
        if not whole or self.step < 1 or (self.upper - self.lower) % self.step or not self.values:
            raise EvolutionError(
                f"gene {self.name} needs whole bounds that are whole steps apart, not "
                f"{self.lower!r} to {self.upper!r} in steps of {self.step!r}."
            )

    @property
    def values(self) -> range:
        return range(self.lower, self.upper + 1, self.step)

    @property
    def allowed(self) -> str:
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"a whole number from {self.lower} to {self.upper}{steps}"

    def repair(self, value: float) -> int:
        """The allowed value nearest to `value`."""
        inside = min(max(value, self.lower), self.upper)
        return self.lower + self.step * round((inside - self.lower) / self.step)

    def near(self, value: int, reach: float) -> list[int]:
        """Every other value at most `reach`, a share of the gene's range, and one step away."""
        steps = max(1, round(reach * (len(self.values) - 1)))
        low, high = value - steps * self.step, value + steps * self.step
        return [other for other in self.values if low <= other <= high and other != value]


@dataclass(frozen=True)
class Space:
    """All networks that a search may try, and the one that it starts from.

    Genes of one role are in the order of the layers. Where a gene counts layers, the sizes of
    layers beyond that count are inactive: they are carried along, inherited and do nothing.
    """

    name: str
    genes: tuple[Gene, ...]
    baseline: Genotype

    def __post_init__(self) -> None:
        for role, sizes in LAYERS.items():
            counts, most = self.of(role), len(self.of(sizes))
            if len(counts) > 1:
                raise EvolutionError(f"{self.name} must have at most one gene for {role}.")
            if (
                counts
                and not 0 <= self.genes[counts[0]].lower <= self.genes[counts[0]].upper <= most
            ):
                raise EvolutionError(
                    f"{self.name} has {most} genes for {sizes}, and {role} must be from 0 to that."
                )
        self.check(self.baseline)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(gene.name for gene in self.genes)

    @property
    def size(self) -> int:
        """How many different networks there are."""
        bits = (len(self.genes[place].values) for place in self.of(*BITS))
        return math.prod(self._choices(*pair) for pair in LAYERS.items()) * math.prod(bits)

    def of(self, *roles: str) -> list[int]:
        """The places of the genes with these roles."""
        return [place for place, gene in enumerate(self.genes) if gene.role in roles]

    def active(self, genotype: Sequence[int]) -> list[int]:
        """The places of the genes for layers that the network has."""
        sizes = [
            place
            for role, sizes in LAYERS.items()
            for place in self.of(sizes)[: self._layers(role, genotype)]
        ]
        return sizes + self.of(*BITS)

    def decode(self, genotype: Iterable[int]) -> Phenotype:
        """The network that a genotype stands for. Raises `EvolutionError` as `check` does."""
        genes = tuple(genotype)
        self.check(genes)
        return Phenotype(
            *(
                tuple(int(genes[place]) for place in self.of(sizes)[: self._layers(role, genes)])
                for role, sizes in LAYERS.items()
            ),
            *(tuple(int(genes[place]) for place in self.of(role)) for role in BITS),
        )

    def check(self, genotype: Sequence[int]) -> None:
        """Raise `EvolutionError` for a genotype out of bounds: which gene, and what is allowed."""
        self._check_length(genotype)
        for number, (gene, value) in enumerate(zip(self.genes, genotype, strict=True), start=1):
            if not is_whole(value) or value not in gene.values:
                raise EvolutionError(
                    f"gene {number} of {self.name}, {gene.name}, must be {gene.allowed}, "
                    f"not {value!r}."
                )

    def repair(self, genotype: Iterable[float]) -> Genotype:
        """The nearest genotype within the bounds and on the steps, from any numbers."""
        given = tuple(genotype)
        self._check_length(given)
        for number, (gene, value) in enumerate(zip(self.genes, given, strict=True), start=1):
            if not is_number(value) or math.isnan(value):
                raise EvolutionError(
                    f"gene {number} of {self.name}, {gene.name}, must be a number, not {value!r}."
                )
        return tuple(gene.repair(value) for gene, value in zip(self.genes, given, strict=True))

    def sample(self, rng: np.random.Generator) -> Genotype:
        """A genotype whose genes are drawn uniformly and independently."""
        return tuple(int(gene.values[rng.integers(len(gene.values))]) for gene in self.genes)

    def _check_length(self, genotype: Sequence[float]) -> None:
        if len(genotype) != len(self.genes):
            raise EvolutionError(
                f"a genotype of {self.name} has {len(self.genes)} genes, not {len(genotype)}."
            )

    def _layers(self, role: str, genotype: Sequence[int]) -> int | None:
        """How many layers the network has of those that `role` counts; None for all."""
        return next((int(genotype[place]) for place in self.of(role)), None)

    def _choices(self, role: str, sizes: str) -> int:
        each = [len(self.genes[place].values) for place in self.of(sizes)]
        counts = next((self.genes[place].values for place in self.of(role)), [len(each)])
        return sum(math.prod(each[:count]) for count in counts)


def _sizes(role: str, names: Iterable[str], lower: int, step: int) -> tuple[Gene, ...]:
    return tuple(Gene(name, role, lower, 256, step) for name in names)


FLEX_STUDENT = Space(
    "FlexStudent",
    (
        Gene("convolutions", "convolutions", 1, 5),
        Gene("hidden", "hidden", 1, 4),
        *_sizes("channels", (f"channels_{n}" for n in range(1, 6)), 8, 8),
        *_sizes("neurons", (f"neurons_{n}" for n in range(1, 5)), 16, 4),
    ),
    baseline=(3, 2, 32, 64, 128, 128, 128, 128, 64, 64, 64),
)
"""FlexStudent's 11 genes, in the paper's order.

The paper gives the genes; the figure that decoded its baseline shows nothing in the publication, so
bounds, steps and the baseline's sizes are ours. The classifier is not a gene.
"""

RESNET8X4 = Space(
    "ResNet8x4",
    _sizes("channels", ("stem", "stage_1", "stage_2", "stage_3"), 16, 8),
    baseline=(32, 64, 128, 256),
)
"""ResNet8x4: its layers stay, the channels of stem and stages vary. The bounds are ours; with fewer
than 16 channels PyTorch cannot be relied on (see `qbench.models.resnet`)."""


@dataclass(frozen=True)
class Rates:
    """How genotypes vary. The paper names what varies and gives no rates: these are ours.

    `coarse`: probability that a number of layers goes up or down by one, for each such gene;
    `fine`: probability that the size of a layer the network has changes (None: one over the number
    of such sizes, so one of them on average); `reach`: how far, as a share of the gene's range;
    `crossover`: probability that two parents exchange genes at all, `swap` that they exchange a
    given gene; `rounds`: how often an individual of the first population's perturbed half mutates.
    """

    coarse: float = 0.2
    fine: float | None = None
    reach: float = 0.25
    crossover: float = 0.9
    swap: float = 0.5
    rounds: int = 3

    def __post_init__(self) -> None:
        for name in ("coarse", "fine", "reach", "crossover", "swap"):
            value = getattr(self, name)
            if name == "fine" and value is None:
                continue
            if not is_number(value) or not 0 <= value <= 1:
                raise EvolutionError(f"{name} must be a number from 0 to 1, not {value!r}.")
        check_whole("rounds", self.rounds, 1)


USUAL = Rates()


def mutate(
    space: Space, genotype: Sequence[int], rng: np.random.Generator, rates: Rates = USUAL
) -> Genotype:
    """Change one or more genes at random, so that the network is another one.

    Coarse: a number of layers by one. Fine: the size of a layer, any other value within `reach`
    equally likely. Sizes of layers that the network lacks are left alone. Where chance changes
    nothing, one size is changed. Raises `EvolutionError` for a genotype out of bounds.
    """
    space.check(genotype)
    genes = [int(value) for value in genotype]

    def change(place: int, reach: float) -> None:
        near = space.genes[place].near(genes[place], reach)
        genes[place] = near[rng.integers(len(near))]

    free = {place for place, gene in enumerate(space.genes) if len(gene.values) > 1}
    counts = [place for place in space.of(*LAYERS) if place in free]
    for place in counts:
        if rng.random() < rates.coarse:
            change(place, 0)
    sizes = [place for place in space.active(genes) if place in free]
    for place in sizes:
        if rng.random() < (1 / len(sizes) if rates.fine is None else rates.fine):
            change(place, rates.reach)
    if genes == list(genotype) and (sizes or counts):
        among = sizes or counts
        change(among[rng.integers(len(among))], rates.reach if sizes else 0)
    return tuple(genes)


def crossover(
    space: Space,
    first: Sequence[int],
    second: Sequence[int],
    rng: np.random.Generator,
    rates: Rates = USUAL,
) -> tuple[Genotype, Genotype]:
    """Two children of two parents, who exchange each gene with probability `rates.swap`.

    Inactive genes are exchanged too: what a parent carries may serve a deeper child. Raises
    `EvolutionError` for a genotype out of bounds.
    """
    space.check(first)
    space.check(second)
    swapped = rng.random(len(space.genes)) < rates.swap
    pairs = [
        (int(b), int(a)) if swap else (int(a), int(b))
        for a, b, swap in zip(first, second, swapped, strict=True)
    ]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)


def perturb(space: Space, rng: np.random.Generator, rates: Rates = USUAL) -> Genotype:
    """The baseline, mutated `rates.rounds` times."""
    genotype = space.baseline
    for _ in range(rates.rounds):
        genotype = mutate(space, genotype, rng, rates)
    return genotype


def initial_population(
    space: Space, size: int, rng: np.random.Generator, rates: Rates = USUAL
) -> list[Genotype]:
    """`size` copies of the baseline, the second half of them perturbed (section 3.4).

    Of an odd size, the perturbed half is the larger. Perturbed individuals differ from the baseline
    and from one another as long as some hundred draws find one that does. The copies are the
    paper's rule: they are one network, trained once, so they cost nothing, and they give NSGA-II
    nothing either, as it learns one point from them all. In the first mating they are the likelier
    parents.
    """
    check_whole("population", size, 2)
    population = [space.baseline] * (size // 2)
    there = {space.decode(space.baseline)}
    while len(population) < size:
        for _ in range(100):
            genotype = perturb(space, rng, rates)
            if space.decode(genotype) not in there:
                break
        population.append(genotype)
        there.add(space.decode(genotype))
    return population
