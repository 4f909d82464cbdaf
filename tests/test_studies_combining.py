"""Chapter 18: gains over bits, the eight combinations, winners elsewhere and their regret."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from store_toy import empty_stores

from qbench import parameters, store
from qbench.combining import runs as combining_runs
from qbench.errors import UserError
from qbench.parameters import ParameterError
from qbench.studies import combining as study
from qbench.studies import combining_bits as by_bits
from qbench.studies import combining_devices as ported
from qbench.studies import combining_devices_runs as runs
from qbench.studies import evolution as chapter_7
from qbench.studies.evolution_networks import SPACES

CHAPTER = "18_combining"
LATENCY = st.floats(0.1, 10)


def asked(**changes):
    return parameters.check(CHAPTER, **changes)


# A teacher and few bits


def errors_of(gain):
    rows = [
        {"method": method, "quantiser": "learnt", "bits": bits, "seed": seed}
        | {"test_error": 5 + seed - (gain(bits) + 0.01 * seed * bits) * (method != by_bits.ALONE)}
        for method in (by_bits.ALONE, *by_bits.TAUGHT)
        for bits in (8, 4, 2, 1)
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("gain", "slope", "verdict", "said"),
    [
        (lambda bits: 4 - np.log2(bits), 1.0, "more", "A teacher helps more where"),
        (lambda bits: np.log2(bits), -1.0, "less", "it helps less in 2 of 2"),
    ],
)
def test_a_gain_that_grows_with_every_halving_is_found(gain, slope, verdict, said):
    table = errors_of(gain)
    found, slopes = by_bits.gains(table), by_bits.slopes(table)
    assert found["bits"].tolist() == [8, 8, 4, 4, 2, 2, 1, 1]
    four = found[found["bits"] == 4].iloc[0]
    assert four["gain"] == pytest.approx(gain(4) + 0.04)  # the mean seed is 1
    assert four["half"] == pytest.approx(4.302653 * 0.04 / 3**0.5, rel=1e-5)
    assert slopes["slope"].tolist() == pytest.approx([slope] * 2, abs=0.05)
    assert slopes["verdict"].tolist() == [verdict] * 2
    assert said in by_bits.answer(found, slopes)


def test_what_has_no_rival_is_left_out():
    table = errors_of(lambda bits: 1.0)
    table = table[(table["method"] != by_bits.ALONE) | (table["bits"] != 1)]
    assert set(by_bits.gains(table)["bits"]) == {8, 4, 2}
    nothing = table[table["method"] != by_bits.ALONE]
    found = by_bits.gains(nothing)
    assert found.empty and "No answer" in by_bits.answer(found, by_bits.slopes(nothing))


# The eight combinations


def test_combinations_differ_in_their_methods_alone():
    p = asked()
    none = study.training_of(p, dict.fromkeys(study.FACTORS, False), 0)
    for factor, names in {
        "scales": {"granularity"},
        "sparsity": {"eta", "sigma", "strength"},
        "teacher": {"teacher", "alpha", "temperature"},
    }.items():
        one = study.training_of(p, {name: name == factor for name in study.FACTORS}, 0)
        before, after = combining_runs.complete(none), combining_runs.complete(one)
        assert {name for name in after if after[name] != before[name]} == names
        combining_runs.check(one)


def made_up(seeds=4, both=0.0):
    """Eight combinations: sparsity costs 3 points, a teacher gains 1, scales 2, `both` more."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=(2, 2, 2, seeds))
    rows = []
    for scales, sparse, taught, seed in np.ndindex(2, 2, 2, seeds):
        error = 30 + 3 * sparse - taught - 2 * scales + both * sparse * scales
        bits = (1000 if sparse else 16_000) + 1
        rows.append(
            dict(zip(study.FACTORS, map(bool, (scales, sparse, taught)), strict=True))
            | {"seed": seed, "test_error": error + noise[scales, sparse, taught, seed]}
            | {"zeros": 90.0 if sparse else 33.0, "scale_count": 9.0, "bits_ternary": 16_000.0}
            | {"coding": "RLE" if sparse else "ternary", "bits": bits, "log_bits": np.log2(bits)}
        )
    return pd.DataFrame(rows)


def test_the_page_says_whether_gains_add_up():
    p = asked(seeds=[0, 1, 2, 3])
    table = made_up()
    found = study.departures(table, p)
    assert "**Gains add up**" in study.answer(found, p)
    shown = study.effects(table)
    assert shown["effect of"].tolist()[:3] == ["scales", "sparsity", "teacher"]
    assert shown["beyond seeds"].tolist() == ["yes"] * 3 + ["no"] * 4
    assert shown["stored bits times"][1].startswith("0.063")  # 1,001 / 16,001
    better = study.departures(made_up(both=-2.0), p)
    assert "more than their sum" in study.answer(better, p)
    assert better.set_index("name")["verdict"]["scales + sparsity"] == "more than additive"
    one = asked(seeds=[0])
    alone = study.departures(made_up(seeds=1), one)
    assert "cannot be told" in study.answer(alone, one) and "one seed" in study.notes(one)


def test_a_training_that_diverged_counts_nowhere():
    diverged = study.left(pd.DataFrame({"epoch": [1], "train_loss": [np.nan]}))
    assert np.isnan(diverged["test_error"]) and np.isnan(diverged["log_bits"])
    table = made_up()
    table.loc[table["seed"] == 1, "test_error"] = np.nan
    assert study.errors(table).seeds == 3


# Other devices


def networks(cpu, other, errors):
    names = [f"n{place}" for place in range(len(cpu))]
    return pd.DataFrame({"phenotype": names, "error": errors, "cpu": cpu, "there": other})


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_regret_is_never_below_0_and_0_for_what_wins_on_both(data):
    count = data.draw(st.integers(2, 12))
    cpu, other, errors = (
        data.draw(arrays.arrays(float, count, elements=LATENCY, unique=True)) for _ in range(3)
    )
    table = networks(cpu, other, errors)
    found = ported.regret(table, "cpu", "there")
    assert len(found) == ported.winners(table, "cpu").sum() > 0
    assert (found["regret"] >= 0).all()
    both = table["phenotype"][ported.winners(table, "cpu") & ported.winners(table, "there")]
    assert (found.set_index("phenotype")["regret"][both] == 0).all()
    # A device on which every network takes the same multiple has the same winners.
    same = ported.regret(table.assign(there=3 * table["cpu"]), "cpu", "there")
    assert (same["regret"].abs() < 1e-9).all()


@pytest.mark.filterwarnings("ignore")  # of a bootstrap over three networks
def test_regret_by_hand():
    table = networks([1.0, 2.0, 3.0], [4.0, 6.0, 3.0], [30.0, 20.0, 10.0])
    found = ported.regret(table, "cpu", "there").set_index("phenotype")
    assert found["regret"].to_dict() == pytest.approx({"n0": 100 / 3, "n1": 100.0, "n2": 0.0})
    assert set(found["instead"]) == {"n2"}
    row = ported.pairs(
        table.assign(macs=table["there"]).rename(columns={"there": "dpu-b512"}),
        ["dpu-b512"],
        resamples=100,
    ).iloc[0]
    assert (row.on_cpu, row.on_device, row.shared) == (3, 1, 1)
    assert (row.out, row.back) == pytest.approx((100.0, 0.0))
    assert "The winners are not the same" in ported.answer(pd.DataFrame([row]))


def test_the_models_agree_with_the_archive_and_a_larger_core_is_quicker():
    space = SPACES["flex_student"]
    small, large = space.decode(space.baseline), space.decode(space.repair([5, 4] + [999] * 9))
    times = {
        name: [runs.modelled("flex_student", "cifar10", one, name) for one in (small, large)]
        for name in runs.MODELS
    }
    for one in times.values():
        assert 0 < one[0] < one[1]
    for place in (0, 1):
        assert times["dpu-b4096-no-ports"][place] <= times["dpu-b4096"][place]
        assert times["dpu-b4096"][place] < times["dpu-b1024"][place] < times["dpu-b512"][place]
    assert times["macs"][0] == pytest.approx(
        chapter_7.baseline_size("flex_student", "cifar10")[2] / 1e6
    )
    shares = [runs.waiting("flex_student", "cifar10", small, name) for name in runs.DPUS]
    assert 0 == shares[3] <= shares[0] <= shares[1] <= shares[2] <= 1
    with pytest.raises(ValueError, match="device must be one of dpu-b512"):
        runs.modelled("flex_student", "cifar10", small, "vpu")


SEARCH = {
    "dataset": "mnist5k",
    "teacher": {"dataset": "mnist5k", "network": "resnet8x4", "images": 20, "epochs": 1},
    "images": 20,
    "epochs": 1,
    "population": 3,
    "generations": 2,
}


def test_a_second_search_trains_only_what_is_not_known(tmp_path, monkeypatch):
    empty_stores(tmp_path, monkeypatch)
    search = store.spec(ported.evolution_runs.nemokd, **SEARCH)["parameters"]
    trained = []

    def made(self, phenotypes):
        trained.extend(map(str, phenotypes))
        return [{"valid_error": 50.0, "reason": ""} for _ in phenotypes]

    monkeypatch.setattr(runs.evolution_runs.Evaluator, "made", made)
    first = runs.evolved(search=search, known=[], device="macs", checkpoint=tmp_path / "a")
    asked_for = first[first["trained"]]["phenotype"].tolist()
    assert trained == asked_for and (first["latency_ms"] > 0).all()
    known = [[name, 40.0] for name in asked_for]
    trained.clear()
    again = runs.evolved(search=search, known=known, device="macs", checkpoint=tmp_path / "b")
    some = again[again["phenotype"].isin(asked_for)]
    assert set(trained) == set(again["phenotype"]) - set(asked_for)
    assert (some["error"] == 40.0).all()


def test_the_claims_on_other_devices_follow_regret_and_winners():
    pairs = pd.DataFrame(
        {"device": ["macs", "dpu-b512"], "on_cpu": [3, 3], "shared": [3, 1], "out": [4.0, 25.0]}
    )
    assert ported.claims(pairs)["verdict"].tolist() == ["trend", "trend"]
    near = pairs.assign(shared=3, out=4.0)
    assert ported.claims(near)["verdict"].tolist() == ["differs", "differs"]
    far = pairs.assign(shared=[1, 3], out=[40.0, 4.0])  # a count of operations is no device
    assert ported.claims(far)["verdict"].tolist() == ["differs", "differs"]
    assert ported.claims(pairs[:1]).empty


def test_two_searches_compare_what_was_ported_with_what_was_evolved_there():
    table = networks([1.0, 2.0], [4.0, 6.0], [30.0, 20.0]).assign(search="nsga2")
    other = pd.DataFrame(
        {"phenotype": ["x", "y"], "error": [30.0, 25.0], "latency_ms": [2.0, 5.0], "trained": True}
    )
    fronts, beside = ported.two_searches(table, other, "there")
    assert fronts["evolved for"].tolist() == ["the CPU"] * 2 + ["the second device"] * 2
    assert beside["regret"].tolist() == pytest.approx([100.0, np.nan], nan_ok=True)
    assert "100 % at most" in ported.answer_of_searches(beside, "dpu-b512")


# Parameters


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"eta": 0.3}, "eta must be a number above dense_eta and below 1, not 0.3: dense_eta is"),
        ({"alpha": 1}, "alpha must be .* below 1, not 1: with 1 nobody listens"),
        ({"teacher_images": 100}, "teacher_images must be .*not 100: images is 200"),
        ({"images": 300}, "teacher_images must be .*not 200: images is 300"),
        ({"dense_eta": 0.95}, "eta must be a number above dense_eta and below 1, not 0.9"),
        ({"drawn": "pytorch"}, "drawn must be one of devices, not 'pytorch': devices are"),
        (
            {"devices": "pytorch", "drawn": "pytorch", "evolve": True},
            "evolve must be true or false, not True: drawn is pytorch, and a search needs",
        ),
        ({"granularity": "layer"}, "granularity must be one of pixel, row, not 'layer'"),
        ({"devices": "vpu"}, "devices must be a list"),
        ({"margin": -1}, "margin must be a number of at least 0"),
        ({"images": 60_001}, "images must be a whole number"),
    ],
)
def test_wrong_parameters_are_one_sentence(wrong, said):
    with pytest.raises(ParameterError, match=said) as refused:
        asked(**wrong)
    assert "\n" not in str(refused.value)


def test_latencies_of_runtimes_are_measured_by_turns_and_stored(tmp_path, monkeypatch):
    empty_stores(tmp_path, monkeypatch)
    monkeypatch.setattr(runs, "SECONDS", 0.01)
    space = SPACES["flex_student"]
    pair = [list(space.baseline), space.repair([5, 4] + [999] * 9)]
    found = runs.latencies("flex_student", "mnist5k", pair, "pytorch")
    assert list(found.index) == [str(space.decode(one)) for one in pair] and (found > 0).all()
    assert found.iloc[0] < found.iloc[1]
    assert runs.latencies("flex_student", "mnist5k", pair, "pytorch").equals(found)
    with pytest.raises(UserError, match="runtime must be one of pytorch"):
        runs.timed(student="flex_student", dataset="mnist5k", networks=pair, runtime="vpu")
