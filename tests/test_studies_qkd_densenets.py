"""Chapter 09: what it asks for, both forms, and the thesis' claims."""

import pandas as pd
import pytest

from qbench import chapters, parameters, reference
from qbench.qkd import runs
from qbench.studies import qkd_densenets as study
from qbench.studies import qkd_densenets_claims as judged
from qbench.studies import qkd_tables as tables

NAME = "09_qkd_densenets"


def asked(profile: str, **more):
    return parameters.check(NAME, **(chapters.parameters(chapters.find("09"), profile, {}) | more))


def made(accuracies: dict, ranges=None, seeds=(0, 1)) -> pd.DataFrame:
    """A table as `study.table` gives it, from accuracies by (network, method, bits)."""
    rows = []
    for (network, method, bits), accuracy in accuracies.items():
        for seed in seeds:
            rows.append(
                {
                    "network": network,
                    "method": method,
                    "weight_bits": bits,
                    "act_bits": bits,
                    "quantiser": "" if bits == 32 else (ranges or {}).get(bits, "minmax"),
                    "per_channel": False,
                    "alpha": None,
                    "seed": seed,
                    "train_error": 0.0,
                    "valid_error": 100 - accuracy,
                    "test_error": 100 - accuracy + 0.01 * seed,
                }
            )
    return pd.DataFrame(rows)


def as_printed() -> pd.DataFrame:
    rows = judged.published("cifar10").drop_duplicates(tables.KEYS)
    own = {(r.network, r.method, r.weight_bits): r.value for r in rows.itertuples()}
    own["densenet21", "qat+kd", 4] = own["densenet21", "qat", 4] + 0.3  # of Fig. 5.1, not printed
    own["densenet21", "qkd", 4] = own["densenet21", "qat", 4] + 0.6
    return made(own)


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_every_profile_asks_for_phases_that_can_be(profile):
    for cell in study.cells(asked(profile)):
        runs.check(cell.spec)


def test_the_recipes_are_those_of_the_thesis_at_full_length():
    cells = study.cells(asked("paper", seeds=[0], networks=["densenet21"]))
    of = {(c.network, c.method, c.bits, c.quantiser): c.spec for c in cells}
    float32 = of["densenet21", "baseline", 32, ""]
    assert (float32["epochs"], float32["drops"], float32["factor"]) == (200, [60, 120, 160], 0.2)
    eight, four = (of["densenet21", "qat", b, "minmax"] for b in (8, 4))
    assert (eight["epochs"], eight["learning_rate"], eight["drops"]) == (60, 1e-6, [20, 40])
    assert (four["epochs"], four["learning_rate"]) == (140, 1e-3)
    assert four["drops"] == [20, 40, 60, 80, 100, 120]
    qkd = of["densenet21", "qkd", 8, "minmax"]
    assert (qkd["epochs"], qkd["learning_rate"], qkd["temperature"]) == (100, 1e-3, 8)
    assert (qkd["start"]["epochs"], qkd["start"]["learning_rate"]) == (100, 1e-4)
    assert qkd["start"]["start"] == eight
    assert qkd["teacher"] == qkd["start"]
    assert qkd["start"]["teacher"]["network"] == "densenet63"
    assert of["densenet21", "long qat", 8, "minmax"]["epochs"] == 260
    assert all(spec["augment"] for spec in (float32, eight, qkd))
    assert sum(c.method.startswith("kd ") for c in cells) == 4


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"trained": ["8"]}, "trained must be .* bits from 1 to 8, a slash, and minmax or learnt"),
        ({"trained": "9/learnt"}, "trained must be"),
        ({"student": "densenet20"}, "student must be one of .*, not 'densenet20' .did you mean"),
        ({"images": 10**6}, "images must be a whole number"),
    ],
)
def test_refused_parameters(values, sentence):
    with pytest.raises(parameters.ParameterError, match=sentence):
        parameters.check(NAME, **values)


def test_only_the_modified_form_loses_all_its_batch_norms():
    found = judged.forms(asked("laptop")).set_index("network")
    assert found["left after fusion"].to_dict() == {
        "DenseNet-21": 12,
        "DenseNet-21, modified": 0,
        "DenseNet-37": 20,
        "DenseNet-37, modified": 0,
    }
    assert (found["parameters fused"] < found["parameters"]).all()


def test_claims_hold_on_the_thesis_own_numbers():
    p = asked("laptop", trained=["8/minmax", "4/minmax"])
    found = judged.claims(as_printed(), p).set_index("claim")["verdict"]
    statements = reference.claims(tables.VAILAKIS).set_index("claim")["statement"]
    for name in (
        "qat_8_bit_improves_every_densenet",
        "qat_matters_more_at_4_bit",
        "qat_alone_not_sufficient_on_cifar10",
        "ss_ts_and_qkd_beat_baseline_on_cifar10",
        "qkd_always_beats_qat_on_cifar10",
        "co_studying_contributes",
        "batch_norm_fusion_shrinks_model",
    ):
        assert found[statements[name]] == "trend", name
    assert found[statements["preactivation_prevents_fusion"]] == "differs"


def test_bits_count_in_the_ranges_they_were_trained_with():
    p = asked("laptop")  # 2/learnt
    accuracies = {("densenet21", "ptq", 2): 11.0, ("densenet21", "baseline", 32): 60.0}
    table = pd.concat([made(accuracies), made({("densenet21", "ptq", 2): 35.0}, {2: "learnt"})])
    ours = tables.accuracies(judged.as_trained(table, p)).mean(axis=1)
    assert ours["densenet21", "ptq", 2, -1.0] == pytest.approx(35.0, abs=0.01)
    both = asked("laptop", trained=["2/learnt", "2/minmax"])  # not the mean of two ranges
    ours = tables.accuracies(judged.as_trained(table, both)).mean(axis=1)
    assert ours["densenet21", "ptq", 2, -1.0] == pytest.approx(11.0, abs=0.01)


def test_contrasts_name_the_printed_differences():
    p = asked("laptop", trained=["8/minmax"])
    found = tables.contrasts(as_printed(), judged.published("cifar10"), judged.contrasts(p))
    printed = found.set_index("contrast")["published"]
    assert printed["8 bits, QKD over SS+TS"] == pytest.approx(0.24)
    assert printed["8 bits, QAT over PTQ"] == pytest.approx(0.23)
    assert printed["DenseNet-21, modified over original"] == pytest.approx(0.13)


def test_one_seed_leaves_out_what_seeds_would_tell():
    p = asked("laptop", trained=["8/minmax"])
    every = as_printed()

    def shown(table):
        found = tables.contrasts(table, judged.published("cifar10"), judged.contrasts(p))
        assert set(tables.contrast_formats(found)) <= set(tables.contrasts_shown(found))
        return list(tables.contrasts_shown(found))

    assert shown(every) == list(tables.HEADINGS.values())
    assert shown(every[every["seed"] == 0]) == list(tables.HEADINGS.values())[:3]


def test_lessons_say_what_each_training_wins_back():
    p = asked("laptop", trained=["8/minmax", "2/learnt"])
    own = {("densenet21", "baseline", 32): 52.0}
    for bits, values in ((8, (51.9, 52.5, 52.1)), (2, (10.0, 46.0, 48.0))):
        own |= {
            ("densenet21", m, bits): v for m, v in zip(("ptq", "qat", "qkd"), values, strict=True)
        }
    table = made(own, {2: "learnt"}, seeds=(0,))
    _, eight, two, left = judged.lessons(table, p).split("\n")
    assert "PTQ has 51.90 %, -0.10 points beside float32; QAT 52.50 %, +0.60 beside PTQ" in eight
    assert "Best by validation error is QAT (SS) with 52.50 %: no training with a teacher" in eight
    assert two.startswith("* **2 bits, learnt intervals.**")
    assert "QKD (SS+CS+TS) with 48.00 %, +2.00 points beside QAT (SS), which had fewer" in two
    assert "10,000 test images" in left and "another seed" in left
    longer = made(own | {("densenet21", "long qat", 2): 47.5}, {2: "learnt"})
    text = judged.lessons(longer, asked("laptop", trained=["2/learnt"], seeds=[0, 1]))
    assert "+0.50 points beside QAT, as long as QKD; seeds make that clear." in text


def test_every_row_of_table_5_9_is_beside_ours():
    own = {("densenet21", f"kd {number}", 32): 90.0 + number for number in range(4)}
    found = judged.distilled(made(own, seeds=(0,)))
    assert found["published (%)"].tolist() == [92.36, 92.74, 92.71, 92.32]
    assert found["ours (%)"].tolist() == [90, 91, 92, 93]


def test_what_rounding_costs_is_one_table_of_bits_and_ranges():
    errors = {("densenet21", "baseline", 32): 90.0, ("densenet21", "ptq", 4): 80.0}
    runs = made(errors)
    runs = pd.concat(
        [runs, runs[runs["method"] == "ptq"].assign(per_channel=True, test_error=15.0)]
    )
    found = tables.lost_by_ranges(runs, study.titles(), ["minmax"])
    assert list(found["ranges"]) == ["min, max, tensor", "min, max, channel"]
    assert list(found["lost"]) == pytest.approx([10.0, 4.995])
