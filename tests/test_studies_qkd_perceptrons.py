"""Chapter 08: what it asks for, its tables, and what it makes of differences."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench import chapters, parameters, reference
from qbench.qkd import runs
from qbench.studies import qkd_perceptrons as study
from qbench.studies import qkd_perceptrons_claims as judged
from qbench.studies import qkd_perceptrons_tables as shown
from qbench.studies import qkd_tables as tables
from qbench.studies.verdicts import Judge

NAME = "08_qkd_perceptrons"


def asked(profile: str, **more):
    return parameters.check(NAME, **(chapters.parameters(chapters.find("08"), profile, {}) | more))


def made(errors, seeds=(0, 1, 2), scatter=0.0) -> pd.DataFrame:
    """A table as `study.table` gives it: test errors by (network, method, bits, α), quantiser."""
    numbers = np.random.default_rng(0)
    rows = []
    for (network, method, bits, alpha), error in errors.items():
        for seed in seeds:
            said = error + scatter * numbers.normal()
            rows.append(
                {
                    "network": network,
                    "method": method,
                    "weight_bits": bits,
                    "act_bits": bits,
                    "quantiser": "" if bits == 32 else "minmax",
                    "per_channel": False,
                    "alpha": alpha,
                    "seed": seed,
                    "train_error": said,
                    "valid_error": said,
                    "test_error": said,
                }
            )
    return pd.DataFrame(rows)


def as_printed(**shifted):
    """The thesis' own accuracies as if they were ours."""
    rows = judged.published().drop_duplicates(tables.KEYS)
    errors = {
        (r.network, r.method, r.weight_bits, None if r.alpha < 0 else r.alpha): 100 - r.value
        for r in rows.itertuples()
    }
    return made(errors, **shifted)


def contrasts(table):
    return tables.contrasts(table, judged.published(), judged.CONTRASTS)


def beside(table):
    return tables.beside_published(table, judged.published(), study.TITLES)


def test_every_profile_asks_for_phases_that_can_be():
    for profile in ("smoke", "laptop", "paper"):
        for cell in study.cells(asked(profile)):
            runs.check(cell.spec)


def test_the_paper_profile_has_every_printed_accuracy():
    cells = study.cells(asked("paper"))
    ours = {(c.network, c.method, c.bits, -1.0 if c.alpha is None else c.alpha) for c in cells}
    printed = judged.published()
    assert len(printed) > 40
    assert {tuple(row) for row in printed[tables.KEYS].to_numpy()} <= ours


def test_the_recipes_are_those_of_the_thesis_at_full_length():
    cells = study.cells(asked("paper", share=1, seeds=[0]))
    of = {(c.network, c.method, c.bits, c.quantiser, c.alpha): c.spec for c in cells}
    dnn = of["dnn800", "baseline", 32, "", None]
    assert (dnn["epochs"], dnn["drops"], dnn["factor"], dnn["warm_up"]) == (
        160,
        [40, 80, 120],
        0.5,
        2,
    )
    kd = of["dnn30", "kd", 32, "", 0.2]
    assert (kd["temperature"], kd["batch_size"], kd["factor"], kd["teacher"]) == (3, 32, 0.2, dnn)
    qkd = of["kl_mlp_student", "qkd", 4, "minmax", None]
    co = qkd["start"]
    assert (qkd["phase"], qkd["epochs"], qkd["learning_rate"]) == ("ts", 40, 0.1)
    assert qkd["teacher"] == co
    assert (co["phase"], co["epochs"], co["learning_rate"]) == ("cs", 50, 0.01)
    assert co["teacher"]["network"] == "kl_mlp_teacher"
    assert (co["start"]["phase"], co["start"]["epochs"]) == ("ss", 30)
    assert co["start"]["start"]["epochs"] == 100
    assert of["kl_mlp_student", "long qat", 4, "minmax", None]["epochs"] == 120


@pytest.mark.parametrize(
    ("phases", "methods"),
    [
        ([30, 50, 0], {"qat", "long qat", "qkd"}),
        ([0, 50, 40], {"qat+kd", "qkd"}),
        ([30, 0, 40], {"qat", "long qat", "qat+kd"}),
        ([30, 0, 0], {"qat", "long qat"}),
    ],
)
def test_a_phase_without_epochs_is_left_out(phases, methods):
    cells = study.cells(asked("smoke", phases=phases))
    ours = {c.method for c in cells if c.network == study.STUDENT} - {"baseline", "kd", "ptq"}
    assert ours == methods


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"phases": [0, 0, 0]},
            "phases must be a list of three whole numbers of at least 0 that are not all 0",
        ),
        ({"phases": [1, 2]}, "phases must be a list of three whole numbers"),
        ({"bits": [0]}, "bits must be .*, each a whole number of at least 1 and at most 8"),
        ({"bits": "8,9"}, "bits must be .*, each a whole number of at least 1 and at most 8"),
        ({"share": 0}, "share must be a number above 0 and at most 1"),
        ({"images": 0}, "images must be a whole number of at least 1"),
        ({"quantisers": ["minmaxx"]}, "quantisers must be a list"),
        ({"temperature": 0}, "temperature must be a number above 0"),
    ],
)
def test_refused_parameters(values, sentence):
    with pytest.raises(parameters.ParameterError, match=sentence):
        parameters.check(NAME, **values)


def test_every_count_of_section_5_8_is_exact():
    found = shown.sizes()
    counts = found[found.quantity == "parameters"]
    assert len(counts) == 12
    assert set(counts.verdict) == {"exact"}
    assert set(found.verdict) <= {"exact", "differs"}


def test_the_thesis_agrees_with_itself():
    table = as_printed(scatter=0.05)
    found = beside(table)
    off = found[found.verdict == "differs"]
    assert len(found) >= 40
    assert len(off) <= 0.1 * len(found)


def test_differences_below_chance_are_called_so():
    found = contrasts(as_printed(scatter=0.1)).set_index("contrast")
    assert found.loc["student at 8 bits, QKD over QAT", "published"] == pytest.approx(0.44)
    assert found.loc["student at 8 bits, QKD over QAT", "published_clear"] == "yes"
    assert found.loc["DNN-800 over DNN-1200", "published"] == pytest.approx(0.05)
    assert found.loc["DNN-800 over DNN-1200", "published_clear"] == "no"


def test_one_seed_can_tell_nothing():
    found = contrasts(as_printed(seeds=(0,)))
    assert set(found.published_clear) == {"cannot tell"}
    assert set(found.ours_clear) == {"cannot tell"}
    assert "single seed" in tables.agreement(beside(as_printed(seeds=(0,))),
                                             as_printed(seeds=(0,)))  # fmt: skip


def test_claims_hold_on_the_thesis_own_numbers():
    found = judged.claims(as_printed(), "mnist").set_index("claim")
    statements = reference.claims(tables.VAILAKIS).set_index("claim")["statement"]
    said = {name: found.verdict.get(text) for name, text in statements.items()}
    for name in (
        "dnn_800_is_best_dnn",
        "kd_improves_both_dnn_students",
        "kd_helps_small_networks_most",
        "dnn_30_best_alpha",
        "kd_student_beats_kl_mlp_teacher",
        "ptq_4_bit_degrades_most",
        "ptq_8_bit_varies",
        "qkd_student_beats_kl_mlp_teacher",
        "qkd_beats_qat",
        "co_studying_contributes",
    ):
        assert said[name] == "trend", name


def test_claims_are_settled_where_seeds_leave_no_doubt():
    def said(scatter, **more):
        found = judged.claims(as_printed(scatter=scatter, **more), "mnist").set_index("claim")
        statements = reference.claims(tables.VAILAKIS).set_index("claim")["statement"]
        return {name: found["seeds"].get(text) for name, text in statements.items()}

    exact, noisy = said(0.001), said(0.1)
    assert {exact["dnn_800_beats_dnn_1200"], exact["qkd_beats_qat"]} == {"settled"}
    assert noisy["dnn_800_beats_dnn_1200"] == "not settled"  # 0.05 points
    assert noisy["qkd_beats_qat"] == "settled"  # 0.44 points
    alone = said(0.0, seeds=(0,))
    assert alone["qkd_beats_qat"] == "one seed: cannot tell"


@given(
    means=st.lists(st.sampled_from([-2.0, -0.1, 0.1, 2.0]), min_size=1, max_size=4),
    scatter=st.sampled_from([0.01, 1.0]),
)
def test_a_verdict_over_differences_is_as_sure_as_those_that_decide_it(means, scatter):
    judge = Judge(as_printed(), "why")
    numbers = np.random.default_rng(0)
    differences = [pd.Series(mean + scatter * numbers.normal(size=5)) for mean in means]
    every, some = (call(differences, spread=scatter) for call in (judge.every, judge.some))
    over = [one.mean() > 0 for one in differences]
    sure = [tables.clear(one, scatter) for one in differences]
    assert (every.holds, some.holds) == (all(over), any(over))
    refuted = any(s for s, o in zip(sure, over, strict=True) if not o)
    shown = any(s for s, o in zip(sure, over, strict=True) if o)
    assert every.sure == (all(sure) if every.holds else refuted)
    assert some.sure == (shown if some.holds else all(sure))
    assert (every & some) == every  # all of them implies one of them
    assert ~~every == every


def test_no_difference_is_none_above_0():
    judge = Judge(as_printed(), "why")
    assert not judge.some([pd.Series([0.0, 0.0]), pd.Series([-1.0, -1.1])]).holds


def test_a_training_that_diverged_is_named_and_left_out():
    table = as_printed(scatter=0.01)
    gone = (table.method == "qat") & (table.seed == 1) & (table.weight_bits == 8)
    gone &= table.network == study.STUDENT
    lost = table.assign(test_error=table.test_error.mask(gone),
                        valid_error=table.valid_error.mask(gone))  # fmt: skip
    text = tables.diverged(lost, study.TITLES)
    assert f"1 of the {len(table)} trainings diverged" in text
    assert "KL_MLP_Student, QAT (SS) at 8 bits (minmax): 1" in text
    assert tables.diverged(table, study.TITLES) == f"None of the {len(table)} trainings diverged."
    whole, found = contrasts(table), contrasts(lost)
    assert found.ours.notna().all()
    assert (whole.half < found.half).any()
    before = tables.recommended(table, study.STUDENT)
    after = tables.recommended(lost, study.STUDENT)
    assert "QAT (SS)" not in " ".join(after[["best", "as good"]].iloc[0])
    assert len(after) == len(before)
    assert len(judged.claims(lost, "mnist")) == len(judged.claims(table, "mnist"))


def test_the_best_training_and_its_equals():
    errors = {
        ("kl_mlp_student", "baseline", 32, None): 1.5,
        ("kl_mlp_teacher", "baseline", 32, None): 1.4,
    }
    for bits, ptq in ((8, 1.5), (2, 60.0)):
        errors |= {
            ("kl_mlp_student", "ptq", bits, None): ptq,
            ("kl_mlp_student", "qat", bits, None): 1.6,
            ("kl_mlp_student", "qkd", bits, None): 1.5,
        }
    found = tables.recommended(made(errors, scatter=0.05), study.STUDENT).set_index("bits")
    assert "PTQ" not in found.loc[2, "as good"]
    assert "PTQ" in found.loc[8, "as good"] + found.loc[8, "best"]
    assert found.loc[2, "PTQ (%)"] == pytest.approx(40, abs=0.2)
    alone = made(errors, scatter=0.05).query("seed == 0")
    assert set(tables.recommended(alone, study.STUDENT)["as good"]) == {tables.ONE_SEED}


def with_learnt(bits, errors) -> pd.DataFrame:
    """Trainings of the student by ranges: minmax guesses at 1 bit, learnt intervals do not."""
    float32 = {(study.STUDENT, "baseline", 32, None): 1.5}
    parts = []
    for ranges, by_method in errors.items():
        rows = made(
            float32 | {(study.STUDENT, m, bits, None): error for m, error in by_method.items()}
        )
        quantised = rows["weight_bits"] < 32
        parts.append(rows[quantised].assign(quantiser=ranges))
    return pd.concat([rows[~quantised], *parts], ignore_index=True)


def test_ptq_is_beside_the_best_training_in_its_own_ranges():
    table = with_learnt(
        2, {"minmax": {"ptq": 60.0, "qat": 9.0}, "learnt": {"ptq": 6.0, "qat": 2.5}}
    )
    found = tables.recommended(table, study.STUDENT).iloc[0]
    assert (found["ranges"], found["PTQ (%)"]) == ("learnt", 94.0)


def test_lessons_tell_guessing_and_say_which_ranges_win():
    guess = dict.fromkeys(("ptq", "qat", "qkd", "long qat"), 88.65)
    learnt = {"ptq": 35.0, "qat": 4.0, "qkd": 3.3, "long qat": 3.2}
    one = with_learnt(1, {"minmax": guess, "learnt": learnt})
    eight = dict.fromkeys(guess, 1.6)
    two = with_learnt(8, {"minmax": eight | {"qkd": 1.5}, "learnt": eight})
    text = judged.lessons(pd.concat([one, two[two["weight_bits"] == 8]], ignore_index=True))
    first, bit = text.split("\n")[1:3]
    assert first.startswith("* **8 bits.**") and "guessing" not in first
    assert "QKD (SS+CS+TS) with running averages, 98.50 %" in first
    assert "none of them is better than guessing one class in ten. With learnt" in bit
    assert bit.endswith(
        "Best by validation error: QAT as long as QKD with learnt intervals, 96.80 %."
    )
    last = text.split("\n")[-1]
    assert "at 1 of 2 bit widths" in last
    assert "same ranges, at 1 bit (31.80 points)" in last
    assert "learn the intervals at 1 bit (85.45 points)" in last
    assert "at no bit width (0.80 points at most)" in last
    alone = judged.lessons(two[two["quantiser"] != "learnt"])
    assert "What to choose" not in alone and "learnt" not in alone
    some = judged._down({1: 0.3, 2: 5.0, 3: 2.0, 4: np.nan})  # 1 bit guesses, 4 has no PTQ
    assert some == "at 2 and 3 bits (5.00, 2.00 points)"
    assert judged._down({1: np.nan}) == "at no bit width (0.00 points at most)"


def test_lost_accuracy_is_paired_by_seed():
    errors = {("dnn30", "baseline", 32, None): 2.0, ("dnn30", "ptq", 4, None): 4.5}
    found = tables.lost(made(errors), study.TITLES, "minmax", per_channel=False)
    assert found.to_dict("records") == [{"network": "DNN-30", "bits": "4", "lost": 2.5}]
