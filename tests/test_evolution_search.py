"""The search: it reaches fronts that are known, trains no network twice, and keeps to its rules."""

import math

import numpy as np
import pandas as pd
import pytest
from evolution_toy import TINY, Evaluator, everything, measured
from pymoo.problems.multi import ZDT1

from qbench.evolution import (
    OBJECTIVES,
    EvolutionError,
    Gene,
    Space,
    archive,
    attained,
    dominates,
    front,
    hypervolume,
    nsga2,
    random_search,
    summary,
    survivors,
)

QUIET = {"noise": 0, "error_step": 0, "progress": False}


def evolve(evaluate=None, space=TINY, **options):
    asked = {"population": 10, "generations": 6, "seed": 0, **QUIET} | options
    return nsga2(space, evaluate or Evaluator(), **asked)


# Known fronts


@pytest.mark.parametrize("seed", [0, 1])
def test_zdt1_is_approached(seed):
    """The problem of pymoo, on a grid of 101 levels a variable: over 90 % of its hypervolume."""
    problem = ZDT1(n_var=5)
    levels = Space("zdt1", tuple(Gene(f"x{n}", "channels", 0, 100) for n in range(5)), (50,) * 5)

    def evaluate(one):
        first, second = problem.evaluate(np.array(one.channels) / 100)
        return {"latency_ms": 1 + float(first), "error": float(second)}

    def volume(table):
        return hypervolume(table[list(OBJECTIVES)], (2.1, 1.1))

    table = evolve(Evaluator(evaluate), levels, population=20, generations=60, seed=seed)
    chance = random_search(
        levels, Evaluator(evaluate), evaluations=len(table), seed=seed, progress=False
    )
    true = hypervolume(problem.pareto_front() + [1, 0], (2.1, 1.1))
    assert volume(survivors(table, 60)) > 0.9 * true
    assert volume(table) > 2 * volume(chance)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_point_of_a_small_front_is_found(seed):
    """8 of 4,096 networks are the front; 300 evaluations find them all."""
    line = Space("line", tuple(Gene(f"g{n}", "channels", 1, 8) for n in range(4)), (4,) * 4)

    def evaluate(one):
        first, *others = one.channels
        far = 3.0 * (sum(others) - 3)
        return {"latency_ms": first + far, "error": 8 - first + far}

    table = evolve(Evaluator(evaluate), line, population=12, generations=25, seed=seed)
    assert table.trained.sum() <= 300
    last = survivors(table, 25)
    on_front = last[front(last[list(OBJECTIVES)])]
    assert set(on_front.phenotype) == {f"conv {first}-1-1-1" for first in range(1, 9)}


def test_it_finds_more_of_the_true_front_than_chance_does():
    """Enumerated: all networks of a space with numbers of layers among its genes."""
    truth = everything(TINY)
    best = set(truth.index[front(truth[list(OBJECTIVES)])])
    table = evolve(population=20, generations=15)
    chance = random_search(
        TINY, Evaluator(), evaluations=int(table.trained.sum()), seed=0, progress=False
    )
    assert len(best & set(table.phenotype)) > 1.5 * len(best & set(chance.phenotype))


# What is asked for


@pytest.mark.parametrize("population", [2, 3, 7, 10])
def test_the_archive_has_every_individual_and_trains_each_network_once(population):
    evaluate = Evaluator()
    table = evolve(evaluate, population=population)
    assert list(table.generation) == [g for g in range(1, 7) for _ in range(population)]
    assert list(table["index"]) == [*range(population)] * 6
    copies = population // 2
    origins = ["baseline"] * copies + ["perturbed"] * (population - copies)
    assert list(table.origin) == origins + ["offspring"] * (5 * population)
    assert len(evaluate.kept) == len(set(evaluate.kept)) == table.trained.sum()
    assert list(table.trained) == list(~table.phenotype.duplicated())
    assert not table.trained[1:copies].any() and table.trained[copies:].all()
    for _, row in table.iterrows():
        network = TINY.decode(row[list(TINY.names)])
        assert str(network) == row.phenotype
        assert {name: row[name] for name in measured(network)} == measured(network)


def test_the_same_seed_gives_the_same_search_whatever_else_draws_numbers():
    first = evolve()
    np.random.seed(1)
    pd.testing.assert_frame_equal(evolve(Evaluator(stop=lambda _: np.random.random())), first)
    assert not evolve(seed=1).equals(first)


def test_survivors_are_what_selection_left():
    table = evolve(population=7)
    for generation in range(1, 7):
        population = survivors(table, generation)
        assert len(population) == 7
        if generation > 1:
            parents = survivors(table, generation - 1)
            born = table[table.generation == generation]
            assert set(population.index) <= set(parents.index) | set(born.index)
            assert population.phenotype.is_unique, "copies of the baseline make room"
            both = pd.concat([parents, born])
            dropped = both[~both.index.isin(population.index)]
            kept, left = (one[list(OBJECTIVES)].to_numpy() for one in (population, dropped))
            assert not dominates(left[:, None], kept[None]).any(), "the best are kept"
    best = table.error.idxmin()
    assert table.survived_until[best] == 6, "nothing dominates the most accurate"
    with pytest.raises(EvolutionError, match="generation must be a whole number from 1 to 6"):
        survivors(table, 7)


def test_copies_of_a_baseline_that_nothing_beats_survive_once():
    def worse_than_baseline(one):
        best = one == TINY.decode(TINY.baseline)
        return {"error": 1, "latency_ms": 1} if best else {"error": 50, "latency_ms": 2}

    table = evolve(Evaluator(worse_than_baseline), generations=3)
    copies = table[table.origin == "baseline"]
    assert sorted(copies.survived_until) == [1, 1, 1, 1, 3]


def test_noise_keeps_latency_from_ranking():
    """With noise that covers all latencies, only the error counts: the most accurate survive."""
    table = evolve(noise=1e6, population=8, generations=5)
    kept = survivors(table, 5)
    assert sorted(kept.error) == sorted(table.drop_duplicates("phenotype").error)[:8]
    assert table.latency_ms.nunique() > 8, "the archive has what was measured"


def test_networks_that_failed_are_recorded_and_rank_last():
    def failing(one):
        return {"error": math.nan, "why": "diverged"} if len(one.channels) > 2 else measured(one)

    table = evolve(Evaluator(failing))
    failed = table.error.isna()
    assert failed.any() and set(table.why[failed]) == {"diverged"}
    assert table.latency_ms[failed].isna().all() and not survivors(table, 6).error.isna().any()
    rows = summary(table, reference=(3, 60))
    assert rows.failed.iloc[-1] == 0 and rows["size"].eq(10).all()


def test_a_search_where_all_fail_goes_on():
    table = evolve(Evaluator(lambda one: {"error": math.nan}), generations=3)
    assert len(table) == 30 and table.error.isna().all()
    rows = summary(table, reference=(1, 100))
    assert list(rows.failed) == [10] * 3 and list(rows.hypervolume) == [0] * 3


def test_a_space_that_is_used_up_ends_the_search(capsys):
    small = Space("small", (Gene("g", "channels", 1, 4),), (2,))
    table = evolve(space=small, population=2, generations=20)
    assert set(table.phenotype) == {f"conv {n}" for n in range(1, 5)}
    assert "no new network within reach: stopped after generation" in capsys.readouterr().err


# Random search


@pytest.mark.parametrize("draw", ["uniform", "perturbed"])
def test_random_search_evaluates_as_many_networks_as_asked(draw):
    evaluate = Evaluator()
    table = random_search(
        TINY, evaluate, evaluations=23, seed=3, draw=draw, batch=5, progress=False
    )
    assert len(table) == len(set(evaluate.kept)) == 23 and table.trained.all()
    assert list(table.generation) == [*[1] * 5, *[2] * 5, *[3] * 5, *[4] * 5, *[5] * 3]
    assert set(table.origin) == {"random"} and table.phenotype.is_unique
    assert len(survivors(table, 2)) == 10, "nothing is discarded"


def test_random_search_can_draw_the_whole_space():
    table = random_search(TINY, Evaluator(), evaluations=775, seed=0, batch=775, progress=False)
    assert set(table.phenotype) == set(everything(TINY).index)


# Summaries


def test_copies_of_one_network_count_once_on_the_front():
    table = evolve()
    rows = summary(table, reference=(3, 60))
    first = survivors(table, 1)
    assert first.phenotype.duplicated().any(), "half are copies of the baseline"
    assert rows.front.iloc[0] <= first.phenotype.nunique() < rows["size"].iloc[0]
    alone = table[table.generation == 1].assign(error=1.0, latency_ms=1.0, survived_until=1)
    assert summary(alone, reference=(3, 60)).front.iloc[0] == alone.phenotype.nunique()


def test_summary_and_attained_are_arithmetic_on_the_archive():
    table = evolve()
    rows = summary(table, reference=(3, 60), noise=0.1, error_step=1)
    assert rows.attrs["reference"] == (3.0, 60.0) and list(rows.generation) == [*range(1, 7)]
    last = survivors(table, 6)
    assert rows.iloc[-1].to_dict() == {
        "generation": 6,
        "trained": table.trained.sum(),
        "size": 10,
        "failed": 0,
        "front": rows.front.iloc[-1],
        "hypervolume": hypervolume(last[list(OBJECTIVES)], (3, 60)),
        "best_error": last.error.min(),
        "median_latency_ms": last.latency_ms.median(),
    }
    all_of_it = attained(table, reference=(3, 60))
    assert list(all_of_it.trained) == [*range(1, len(all_of_it) + 1)]
    assert all_of_it.hypervolume.is_monotonic_increasing
    assert all_of_it.hypervolume.iloc[-1] == hypervolume(table[list(OBJECTIVES)], (3, 60))


# Budget


def test_the_budget_ends_a_search_before_a_generation(tmp_path, monkeypatch, capsys):
    """A minute a network; 10 minutes are over in the second generation, which is finished."""
    now = [0.0]
    monkeypatch.setattr(archive, "clock", lambda: now[0])

    def minute(_):
        now[0] += 60

    full, file = evolve(), tmp_path / "a.jsonl"
    asked = {"budget_minutes": 10, "archive": file}
    table = evolve(Evaluator(stop=minute), **asked)
    said = capsys.readouterr().err
    assert "the budget of 10 minutes is used up: stopped before generation 3 of 6" in said
    assert list(table.generation.unique()) == [1, 2]
    assert table.drop(columns="survived_until").equals(
        full[full.generation <= 2].drop(columns="survived_until")
    )
    again = Evaluator(stop=minute)
    pd.testing.assert_frame_equal(evolve(again, **asked), table)
    assert not again.kept, "what was used up stays used up"
    pd.testing.assert_frame_equal(evolve(again, archive=file, budget_minutes=1e3), full)


# Bits by layer, a given start, another cost, limits

BITS = Space(
    "bits",
    (
        Gene("w1", "weight_bits", 1, 8),
        Gene("w2", "weight_bits", 1, 8),
        Gene("a1", "act_bits", 1, 4),
    ),
    (8, 8, 4),
)


def test_bits_of_layers_are_searched_from_a_given_start_within_limits():
    """Most bits are best and dearest; more than 14 in all are beyond what is allowed."""

    def evaluate(one):
        total = sum(one.weight_bits + one.act_bits)
        within = total <= 14
        return {
            "error": 20.0 - total if within else math.nan,
            "luts": 10.0 * total,
            "beyond": max(0.0, total / 14 - 1),
        }

    start = [(8, 8, 4), (8, 8, 1), (8, 7, 1), (1, 1, 1)]
    options = {"population": 4, "generations": 30, "start": start, "cost": "luts"}
    table = evolve(Evaluator(evaluate), BITS, **options)
    assert list(table.phenotype[:2]) == ["W 8-8 · A 4", "W 8-8 · A 1"]
    assert list(table.origin[:5]) == ["start"] * 4 + ["offspring"]
    assert BITS.size == 8 * 8 * 4 and BITS.decode((8, 7, 1)).weight_bits == (8, 7)
    last = survivors(table, 30)
    assert last.beyond.max() == 0 and last.error.min() == 6.0, "the best that is allowed"
    kept = survivors(table, 1).beyond.sort_values()
    assert len(kept) == 4 and kept.iloc[0] == 0, "what is beyond stays where nothing else is"
    told = summary(table, reference=(300.0, 100.0), cost="luts")
    assert told.failed.iloc[0] == 3 and told.median_luts.iloc[-1] <= 140


def test_of_networks_beyond_the_limits_the_nearest_survive():
    def evaluate(one):
        total = sum(one.weight_bits + one.act_bits)
        return {"error": math.nan, "luts": float(total), "beyond": total / 10}

    table = evolve(Evaluator(evaluate), BITS, population=4, generations=8, cost="luts")
    kept = survivors(table, 8).drop_duplicates("phenotype")
    assert sorted(kept.beyond) == sorted(table.drop_duplicates("phenotype").beyond)[: len(kept)]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ([(8, 8, 4)], "start must hold as many genotypes as the population, 4, not 1."),
        ([(8, 8, 4)] * 3 + [(8, 9, 4)], "gene 2 of bits, w2, must be a whole number from 1 to 8"),
    ],
)
def test_a_start_that_cannot_be(start, said):
    with pytest.raises(EvolutionError, match=f"^{said}"):
        evolve(Evaluator(), BITS, population=4, start=start)
