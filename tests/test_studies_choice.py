"""Chapter 16: the rules of the choice, what its candidates are, what is judged by it."""

from dataclasses import replace

import choice_toy as toy
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench import hardware, parameters, store, sweep
from qbench.parameters import ParameterError
from qbench.studies import choice, choice_claims
from qbench.studies import choice_networks as found
from qbench.studies import choice_page as page
from qbench.studies.choice import LIMITS, OBJECTIVES, PREFERRED, Wanted
from qbench.studies.comparison_costs import FLOAT_UNITS
from qbench.studies.folding import Setup

NAME = "16_choice"
questions = st.randoms(use_true_random=False).map(
    lambda random: (toy.random_offer(random), toy.random_wanted(random), random.choice(DEVICES))
)
DEVICES = (toy.DEVICE, "CPU")


def there(every, device=toy.DEVICE):
    return found.candidates(every, toy.DATASET, device)


# The rules


@given(questions)
def test_what_is_chosen_fits_and_nothing_that_fits_beats_it(question):
    every, wanted, device = question
    candidates = there(every, device)
    rows, fitting = choice.choose(candidates, wanted), choice.fitting(candidates, wanted)
    assert rows["network"].is_unique and fitting["network"].is_unique
    signs = [1 if OBJECTIVES[n] == "more" else -1 for n in choice.compared(candidates, wanted)]

    def beaten(row):
        others = signs * (fitting - row)[choice.compared(candidates, wanted)].to_numpy()
        return ((others >= 0).all(axis=1) & (others > 0).any(axis=1)).any()

    for _, row in fitting.iterrows():
        assert row["accuracy"] >= wanted.accuracy and row["rate"] >= wanted.frames_per_second
        assert row["share"] <= wanted.share and row["energy"] <= wanted.energy
        assert beaten(row) != (row["network"] in set(rows["network"]))
    assert len(rows) or fitting.empty
    keeps = np.logical_and.reduce([choice.meets(candidates, wanted, name) for name in LIMITS])
    assert set(fitting["network"]) == set(candidates["network"][keeps])


@given(questions, st.sampled_from(list(LIMITS)))
def test_easing_a_limit_never_makes_the_best_worse(question, name):
    every, wanted, device = question
    candidates = there(every, device)
    now = choice.reach(candidates, wanted)
    for eased in (wanted.relaxed(name), wanted.without(name)):
        then = choice.reach(candidates, eased)
        assert then["networks"] >= now["networks"]
        assert not any(choice.better(one, now[one], then[one]) for one in OBJECTIVES)
        rows = choice.choose(candidates, eased)
        if len(rows):  # the first is the best that can be had of what is preferred
            assert rows[PREFERRED[wanted.prefer]].iloc[0] == then[PREFERRED[wanted.prefer]]


@given(questions)
def test_the_nearest_misses_nothing_where_something_fits(question):
    every, wanted, device = question
    candidates = there(every, device)
    if candidates.empty:
        assert choice.nearest(candidates, wanted) is None
        return
    near, fits = choice.nearest(candidates, wanted), len(choice.fitting(candidates, wanted))
    assert (near["steps"] == 0) == (fits > 0)
    assert (choice.missed(candidates, wanted).sum(axis=1) >= near["steps"]).all()
    if not fits:
        name, count = choice.tightest(candidates, wanted)
        freed = [len(choice.fitting(candidates, wanted.without(n))) for n in wanted.asked]
        assert name in wanted.asked and count == max(freed)


def test_a_step_is_a_point_a_tenth_and_a_factor():
    wanted = Wanted(88, 1000, 0.95, 0.5)
    eased = [getattr(wanted.relaxed(name), name) for name in LIMITS]
    assert eased == [87, 100, 1.0, 1.0]
    assert Wanted().asked == [] and wanted.asked == list(LIMITS)


# In words


def two():
    """One network more accurate and larger, by less than seeds make, and one too slow."""
    networks = [
        toy.network("large", 91.0),
        toy.network("small", 90.75, design=1, energy=0.25),
        toy.network("slow", 95.0, design=2),
    ]
    return toy.offer(networks, [[(1e4, 500, 5, 0)], [(1e4, 100, 5, 0)], [(20.0, 100, 5, 0)]])


def test_the_answer_says_what_is_best_what_binds_and_what_easing_gives():
    wanted = Wanted(accuracy=90, frames_per_second=30, share=0.8)
    told = page.answer(two(), toy.DATASET, toy.DEVICE, wanted, 10)
    assert [row[0][0] for row in told.rows] == ["large", "small"]
    assert told.rows[0][0][2] == (
        "Most accurate; the next has 0.20 × the share of the device and 0.50 × the energy, but "
        "0.25 points less accuracy (no more than seeds make)."
    )
    assert told.rows[1][0][2] == "Smallest, least energy."
    assert told.rows[0][1] == "91.00 ± 0.25"
    assert told.rows[0][4] == "LUT 50.0 %, BRAM18 5.0 %, DSP 0.0 %"
    assert told.said == [
        "2 of 3 networks of mnist on the Z7020 keep to an accuracy of at least 90 %, at least 30 "
        "frames/s and at most 80 % of the Z7020. Of these nothing beats 2.",
        "What holds accuracy back: at least 30 frames/s.",
        "Seeds do not tell the first from small, which takes 0.20 × the share of the device.",
        "Frames/s, resources and energy are models' numbers.",
    ]
    eased = {row[0]: row[1:] for row in told.easing}
    assert eased["at least 3 frames/s"] == ["3", "95.00", "same", "same", "same", "accuracy"]


def test_where_nothing_fits_the_tightest_limit_and_the_nearest_network_are_named():
    wanted = Wanted(accuracy=99, frames_per_second=30, share=0.8)
    told = page.answer(two(), toy.DATASET, toy.DEVICE, wanted, 10)
    assert told.said[1] == (
        "The tightest is an accuracy of at least 99 %; without it 2 would fit. The nearest:"
    )
    assert [row[0][0] for row in told.rows] == ["slow"]  # 4 points and a little of the rate
    assert told.rows[0][0][2] == (
        "Nearest: an accuracy of 95.00 % (asked: an accuracy of at least 99 %); 20 frames/s "
        "(asked: at least 30 frames/s)."
    )


def test_a_device_without_candidates_says_why():
    every = toy.offer([toy.network()], [[]])
    told = page.answer(every, toy.DATASET, toy.DEVICE, Wanted(), 10)
    assert told.said == [
        "No stored network of mnist can be had on the Z7020 (1 of bit-width sweep: float32)."
    ]
    assert page.answer(every, "cifar10", "CPU", Wanted(), 10).said == [
        "No network of cifar10 is stored."
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("device", "Foo", "device must be one of Z7020, .*, CPU, not 'Foo'"),
        ("dataset", "imagenet", "dataset must be one of mnist5k, .*, not 'imagenet'"),
        ("accuracy", 101, "accuracy must be a number of at least 0 and at most 100, not 101"),
        ("frames_per_second", -1, "frames_per_second must be a number of at least 0, not -1"),
        ("share", 0, "share must be a number above 0 and at most 1, not 0"),
        ("energy", "0", "energy must be a number above 0, or None for no limit, not '0'"),
        ("prefer", "speed", "prefer must be one of accuracy, frames_per_second, .*, not 'speed'"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(name, value, said):
    with pytest.raises(ParameterError, match=f"^{said}\\.$"):
        parameters.check(NAME, **{name: value})


def test_boards_are_devices_and_the_cpu_may_be_written_small():
    p = parameters.check(NAME, device="ultra96", devices="cpu,Z7020")
    assert p.offered_devices == ["ZU3EG", "CPU", "Z7020"]


# The candidates


@pytest.mark.parametrize("device", ["Z7020", "ZU9EG"])
@pytest.mark.parametrize(("weight_bits", "act_bits"), [(7, 1), (3, 3), (8, 6)])
def test_the_short_cut_finds_what_the_search_finds(weight_bits, act_bits, device):
    setup = Setup(device=device)
    layers = hardware.mlp(weight_bits=weight_bits, act_bits=act_bits)
    how = {"clock": setup.clock, "overhead_cycles": setup.overhead_cycles}
    how |= {"most_simd": setup.most_simd} | setup.storage
    for rate in (30, 20_000):
        ours = found.least(tuple(layers), rate, setup)
        exact = hardware.cheapest(layers, rate, device, objective="share", **how)
        shares = [max(hardware.fit(f.cost, device).shares.values()) for f in (ours, exact)]
        assert shares[0] == shares[1]
        assert hardware.performance(ours, clock=setup.clock, overhead_cycles=12).frame_rate >= rate


def test_stored_trainings_become_candidates_with_their_scale(results):
    spec = {"dataset": "mnist5k", "epochs": 2}
    for bits, seed, error in ((2, 0, 6.0), (2, 1, 8.0), (32, 0, 5.0)):
        table = pd.DataFrame([{"epoch": 2, "test_error": error}])
        whole = spec | {"weight_bits": bits, "act_bits": bits, "seed": seed}
        store.get_or_run(store.spec(sweep.quant_mlp, **whole), lambda table=table: table)
    p = parameters.check(NAME, dataset="mnist5k", datasets="mnist5k", accuracy=50)
    every = found.offer(p)
    assert [one["bits"] for one in every.networks] == ["2 / 2", "float32"]
    assert every.networks[0]["trained"].endswith("2 epochs, 2 seeds, the worst with 92.00 %.")
    rows = found.candidates(every, "mnist5k", "Z7020")
    assert set(rows["network"]) == {0} and set(rows["accuracy"]) == {93.0}
    assert (rows["rate"] >= 30).all() and rows["share"].between(0, 1).all()
    assert rows["rate"].is_monotonic_increasing
    why = found.missing(every, "mnist5k", "Z7020")
    assert why["why"].tolist() == [FLOAT_UNITS] and why["networks"].tolist() == [1]
    assert found.candidates(every, "mnist5k", "CPU").empty


def test_who_saw_few_images_is_not_compared_with_the_others():
    assert found.trained("cifar10", 5000, 1, 1, 60.0, 60.0) == (
        "Trained on 5,000 of 40,000 images, 1 epoch, one seed: so compare with others that saw as "
        "many only."
    )


# What the paper recommends


def test_the_sweet_spot_is_judged_by_what_would_be_chosen():
    networks = [
        toy.network("W3A3", 90.0, bits="3 / 3", energy=0.3),
        toy.network("W6A6", 90.1, bits="6 / 6", design=1, energy=0.6),
        toy.network("QAT", 99.0, method="QAT", design=0, energy=0.1),
    ]
    every = toy.offer(networks, [[(1e4, 100, 5, 0)], [(1e3, 300, 5, 0)]])
    p = parameters.check(NAME, dataset="mnist", datasets="mnist")
    spots = choice_claims.sweet_spots(every, p)
    judged = choice_claims.claims(spots)
    assert set(judged["verdict"]) == {"trend"} and len(judged) == 4
    networks[0]["accuracy"] = 80.0  # now only the wide one is within two points
    spots = choice_claims.sweet_spots(every, p)
    assert set(spots["weight_bits"]) == {6}
    verdicts = choice_claims.claims(spots).set_index("claim")["verdict"]
    assert list(verdicts) == ["differs", "differs", "trend", "differs"]
    assert choice_claims.sweet_spots(replace(every, devices={"CPU": None}), p).empty
    table = choice_claims.spots_table(spots)
    assert list(table)[:2] == ["data set", "points given up"] and len(table) == 5


def test_the_overview_has_a_row_a_device_and_one_for_those_without():
    every = two()
    every.networks[1] |= {"images": 4000, "whole": False}
    p = parameters.check(NAME, dataset="mnist", datasets="mnist")
    rows = choice_claims.overview(every, p)
    assert rows["network"].tolist() == ["small", "none of 3: no latency was measured"]
    assert rows["device"].tolist() == ["Z7020", "CPU"] and rows["accuracy (%)"].iloc[0] == 90.75
    assert rows["trained on images"].iloc[0] == "only 4,000" and rows["takes"].iloc[0] == "10.0 %"


def test_too_slow_is_told_from_never_measured():
    every = two()
    p = parameters.check(NAME, dataset="mnist", datasets="mnist")
    spots = choice_claims.sweet_spots(every, p)
    said = choice_claims.lessons(every, p, spots)
    assert "in real time: mnist on CPU, none of 3: no latency was measured." in said
    every.networks[0]["cpu"] = 12.0
    said = choice_claims.lessons(every, p, spots)
    assert "in real time: mnist on CPU, none of 1 in real time." in said


def test_a_design_whose_block_ram_is_not_known_may_not_fit():
    every = toy.offer([toy.network("sparse", 91.5)], [[(1e3, 500, None, 5)]])
    told = page.answer(every, toy.DATASET, toy.DEVICE, Wanted(), 10)
    assert told.rows[0][1] == "91.50 ± 0.25"
    assert told.rows[0][4] == "LUT 50.0 %, DSP 50.0 %; BRAM18 not known: may not fit"


@pytest.mark.parametrize(
    ("bits", "verdict"), [([3, 3, 2], "trend"), ([3, 2], "differs"), ([4], "differs")]
)
def test_three_bits_are_the_sweet_spot_if_no_other_width_is_chosen_as_often(bits, verdict):
    rows = [{"given_up": 1.0, "weight_bits": width, "act_bits": width} for width in bits]
    rows.append({"given_up": 5.0, "weight_bits": 1, "act_bits": 1})  # too much to be a compromise
    judged = choice_claims.claims(pd.DataFrame(rows))
    assert judged["verdict"].tolist() == [verdict, verdict, "trend", "trend"]
