"""The statistics of the studies, and the claims of chapter 02 on made-up runs."""

import numpy as np
import pandas as pd
import pytest
import sweep_toy
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qbench import reference, sweep, training
from qbench.studies import beside_brevitas, words
from qbench.studies import bit_width_sweep as study
from qbench.studies.bit_width_answers import answers
from qbench.studies.bit_width_claims import claims
from qbench.studies.seeds import interval, over_seeds, paired

home = pytest.fixture(sweep_toy.home)


def table(configurations, seeds, noise=1.0, rng=0):
    rng = np.random.default_rng(rng)
    errors = rng.normal(size=(configurations, seeds)) * noise
    return pd.DataFrame(errors), pd.Series(np.zeros(configurations, int))


@given(st.integers(0, 1000), st.integers(2, 9))
def test_with_two_configurations_it_is_the_paired_t_test(rng, seeds):
    errors, groups = table(2, seeds, rng=rng)
    found = paired(errors, 0, pd.Series([0, 1]))
    asked = stats.ttest_rel(errors.loc[1], errors.loc[0])
    assert found.p[1] == pytest.approx(asked.pvalue)
    assert found.difference[1] == pytest.approx((errors.loc[1] - errors.loc[0]).mean())


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_what_a_seed_does_to_all_configurations_alike_is_no_noise(shift):
    errors, groups = table(6, 3)
    with_shift = paired(errors + np.array(shift), 2, groups)
    pd.testing.assert_frame_equal(with_shift, paired(errors, 2, groups), atol=1e-6)


def test_noise_alone_is_seldom_called_clear_and_a_large_effect_always():
    alarms = 0
    for rng in range(100):
        errors, groups = table(20, 3, rng=rng)
        alarms += paired(errors, 0, groups).clear.any()
    assert alarms < 15, "the false discovery rate is 5 %"
    errors, groups = table(20, 3)
    errors.loc[7] += 10
    found = paired(errors, 0, groups)
    assert found.clear[7] and not found.clear[0]


def test_groups_have_noise_of_their_own():
    """What is noise among 1-bit networks would be an effect among the steadier ones."""
    quiet, loud = table(10, 4, 0.01)[0], table(10, 4, 3.0, rng=1)[0]
    errors = pd.concat([quiet, loud], ignore_index=True)
    errors.loc[3] += 0.5
    groups = pd.Series([0] * 10 + [1] * 10)
    assert paired(errors, 0, groups).clear[3]
    assert not paired(errors, 0, pd.Series([0] * 20)).clear[3]


def test_one_seed_allows_no_test():
    errors, groups = table(4, 1)
    found = paired(errors, 0, groups)
    assert not found.clear.any() and found.p.isna().all()
    centre, half = interval(pd.Series([2.0]))
    assert centre == 2 and half != half


def test_the_interval_is_students():
    centre, half = interval(pd.Series([1.0, 2.0, 3.0]))
    assert centre == 2 and half == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


def made_up(datasets=("mnist", "fashion-mnist"), bits=range(1, 9), seeds=(0, 1, 2), epochs=100):
    """Errors that fall with weight bits and epochs, a little with activation bits, with noise."""
    rng, rows = np.random.default_rng(0), []
    for name in datasets:
        floor = 11.5 if name == "fashion-mnist" else 1.5
        for weight_bits, act_bits in [*((w, a) for w in bits for a in bits), (32, 32)]:
            for seed in seeds:
                for epoch in sweep.evaluation_epochs(epochs):
                    error = floor + 4 / epoch + 1 / weight_bits**2 * (1 + 10 / epoch)
                    error += 0.1 / act_bits + 0.05 * seed + rng.normal() * 0.02
                    rows.append((name, weight_bits, act_bits, seed, epoch, 0.01, error))
    columns = ["dataset", "weight_bits", "act_bits", "seed", "epoch", "learning_rate"]
    return pd.DataFrame(rows, columns=[*columns, "test_error"])


@pytest.fixture(scope="module")
def runs():
    return made_up()


def test_a_full_run_judges_the_claims_with_and_without_seeds(runs):
    found = claims(runs)
    assert len(found) >= 33 and found.verdict.isin(reference.VERDICTS).all()
    judged = found.set_index("claim")
    statement = reference.claims("stewart2021").set_index("claim").statement
    helps = judged.loc[statement["one_to_two_weight_bits_help_most"]]
    assert helps.verdict == "trend" and helps.seeds == "settled"
    alone = claims(runs[runs.seed == 0])
    assert len(alone) == len(found)
    assert set(alone.seeds) == {"", "one seed: cannot tell"}


def test_a_claim_turns_round_with_the_numbers(runs):
    statement = reference.claims("ducasse2021").set_index("claim").statement
    which = statement["more_weight_bits_more_accuracy"]
    assert claims(runs).set_index("claim").verdict[which] == "trend"
    worse = runs.assign(test_error=runs.test_error + (runs.weight_bits == 5) * 0.4)
    row = claims(worse).set_index("claim").loc[which]
    assert row.verdict == "differs" and row.seeds == "settled" and row.why


def test_what_a_run_lacks_is_not_judged(runs):
    few = claims(made_up(("mnist5k",), (2, 8), (0,), 2))
    assert 0 < len(few) < 12
    early = claims(runs[runs.epoch <= 20])
    assert not early.ours.str.contains("epoch 100").any()
    assert claims(runs[runs.dataset == "fashion-mnist"]).ours.str.contains("Fashion-MNIST ").any()


def test_published_values_stand_beside_ours(runs):
    found = study.published(runs)
    assert list(found.published) == ["84.9", "85.5", "85.7", "2.07", "1.52"]
    assert found.verdict.isin(reference.VERDICTS).all()
    assert "note" in study.published(made_up(("mnist5k",), (2,), (0,), 2))


def test_catching_up_names_the_first_epoch(runs):
    found = study.catching_up(study.quantised(runs), (10, 40)).set_index(["dataset", "weight_bits"])
    assert found.loc[("mnist", 8), 10] == 10 and found.loc[("mnist", 8), 40] == 40
    assert found.loc[("mnist", 2), 10] > 10 and pd.isna(found.loc[("mnist", 1), 40])


def test_bit_operations_are_products_times_bits():
    bits = {"weight_bits": 2, "act_bits": 3, "epoch": 4}
    frame = pd.DataFrame([bits | {"dataset": "mnist"}, bits | {"dataset": "mnist5k"}])
    first, rest = 1024 * 64 * 2 * 8, (64 * 64 * 2 + 64 * 10) * 2 * 3
    found = study.bit_operations(frame, inputs=1024, hidden=64, classes=10)
    assert found[0] == (first + rest) * 4 * 50_000
    assert found[1] == (first + rest) * 4 * 4_000


def test_lessons_and_names(runs):
    final = study.quantised(runs[runs.epoch == 100])
    tests = study.against(final, (8, 8))
    last = over_seeds(final, ["dataset", "weight_bits", "act_bits"])
    noise = (last.high - last.low).groupby(last.dataset).median()
    text = study.lessons(runs, tests, noise)
    assert text.count("* **") == 2 and "float32 has" in text and "clearly unlike" in text
    assert text.startswith("* **MNIST**: the best") and "**Fashion-MNIST**" in text
    assert set(study.named(runs)) >= {"W2A4", "float32"}
    assert not tests.set_index(["dataset", "weight_bits", "act_bits"]).clear["mnist", 8, 8]


def test_the_papers_conclusions_are_answered_with_the_numbers_of_the_claims(runs):
    bullets = answers(runs).splitlines()
    assert len(bullets) == 3 and all(line.startswith("* **") for line in bullets)
    assert all("on MNIST (" in line and "on Fashion-MNIST (" in line for line in bullets)
    assert "no on MNIST" not in bullets[0] and "no on MNIST" not in bullets[1]
    statement = reference.claims("stewart2021").set_index("claim").statement
    judged = claims(runs).set_index("claim").ours
    gap = judged[statement["no_gain_beyond_three_bits"]].split(": MNIST ")[1].split(",")[0]
    assert "±" in gap and gap in bullets[1], "as the claim's own"
    # 2-bit weights that stay 1.5 points behind catch up nowhere, nor do noisy ones decide.
    behind = runs.assign(test_error=runs.test_error + 1.5 * (runs.weight_bits <= 2))
    assert answers(behind).splitlines()[2].count("no on") == 2
    assert "settle" not in "".join(bullets)
    unsure = (runs.weight_bits == 3) & (runs.act_bits == 3) & (runs.seed == 0)
    unsettled = answers(runs.assign(test_error=runs.test_error + unsure * 0.4)).splitlines()
    assert unsettled[1].count("which the seeds do not settle") == 2
    acts = runs.assign(test_error=runs.test_error - 2 * runs.act_bits)
    assert answers(acts).splitlines()[0].count("no on") == 2
    assert answers(made_up(("mnist5k",), (2, 8), (0,), 2)).count("* **") == 1


def test_words_of_several_pages():
    assert [words.counted(n, "seed") for n in (0, 1, 2, 2000)] == [
        "0 seeds",
        "1 seed",
        "2 seeds",
        "2,000 seeds",
    ]
    asked = [[3, 4, 5, 6, 7, 8], [4, 1, 3], [8], [1, 2], [2, 4, 6]]
    said = ["3 to 8", "1, 3 and 4", "8", "1 and 2", "2, 4 and 6"]
    assert [words.together(numbers) for numbers in asked] == said
    names = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "mnist5k": "mnist5k"}
    names |= {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
    assert {name: words.dataset(name) for name in names} == names
    assert words.layer("linear3") == "layer 3" and words.layer("conv1") == "conv1"


def test_a_zero_has_no_sign_in_a_claim(runs):
    errors = study.Errors(runs)
    claim = "stewart2021", "no_gain_beyond_three_bits"
    parts = [("made up", lambda e, d: pd.Series([-0.001, -0.003]), "below", 0.2)]
    (row,) = study.judge(errors, claim, parts, ["mnist"], "why")
    assert row["ours"].startswith("made up: MNIST 0.00 ± ")
    parts = [("made up", lambda e, d: pd.Series([-0.5, -0.5]), "below", 0.2)]
    assert "MNIST -0.50 ± 0.00" in study.judge(errors, claim, parts, ["mnist"], "why")[0]["ours"]


def both(shift: float, seeds: int = 6) -> pd.DataFrame:
    """Trainings of two configurations; the fused sweep is `shift` points above Brevitas."""
    rows = []
    for seed in range(seeds):
        for bits in (1, 2):
            error, noise = 10 - bits + seed / 10, 0.05 * (-1) ** seed
            row = {"weight_bits": bits, "act_bits": 3, "seed": seed, "brevitas": error}
            rows.append(row | {"fused": error + shift + noise})
    return pd.DataFrame(rows)


def test_trainings_beside_brevitas_are_compared_seed_by_seed():
    found = beside_brevitas.differences(both(0.0)).set_index("configurations")
    assert list(found.index) == ["all", "W1", "W2", "A3"]
    assert found.difference.abs().max() < 1e-9 and found.brevitas["W1"] - found.brevitas["W2"] == 1
    # six differences of ±0.05: standard deviation 0.05 √(6/5), t(5) = 2.5706
    assert found.half_width["all"] == pytest.approx(2.5706 * 0.05 / 5**0.5, rel=1e-4)
    assert found.p.min() > 0.99 and not beside_brevitas.told_apart(both(0.0)).any()
    shifted = beside_brevitas.differences(both(0.3))
    assert (shifted.difference - shifted.half_width).min() > 0.2 and shifted.p.max() < 0.001
    assert beside_brevitas.told_apart(both(0.3)).all()


def test_trainings_beside_brevitas_train_each_configuration_both_ways(home):
    asked = {"weight_bits": [2], "act_bits": [1, 8], "seeds": [0, 3], "epochs": 1, "hidden": 16}
    table = beside_brevitas.trainings(**asked)
    assert (
        len(table) == 4 and table.brevitas.between(5, 95).all() and table.fused.between(5, 95).all()
    )
    one = table[(table.act_bits == 8) & (table.seed == 3)].iloc[0]
    alone = {"dataset": "mnist5k", "epochs": 1, "hidden": 16, "seed": 3}
    bits = {"weight_bits": 2, "act_bits": 8}
    assert one.brevitas == training.quant_mlp(**alone, **bits).test_error.iloc[-1]
    assert one.fused == sweep.quant_mlp(**alone, **bits).test_error.iloc[-1]
