"""Chapter 17: costs of mixed bits, the profile's path, a search killed and resumed, the answer."""

import numpy as np
import pandas as pd
import pytest
import sweep_toy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qbench import hardware, parameters, store
from qbench.hardware import HardwareError
from qbench.parameters import ParameterError
from qbench.studies import mixed_precision as study
from qbench.studies import mixed_precision_runs as runs
from qbench.studies import mixed_precision_tables as tables
from qbench.studies.folding import Setup
from qbench.studies.seeds import interval
from qbench.sweep import fitting
from qbench.sweep.network import Network

CHAPTER = "17_mixed_precision"
PRICES = study.Prices(Setup(), 373_000, "lut")
BITS = st.tuples(*[st.integers(1, 8)] * len(study.LAYERS))
WIDTH = st.integers(1, 8)


def asked(**changes):
    return parameters.check(CHAPTER, **changes)


# Cost


@given(WIDTH, WIDTH)
@settings(max_examples=15, deadline=None)
def test_equal_bits_everywhere_cost_what_homogeneous_precision_costs(weight_bits, act_bits):
    bits = study.homogeneous(weight_bits, act_bits)
    layers = hardware.mlp(weight_bits=weight_bits, act_bits=act_bits)
    assert PRICES.layers(bits) == layers and study.is_homogeneous(bits)
    assert study.named(bits) == f"W{weight_bits}A{act_bits}"
    price = PRICES(bits)
    if price.beyond:
        with pytest.raises(HardwareError, match="fits the Z7020"):
            PRICES.setup.cheapest(study.named(bits), 373_000, "Z7020")
    else:
        chapter_5 = PRICES.setup.cheapest(study.named(bits), 373_000, "Z7020").cost
        assert (price.lut, price.bram18) == (chapter_5.lut, chapter_5.bram18)
        assert price.cost == price.lut and price.share <= 80


@given(BITS, st.sampled_from(range(len(study.LAYERS))))
@settings(max_examples=25, deadline=None)
def test_a_bit_more_never_costs_less_and_never_makes_a_network_fit(bits, place):
    more = (*bits[:place], min(8, bits[place] + 1), *bits[place + 1 :])
    before, after = PRICES(bits), PRICES(more)
    assert (after.beyond > 0) >= (before.beyond > 0)
    if not after.beyond:
        assert after.cost >= before.cost


def test_bits_go_to_the_layers_that_they_are_named_for():
    layers = PRICES.layers((1, 2, 3, 4, 5, 6, 7))
    assert [one.weight_bits for one in layers] == [1, 2, 3, 4]
    assert [one.act_bits for one in layers] == [8, 5, 6, 7], "pixels have 8"
    assert [one.out_bits for one in layers] == [5, 6, 7, None]
    assert tuple(gene.name for gene in study.space_of(1, 2, study.LAYERS).genes) == study.LAYERS


def test_other_costs_are_those_of_the_same_device():
    bits = (1, 2, 2, 2, 2, 1, 1)
    block_ram = study.Prices(Setup(), 373_000, "bram18")(bits)
    share = study.Prices(Setup(), 373_000, "share")(bits)
    assert block_ram.cost == block_ram.bram18 <= PRICES(bits).bram18
    assert share.cost == share.share <= min(block_ram.share, PRICES(bits).share)


# Profile


def losing(**lost):
    """A profile from 3 bits in which a layer loses what is named at 1 bit, half of it at 2."""
    return pd.DataFrame(
        {"layer": layer, "bits": bits, "lost": lost.get(layer, 1.0) * share}
        for layer in study.LAYERS
        for bits, share in ((1, 1.0), (2, 0.5))
    )


def test_the_path_lowers_one_layer_at_a_time_and_what_loses_nothing_first():
    path = study.path(losing(linear1=500.0, act2=-0.1), asked(), PRICES)
    assert path[0] == (3,) * 7 and path[-1] == (1,) * 7 and len(path) == 15
    for one, other in zip(path, path[1:], strict=False):
        assert sorted(np.subtract(one, other)) == [0] * 6 + [1]
    at = study.LAYERS.index("act2")
    assert [bits[at] for bits in path[:3]] == [3, 2, 1], "it loses nothing"
    assert path[-3][0] == 3, "what loses most per LUT goes last"


def test_the_first_generation_has_half_of_the_path_and_no_network_twice():
    p, profile = asked(population=10), losing()
    path = study.path(profile, p, PRICES)
    start = [tuple(bits) for bits in study.first_generation(p, profile, PRICES)]
    assert len(set(start)) == len(start) == 10
    assert start[0] == path[0] and path[-1] in start and len(set(start) & set(path)) >= 5
    assert start == [tuple(one) for one in study.first_generation(p, profile, PRICES)]
    chance = asked(population=10, start="random")
    assert study.first_generation(chance, profile, PRICES) != [list(one) for one in start]


def test_layers_that_are_not_searched_keep_their_bits():
    p = asked(searched=["linear1", "act3"], population=4)
    profile = losing()
    profile = profile[profile.layer.isin(p.searched)]
    every = [*study.path(profile, p, PRICES), *study.first_generation(p, profile, PRICES)]
    assert {tuple(bits[1:6]) for bits in every} == {(3,) * 5}


# The search

SEARCH = {
    "recipe": {"dataset": "mnist5k", "hidden": 16, "batch_size": 50},
    "setup": {"hidden": 16, "share": 0.2},
    "start": [[2] * 7, [1, 2, 1, 2, 1, 1, 2], [1, 1, 1, 1, 2, 2, 2], [8, 8, 8, 8, 8, 8, 8]],
    "frame_rate": 300_000,
    "searched": list(study.LAYERS),
    "seeds": [100],
    "epochs": 2,
    "population": 4,
    "generations": 3,
}


class Stop(BaseException):
    """As a killed process: nothing catches it."""


@pytest.fixture
def steps(monkeypatch):
    """The steps that are really trained, by how many networks at once; `steps.stop` ends them."""
    real = Network.train_step
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", 0)

    class Steps(list):
        stop = None

    done = Steps()

    def train_step(self, *args):
        if len(done) == done.stop:
            raise Stop
        done.append(len(self.members))
        return real(self, *args)

    monkeypatch.setattr(Network, "train_step", train_step)
    return done


def test_a_killed_search_goes_on_to_the_same_numbers(tmp_path, monkeypatch, steps):
    sweep_toy.home(tmp_path / "whole", monkeypatch)
    whole = store.run(runs.search, **SEARCH)
    every, epoch = list(steps), 6
    assert len(every) == 3 * 2 * epoch, "one fused training a generation"
    sweep_toy.home(tmp_path / "killed", monkeypatch)
    steps.clear()
    steps.stop = 3 * epoch + 2  # in the second epoch of the second generation
    with pytest.raises(Stop):
        store.run(runs.search, **SEARCH)
    steps.clear()
    steps.stop = None
    again = store.run(runs.search, **SEARCH)
    assert list(steps) == every[3 * epoch :], "what was trained is not trained again"
    pd.testing.assert_frame_equal(again, whole, check_exact=True)


def test_what_does_not_fit_is_not_trained_and_does_not_survive(tmp_path, monkeypatch, steps):
    sweep_toy.home(tmp_path, monkeypatch)
    archive = store.run(runs.search, **SEARCH)
    assert list(archive.origin[:4]) == ["start"] * 4
    large = archive.iloc[3]
    assert large.beyond > 0 and np.isnan(large.error) and large.lut > 0.2 * 53_200
    assert steps[0] == 3
    assert not (archive[archive.beyond > 0].survived_until > 1).any()
    fitting_ones = archive[archive.beyond == 0]
    assert (fitting_ones.lut <= 0.2 * 53_200).all() and fitting_ones.error.notna().all()
    one = fitting_ones.iloc[0]
    alone = study.Recipe(**SEARCH["recipe"]).errors([(2,) * 7], seeds=[100], epochs=2)
    assert (one.error, one.test_error) == (alone.valid_error[0], alone.test_error[0])


# The comparison


def finals(mixed, plain=((4.0, 4.1, 3.9), (3.0, 3.1, 2.9)), seeds=3) -> pd.DataFrame:
    """Two homogeneous networks of costs 100 and 300, and mixed ones of 200, 201, …"""
    networks = [((1,) * 7, 100, plain[0]), ((2,) * 7, 300, plain[1])]
    for number, errors in enumerate(mixed):
        networks.append(((1, 2, 2, 2, 1 + number, 1, 1), 200 + number, errors))
    return pd.DataFrame(
        {
            "network": study.named(bits),
            "bits": bits,
            "seed": seed,
            "valid_error": errors[seed],
            "test_error": errors[seed],
            "kind": tables.KINDS[study.is_homogeneous(bits)],
            "cost": float(cost),
        }
        for bits, cost, errors in networks
        for seed in range(seeds)
    )


def test_a_mixed_network_is_compared_with_the_best_that_costs_no_more():
    frame = finals([(3.0, 3.2, 3.0)])
    found = tables.versus(frame).iloc[0]
    assert (found.rival, found.rival_cost) == ("W1A1", 100.0), "W2A2 is better and costs more"
    differences = pd.Series([-1.0, -0.9, -0.9])
    assert (found.difference, found.half) == pytest.approx(interval(differences))
    assert found.verdict == tables.BETTER
    assert (found.as_good, found.as_good_cost) == ("W2A2", 300.0)
    said = tables.conclusion(tables.versus(frame), asked(seeds=[0, 1, 2]))
    assert said.startswith("**Mixed precision beats homogeneous precision somewhere on the front")
    assert f"-0.93 ± {found.half:.2f} points" in said and "W1A1 at 100 LUTs" in said


def test_a_difference_within_what_seeds_do_is_no_win():
    frame = finals([(3.0, 4.5, 3.9), (3.1, 4.4, 4.0)])
    found = tables.versus(frame)
    assert (found.difference < 0).all() and set(found.verdict) == {tables.OPEN}
    said = tables.conclusion(found, asked(seeds=[0, 1, 2]))
    assert said.startswith("**Mixed precision does not beat homogeneous precision anywhere")
    worse = tables.versus(finals([(5.0, 5.1, 4.9)]))
    assert list(worse.verdict) == [tables.WORSE]
    best = tables.versus(finals([(1.0, 1.1, 0.9)]))
    assert list(best.as_good) == [""]
    assert "homogeneous network as good: none" in tables.conclusion(best, asked(seeds=[0, 1, 2]))


def test_noise_is_pooled_and_the_level_divided_and_one_seed_settles_nothing():
    one, three = (tables.versus(finals([(3.0, 3.4, 2.9)] * n)) for n in (1, 3))
    assert len(three) == 3 and three.difference[0] == one.difference[0]
    level = {n: stats.t.ppf(1 - 0.05 / 2 / n, 2 * n) for n in (1, 3)}
    assert three.half[0] / one.half[0] == pytest.approx(level[3] / level[1])
    alone = tables.versus(finals([(1.0,)], plain=((4.0,), (3.0,)), seeds=1))
    assert list(alone.verdict) == [tables.OPEN] and np.isnan(alone.half[0])
    assert "one seed cannot tell" in tables.conclusion(alone, asked(seeds=[0]))


def test_finalists_are_mixed_and_spread_along_the_front():
    bits = [(1,) * 7, *((1, 1, 1, 1, 1, 1, 2 + n) for n in range(6)), (1, 1, 1, 2, 1, 1, 1)]
    archive = pd.DataFrame([dict(zip(study.LAYERS, one, strict=True)) for one in bits])
    archive["phenotype"] = [study.named(one) for one in bits]
    archive["cost"] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    archive["error"] = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, np.nan, 9.5]
    assert tables.finalists(archive, 3) == [bits[1], bits[3], bits[5]]
    assert tables.finalists(archive, 99) == bits[1:6]


# Refusals


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"most_bits": 9},
            "most_bits must be a whole number above least_bits and at most 8, not 9.",
        ),
        (
            {"least_bits": 0},
            "least_bits must be a whole number of at least 1 and at most 8, not 0.",
        ),
        ({"least_bits": 3, "most_bits": 3}, "most_bits must be .*, not 3: least_bits is 3."),
        ({"device": "Z9"}, "device must be one of Z7020, .*, not 'Z9'"),
        ({"population": 1}, "population must be a whole number from 2 to 1000, .*, not 1."),
        ({"searched": "act1", "population": 4}, "population must be .*, not 4: there are 3."),
        ({"searched": "linear1,linear9"}, "searched must be a list of .*, not 'linear1,linear9'"),
        ({"seeds": "0,100"}, "seeds must be a list of .*: 100 is one of search_seeds."),
    ],
)
def test_what_cannot_be_searched_is_a_sentence(wrong, said):
    with pytest.raises(ParameterError, match=f"^{said}") as caught:
        asked(**wrong)
    assert "\n" not in str(caught.value)


def test_a_device_that_no_network_fits_is_refused_before_any_training():
    with pytest.raises(HardwareError, match="the network fits the Z7020"):
        study.Prices.of(asked(share=0.01))
    with pytest.raises(HardwareError, match="frame_rate must be at most"):
        study.Prices.of(asked(frame_rate=1e9))
