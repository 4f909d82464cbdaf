"""Chapter 04: scores, areas, fronts and seeds by hand, by brute force; claims on made-up runs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qbench import reference, sweep
from qbench.parameters import ParameterError, check
from qbench.studies import radar, radar_claims
from qbench.studies.resources import resources

CHAPTER = "04_radar_charts"
INDEX = pd.MultiIndex.from_product([radar.BITS, radar.BITS], names=["weight_bits", "act_bits"])
tables = arrays.arrays(float, (12, 4), elements=st.integers(-50, 50).map(float))


def frame(values):
    return pd.DataFrame(values, columns=list(radar.AXES))


# Scores


@given(tables, st.sampled_from(radar.READINGS))
def test_scores_put_the_best_at_one_and_the_worst_at_zero_in_the_order_of_the_values(
    array, reading
):
    values = frame(array)
    found = radar.scores(values, reading)
    for name, column in values.items():
        score = found[name]
        assert np.isclose(score[column == column.min()], 1).all()
        if column.nunique() > 1:
            assert np.isclose(score[column == column.max()], 0, atol=1e-12).all()
        assert (score.rank() == (-column).rank()).all(), "less is better, ties stay ties"


@given(tables, st.floats(0.1, 10), st.floats(-10, 10))
def test_ranges_do_not_depend_on_the_unit_and_ranks_on_the_order_alone(array, factor, shift):
    values = frame(array)
    ranges, ranks = (radar.scores(values, reading) for reading in ("range", "rank"))
    pd.testing.assert_frame_equal(ranges, radar.scores(factor * values + shift, "range"))
    pd.testing.assert_frame_equal(ranks, radar.scores(np.exp(values / 50), "rank"))


def test_equal_values_share_the_mean_of_their_places():
    values = pd.DataFrame({"lut": [10.0, 20, 20, 90]})
    assert radar.scores(values, "rank")["lut"].tolist() == [1, 0.5, 0.5, 0]
    assert radar.scores(values, "range")["lut"].tolist() == [1, 0.875, 0.875, 0]
    assert radar.scores(pd.DataFrame({"lut": [7.0, 7]}), "rank")["lut"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="reading must be one of rank, range, not 'order'"):
        radar.scores(values, "order")


def test_resources_are_put_beside_the_mean_error_and_unknown_ones_left_out():
    errors = pd.DataFrame(np.ones((64, 3)), index=INDEX).mul([1, 2, 6])
    given = resources(network="tfc").assign(ff=np.nan)
    found = radar.costs(errors, given.sample(frac=1, random_state=0))
    assert list(found) == ["test_error", "lut", "bram18"] and (found.test_error == 3).all()
    assert found.loc[(3, 5), "lut"] == given.query("weight_bits == 3 and act_bits == 5").lut.item()
    assert list(radar.costs(errors, given.assign(ff=1))) == list(radar.AXES)


def test_the_families_are_those_of_the_paper():
    found = radar.families()
    words = {name: [radar.word(pair) for pair in family] for name, family in found.items()}
    assert words == {
        "weight oriented": ["W1A4", "W3A4", "W6A4", "W8A4"],
        "activation oriented": ["W4A1", "W4A3", "W4A6", "W4A8"],
        "linear": ["W1A1", "W2A2", "W4A4", "W7A7"],
    }
    assert all(radar.bits(word) in INDEX for family in words.values() for word in family)
    scored = pd.DataFrame({"test_error": 0.5, "lut": 0.25}, index=INDEX)
    rows = radar.outlines(scored, found["linear"])
    assert rows.columns.tolist() == ["configuration", "axis", "score"]
    assert rows.axis.tolist() == ["Accuracy"] * 4 + ["LUT"] * 4
    assert rows.configuration.tolist() == 2 * words["linear"]


# Outlines


def shoelace(radii):
    angles = 2 * np.pi * np.arange(len(radii)) / len(radii)
    x, y = radii * np.cos(angles), radii * np.sin(angles)
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@given(arrays.arrays(float, st.integers(3, 6), elements=st.floats(0, 1)))
def test_the_area_is_that_of_the_polygon_by_that_of_the_full_one(radii):
    found = radar.area(pd.DataFrame([radii])).item()
    assert found == pytest.approx(shoelace(radii) / shoelace(np.ones(len(radii))), abs=1e-12)


def test_the_area_depends_on_the_order_of_the_axes():
    scored = pd.DataFrame([[1.0, 1, 0, 0]], columns=list(radar.AXES))
    assert radar.area(scored).item() == 0.25
    assert radar.area(scored[["test_error", "ff", "lut", "bram18"]]).item() == 0
    values = pd.DataFrame([[1.0, 1, 9, 9], [9, 9, 1, 1]], columns=list(radar.AXES))
    index = pd.MultiIndex.from_tuples([(1, 1), (2, 2)], names=["weight_bits", "act_bits"])
    found = radar.overall(values.set_index(index), scored.loc[[0, 0]].set_index(index))
    assert found.area_low.tolist() == [0, 0] and found.area_high.tolist() == [0.25, 0.25]
    assert found["mean"].tolist() == [0.5, 0.5] and found.front.all()
    assert found.configuration.tolist() == ["W1A1", "W2A2"]


@given(arrays.arrays(int, (10, 3), elements=st.integers(0, 3)))
def test_the_front_has_what_nothing_else_beats(array):
    def beaten(row):
        return any((other <= row).all() and (other < row).any() for other in array)

    assert radar.front(pd.DataFrame(array)).tolist() == [not beaten(row) for row in array]


def test_by_place_has_every_configuration_under_both_readings():
    values = pd.DataFrame({"test_error": [4.0, 1, 2], "lut": [1.0, 2, 3]})
    found = radar.by_place(values, ["test_error"])
    assert found[found.reading == "range"].score.tolist() == pytest.approx([1, 2 / 3, 0])
    assert found[found.reading == "rank"].score.tolist() == [1, 0.5, 0]
    assert found.place.tolist() == [1, 2, 3] * 2 and set(found.axis) == {"Accuracy"}


# Seeds


def made_up(noise=0.0, seeds=3):
    """Errors in which the weights decide, then the activations a little, then noise."""
    weights, acts = (INDEX.get_level_values(level).to_numpy() for level in INDEX.names)
    error = 1.5 + 4 / weights**2 + 0.2 / acts
    rng = np.random.default_rng(0)
    return pd.DataFrame({s: error + noise * rng.normal(size=64) for s in range(seeds)}, index=INDEX)


def test_seeds_that_say_the_same_agree_and_noise_does_not():
    same = radar.agreement(made_up())
    assert same.least_bits.tolist() == [1, 2, 3, 4]
    assert same.configurations.tolist() == [64, 49, 36, 25]
    assert np.allclose(same[["tau", "rho"]], 1) and np.allclose(same.same_order, 100)
    assert (same.p < 0.001).all()
    noise = radar.agreement(made_up(noise=100.0))
    assert noise.tau.abs().max() < 0.3 and (noise.p > 0.01).all()
    assert noise.same_order[0] == pytest.approx(50 + 50 * noise.tau[0])
    some = radar.agreement(made_up(noise=0.1))
    assert some.tau.is_monotonic_decreasing and some.tau[0] > 0.5 > some.tau[3]


def test_agreement_needs_two_seeds_and_the_test_three():
    assert radar.agreement(made_up(seeds=1)).empty
    assert radar.agreement(made_up(seeds=2)).p.isna().all()


def test_places_reach_from_the_best_to_the_worst_seed():
    errors = pd.DataFrame({0: [1.0, 2, 3, 4], 1: [2.0, 1, 3, 4], 2: [2.0, 2, 5, 3]})
    found = radar.ranks(errors)
    assert found["rank"].tolist() == [1.5, 1.5, 3.5, 3.5]
    assert found.low.tolist() == [1, 1, 3, 3] and found.high.tolist() == [2, 2, 4, 4]


def test_published_errors_are_read_and_nothing_is_trained(monkeypatch):
    def trained(*_, **__):
        raise AssertionError("a network was to be trained")

    monkeypatch.setattr(sweep, "_train", trained)
    for dataset, seeds in (("mnist", [0, 1, 2]), ("fashion-mnist", [2])):
        errors = radar.test_errors(dataset, 100, seeds)
        assert errors.index.equals(INDEX) and errors.columns.tolist() == seeds
        assert errors.notna().all(axis=None) and errors.loc[(1, 1)].min() > errors.loc[(8, 8)].max()


# Claims


@pytest.fixture(scope="module")
def estimates():
    """The chapter's estimates, with flip-flops that grow with both widths."""
    found = resources()
    return found.assign(ff=1000 * found.act_bits + 300 * found.weight_bits)


def judged(errors, estimates):
    statements = reference.claims(radar.STEWART).set_index("statement")["claim"]
    found = radar_claims.claims(errors, estimates)
    assert found.verdict.isin(reference.VERDICTS).all()
    return found.set_index([found.claim.map(statements), "score"])


def test_what_the_weights_decide_is_in_the_upper_half_by_range_and_never_by_rank(estimates):
    found = judged(made_up(), estimates)
    assert len(found) == 14 and found.index.is_unique
    for claim in ("four_bit_weights_top_half", "two_bit_weights_suffice_for_top_half"):
        assert found.loc[(claim, "range"), "verdict"] == "trend"
        assert found.loc[(claim, "range"), "seeds"] == "3 of 3"
        row = found.loc[(claim, "rank")]
        assert row.verdict == "differs" and "32" in row.why
    first = found.xs("one_to_three_weight_bits_help_most").loc["range"]
    assert first.verdict == "trend" and first.ours.startswith("W1A4→W3A4 +0.8")
    assert found.loc[("top_half_weight_bits", "range"), "verdict"] == "exact"
    assert found.loc[("top_half_weight_bits", "rank"), "ours"] == "4 bits"


@given(st.integers(0, 500))
def test_no_errors_put_56_configurations_in_the_upper_half_by_rank(rng):
    errors = pd.DataFrame(np.random.default_rng(rng).normal(size=64), index=INDEX)
    values = errors.set_axis(["test_error"], axis=1)
    assert not radar_claims._from_two_bits(radar.scores(values, "rank"))[1]


def test_claims_turn_round_with_the_numbers(estimates):
    errors = made_up()
    worse = errors.copy()
    worse.loc[(4, 6)] += 5
    claim = ("four_bit_weights_top_half", "range")
    assert judged(worse, estimates).loc[claim, "verdict"] == "differs"
    one = errors.copy()
    one.loc[(4, 6), 2] += 9
    row = judged(one, estimates).loc[claim]
    assert row.seeds == ("2 of 3" if row.verdict == "trend" else "1 of 3")
    assert judged(one[[2]], estimates).loc[claim, "seeds"] == "one seed: cannot tell"
    flat = judged(errors, estimates.assign(lut=1 + estimates.act_bits / 100))
    assert flat.loc[("activation_bits_cost_logic", "counts"), "verdict"] == "differs"
    assert flat.loc[("activation_bits_cost_logic", "counts"), "why"]
    held = judged(errors, estimates)
    assert held.loc[("activation_bits_cost_logic", "counts"), "verdict"] == "trend"
    assert held.loc[("activation_bits_leave_bram", "counts"), "ours"].endswith("(1.00 times)")
    kept = judged(errors, estimates.assign(bram18=estimates.bram18 * estimates.act_bits))
    assert kept.loc[("activation_bits_leave_bram", "counts"), "verdict"] == "differs"


def test_resources_that_scale_alike_are_scored_evenly(estimates):
    size = estimates.weight_bits + estimates.act_bits
    alike = judged(made_up(), estimates.assign(lut=size, ff=3 * size, bram18=size - 1))
    rows = alike.xs("linear_scaling_costs_evenly")
    assert (rows.verdict == "trend").all() and rows.ours.str.endswith("largest gap 0.00").all()
    apart = judged(made_up(), estimates.assign(lut=size, ff=size**6, bram18=size))
    assert apart.loc[("linear_scaling_costs_evenly", "range"), "verdict"] == "differs"


def test_claims_about_flip_flops_wait_for_estimates_of_them(estimates):
    found = judged(made_up(), estimates.assign(ff=np.nan))
    assert len(found) == 11 and not found.ours.str.contains("FF").any()


def test_table_3_stands_beside_ours(estimates):
    values = radar.costs(made_up(), estimates)
    found = radar.published(values, "mnist").set_index(["metric", "bound"])
    assert len(found) == 8 and found.verdict.notna().sum() == 2
    assert found.loc[("error (%)", "worst"), "of"] == "W1A1"
    assert found.loc[("BRAM", "best"), "of"] == "W1A1–8"
    assert found.loc[("LUT", "worst"), "published"] == "223,910"
    same = values.assign(test_error=np.linspace(1.52, 2.07, 64))
    assert (radar.published(same, "mnist").verdict.iloc[:2] == "exact").all()
    assert "error (%)" not in set(radar.published(values, "fashion-mnist").metric)


def test_errata_and_lessons_speak_of_ours(estimates):
    errors = made_up()
    values = radar.costs(errors, estimates)
    slips = radar_claims.errata(values, "range")
    assert (
        list(slips) == ["where", "printed", "should be", "arithmetic", "ours"] and len(slips) == 3
    )
    assert "W1A3→W3A3" in slips.ours[0] and "W1A4→W3A4" in slips.ours[0]
    assert "W8A8 1.000" in slips.ours[1]
    all_64 = radar.overall(values, radar.scores(values))
    found = radar_claims.claims(errors, estimates)
    text = radar_claims.lessons(errors, found, radar.agreement(errors), all_64)
    held = found[(found.score == "range") & found.verdict.isin(["trend", "exact"])]
    assert f"by **range**, {len(held)} of 6 claims about scores hold, {len(held)} of them" in text
    assert "Friedman" in text and "(error 1." in text
    assert "least accurate W1A1" in text
    alone = radar.agreement(errors[[0]])
    assert "One seed cannot say" in radar_claims.lessons(errors[[0]], found, alone, all_64)


def test_assumptions_are_said():
    p = check(CHAPTER, parallelism=16, memories="a layer", input_bits=8, thresholds="lut")
    said = radar.assumed(**p.model_dump(include=set(radar.OPTIONS)))
    assert said.startswith("estimates for LFC at PE = SIMD = 16, thresholds in LUTs, 8-bit")
    plain = check(CHAPTER).model_dump(include=set(radar.OPTIONS))
    assert radar.assumed(**plain) == "estimates for LFC at its own folding, thresholds not counted"
    assert len(resources(**plain)) == 64


# Parameters


def test_configurations_are_named_in_several_ways():
    assert check(CHAPTER, configurations="w3a3, W2-A4,W7–A7").configurations == [
        "W3A3",
        "W2A4",
        "W7A7",
    ]
    assert check(CHAPTER, configurations=None).configurations is None


SEVEN = "W1A1,W1A2,W1A3,W1A4,W1A5,W1A6,W1A7"


@pytest.mark.parametrize(
    "asked", ["W9A1", "W0A1", "foo", "W3A3,w3a3", "W33", "", [], [3], SEVEN + ",W1A8", 5]
)
def test_other_configurations_are_refused_in_a_sentence(asked):
    with pytest.raises(
        ParameterError, match=r"^configurations must be a list .*, not .*\.$"
    ) as said:
        check(CHAPTER, configurations=asked)
    assert "\n" not in str(said.value) and "W2A2,W3A3" in str(said.value)


@pytest.mark.parametrize("epoch", [0, 11, 101, 12.5, "x"])
def test_epochs_that_no_sweep_evaluated_are_refused(epoch):
    with pytest.raises(ParameterError, match="^epoch must be a whole number of epochs after which"):
        check(CHAPTER, epoch=epoch)
    assert check(CHAPTER, epoch="95").epoch == 95
