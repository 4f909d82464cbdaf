"""Genotypes: what they stand for, and that whatever varies them stays within the bounds."""

import itertools
from dataclasses import replace

import evolution_toy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.evolution import (
    FLEX_STUDENT,
    RESNET8X4,
    EvolutionError,
    Gene,
    Phenotype,
    Rates,
    crossover,
    initial_population,
    mutate,
)

SPACES = (FLEX_STUDENT, RESNET8X4, evolution_toy.TINY)
spaces = st.sampled_from(SPACES)
seeds = st.integers(0, 2**31 - 1)


@st.composite
def individuals(draw, count=1):
    """A space and genotypes of it."""
    space = draw(spaces)
    genes = st.tuples(*(st.sampled_from(gene.values) for gene in space.genes))
    return space, *(draw(genes) for _ in range(count))


def test_the_baselines():
    assert len(FLEX_STUDENT.genes) == 11 and len(RESNET8X4.genes) == 4
    student = FLEX_STUDENT.decode(FLEX_STUDENT.baseline)
    assert student == Phenotype((32, 64, 128), (128, 64))
    assert str(student) == "conv 32-64-128 · fc 128-64"
    assert str(RESNET8X4.decode(RESNET8X4.baseline)) == "conv 32-64-128-256"


def test_a_space_is_as_large_as_its_networks_are_many():
    tiny = evolution_toy.TINY
    genotypes = itertools.product(*(gene.values for gene in tiny.genes))
    assert tiny.size == len({tiny.decode(genotype) for genotype in genotypes}) == 775
    assert RESNET8X4.size == 31**4


def test_the_largest_and_the_smallest_student():
    largest = FLEX_STUDENT.repair([float("inf")] * 11)
    assert FLEX_STUDENT.decode(largest) == Phenotype((256,) * 5, (256,) * 4)
    smallest = FLEX_STUDENT.repair([-1e300] * 11)
    assert FLEX_STUDENT.decode(smallest) == Phenotype((8,), (16,))
    assert FLEX_STUDENT.repair([2.6, 0, 37, 36.1, *[100] * 7])[:4] == (3, 1, 40, 40)


@given(individuals(count=2))
def test_genes_of_layers_that_are_not_there_change_nothing(drawn):
    space, genotype, other = drawn
    active = {*space.active(genotype), *space.of("convolutions", "hidden")}
    mixed = [genotype[n] if n in active else other[n] for n in range(len(genotype))]
    assert space.decode(mixed) == space.decode(genotype)
    for place in space.active(genotype):
        changed = list(genotype)
        changed[place] = space.genes[place].near(genotype[place], 1)[0]
        assert space.decode(changed) != space.decode(genotype)


@given(spaces, st.data())
def test_repair_gives_the_nearest_genotype_and_leaves_good_ones_alone(space, data):
    numbers = st.one_of(st.floats(allow_nan=False), st.integers(), st.floats(-10, 300))
    wild = data.draw(st.tuples(*(numbers for _ in space.genes)))
    good = space.repair(wild)
    space.check(good)
    assert space.repair(good) == good
    for gene, value, given_value in zip(space.genes, good, wild, strict=True):
        assert all(abs(value - given_value) <= abs(other - given_value) for other in gene.values)


@given(individuals(), seeds, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_mutation_stays_in_bounds_and_gives_another_network(drawn, seed, coarse, fine, reach):
    space, genotype = drawn
    rates = Rates(coarse=coarse, fine=fine, reach=reach)
    mutant = mutate(space, genotype, np.random.default_rng(seed), rates)
    assert mutant == mutate(space, genotype, np.random.default_rng(seed), rates), "seeded"
    assert space.decode(mutant) != space.decode(genotype)
    for place, gene in enumerate(space.genes):
        step = abs(mutant[place] - genotype[place])
        if gene.role in ("convolutions", "hidden"):
            assert step <= 1
        else:
            assert step <= max(gene.step, (reach * (len(gene.values) - 1) + 0.5) * gene.step)
            assert not step or place in space.active(mutant)


def test_fine_and_coarse_mutation_are_what_their_rates_say():
    rng = np.random.default_rng(0)
    counts = FLEX_STUDENT.of("convolutions", "hidden")

    def changed(rates):
        mutants = [mutate(FLEX_STUDENT, FLEX_STUDENT.baseline, rng, rates) for _ in range(2000)]
        return np.array(mutants) != FLEX_STUDENT.baseline

    assert not changed(Rates(coarse=0))[:, counts].any()
    always = changed(Rates(coarse=1, fine=0))
    assert always[:, counts].all() and always.sum() == 2 * 2000
    usual = changed(Rates(fine=0.5))
    assert usual[:, counts].mean() == pytest.approx(0.2, abs=0.03)
    assert usual[:, FLEX_STUDENT.of("channels")[:2]].mean() == pytest.approx(0.5, abs=0.03)


@given(individuals(count=2), seeds, st.floats(0, 1))
def test_children_have_their_parents_genes(drawn, seed, swap):
    space, first, second = drawn
    rates = Rates(swap=swap)
    children = crossover(space, first, second, np.random.default_rng(seed), rates)
    assert children == crossover(space, first, second, np.random.default_rng(seed), rates)
    for before, after in zip(zip(first, second), zip(*children), strict=True):  # noqa: B905
        assert sorted(before) == sorted(after)
    for child in children:
        space.check(child)
    if swap in (0, 1):
        assert children == ((first, second), (second, first))[int(swap)]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize("size", [2, 3, 10, 61])
def test_half_of_the_first_population_is_the_baseline(space, size):
    population = initial_population(space, size, np.random.default_rng(5))
    assert population == initial_population(space, size, np.random.default_rng(5))
    assert population != initial_population(space, size, np.random.default_rng(6))
    copies = size // 2
    assert population[:copies] == [space.baseline] * copies and len(population) == size
    networks = [space.decode(one) for one in population]
    assert len(set(networks)) == 1 + size - copies, "the perturbed ones all differ"


def test_a_sample_is_uniform_over_the_genes():
    rng = np.random.default_rng(0)
    drawn = np.array([FLEX_STUDENT.sample(rng) for _ in range(2000)])
    for place, gene in enumerate(FLEX_STUDENT.genes):
        assert set(drawn[:, place]) == set(gene.values)
        assert drawn[:, place].mean() == pytest.approx(np.mean(gene.values), rel=0.05)


GENE = "gene 3 of FlexStudent, channels_1, must be a whole number from 8 to 256 in steps of 8, not"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({2: 7}, f"{GENE} 7."),
        ({2: 264}, f"{GENE} 264."),
        ({2: 32.0}, f"{GENE} 32.0."),
        ({2: True}, f"{GENE} True."),
        (
            {0: 6},
            "gene 1 of FlexStudent, convolutions, must be a whole number from 1 to 5, not 6.",
        ),
        ({1: 0}, "gene 2 of FlexStudent, hidden, must be a whole number from 1 to 4, not 0."),
        (
            {10: 17},
            "gene 11 of FlexStudent, neurons_4, must be a whole number from 16 to 256 "
            "in steps of 4, not 17.",
        ),
        ({11: 1}, "a genotype of FlexStudent has 11 genes, not 12."),
    ],
)
def test_a_genotype_out_of_bounds_is_one_sentence(change, said):
    genotype = tuple((dict(enumerate(FLEX_STUDENT.baseline)) | change).values())
    rng = np.random.default_rng(0)
    for ask in (
        lambda: FLEX_STUDENT.check(genotype),
        lambda: FLEX_STUDENT.decode(genotype),
        lambda: mutate(FLEX_STUDENT, genotype, rng),
        lambda: crossover(FLEX_STUDENT, FLEX_STUDENT.baseline, genotype, rng),
        lambda: replace(FLEX_STUDENT, baseline=genotype),
    ):
        with pytest.raises(EvolutionError) as caught:
            ask()
        assert str(caught.value) == said


def test_other_things_that_cannot_be():
    for ask, said in (
        (lambda: RESNET8X4.repair([1, 2, 3]), "a genotype of ResNet8x4 has 4 genes, not 3."),
        (
            lambda: RESNET8X4.repair([8, 8, float("nan"), 8]),
            "gene 3 of ResNet8x4, stage_2, must be a number, not nan.",
        ),
        (lambda: Rates(coarse=1.5), "coarse must be a number from 0 to 1, not 1.5."),
        (lambda: Rates(fine=-1), "fine must be a number from 0 to 1, not -1."),
        (lambda: Rates(rounds=0), "rounds must be a whole number of at least 1, not 0."),
        (
            lambda: Gene("g", "channels", 1, 4, 2),
            "gene g needs whole bounds that are whole steps apart, not 1 to 4 in steps of 2.",
        ),
        (
            lambda: replace(FLEX_STUDENT, genes=FLEX_STUDENT.genes[:-1]),
            "FlexStudent has 3 genes for neurons, and hidden must be from 0 to that.",
        ),
    ):
        with pytest.raises(EvolutionError) as caught:
            ask()
        assert str(caught.value) == said
