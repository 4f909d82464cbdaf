"""Chapter 12: which trainings are asked for, their tables, ours beside the printed, claims."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from qbench import reference, store
from qbench.addnet import AddnetError, codebooks, runs
from qbench.parameters.addnet import AddNet
from qbench.studies import addnet, addnet_claims, addnet_tables

TASKS = ["cifar10/alexnet_small", "cifar10/resnet20", "mnist/perceptron"]
ALL = {
    "tasks": TASKS,
    "width": 1,
    "sets": ["published", "unoptimised", "matched", "worst"],
    "enumerated": ["2-Add", "3-Add", "4-Add"],
    "methods": ["float32", "8-bit", "6-bit", "4-bit", "ternary", "binary"],
    "act_widths": [2, 8, 16],
    "images": None,
    "seeds": [0, 1, 2],
}
FOUND = {
    task: {
        f"{rccm} {which}": tuple(range(-last * step, last * step + 1, step))
        for rccm, last in (("2-Add", 6), ("3-Add", 28), ("4-Add", 101))
        for which, step in (("matched", 1), ("worst", 3))
    }
    for task in TASKS
}
GAIN = {"float32": 6, "8-bit": 3, "6-bit": 2, "4-bit": 1, "ternary": 0, "binary": -3}
GAIN |= {"2-Add": 4, "3-Add": 5, "4-Add": 6.5, "pre-trained": 5}
LUTS = {"2-Add": 28, "3-Add": 40, "4-Add": 51, "8-bit": 69, "6-bit": 50, "4-bit": 32}


def toy_log(cell):
    """An accuracy that rises with the multiplier, its set, the activations and, a little, seeds."""
    name, _, which = cell.weights.partition(" ")
    accuracy = 70 + GAIN[name] + 0.05 * cell.seed - 2 * (which in ("worst", "unoptimised"))
    if which == "matched":
        accuracy += 1
    if name != "float32":
        accuracy -= max(0, 8 - cell.act_bits) / 2
    error = 100 - accuracy
    names = ["train_loss", "valid_error", "test_error"]
    return pd.DataFrame([[2.0, np.nan, np.nan], [1.0, error, error]], columns=names)


def made_of(p, found, monkeypatch):
    cells = addnet.cells(p, found)
    monkeypatch.setattr(runs, "trainings", lambda asked, **_: [toy_log(one) for one in cells])
    return addnet.table(p, found)


@pytest.fixture
def made(monkeypatch):
    return made_of(AddNet(**ALL), FOUND, monkeypatch)


@pytest.fixture
def rounded(monkeypatch):
    """As `made` would be without training on: 10 points worse, of the worst sets 20."""
    p = AddNet(**ALL)
    cells = {store.key(store.spec(runs.training, **c.spec)): c for c in addnet.cells(p, FOUND)}

    def logs(asked, **_):
        found = [cells[store.key(store.spec(runs.training, **spec))] for spec in asked]
        return [toy_log(c).tail(1) + 10 * (1 + c.weights.endswith("worst")) for c in found]

    monkeypatch.setattr(runs, "only_rounded", logs)
    return addnet.rounded(p, FOUND)


def test_cells_are_what_the_parameters_ask_for():
    cells = addnet.cells(AddNet(**ALL), FOUND)
    # A task and a seed: the start, 6 methods, 3 RCCMs × 3 sets, the unoptimised one, 2 widths.
    assert len(cells) == 3 * 3 * (1 + 6 + 9 + 1 + 2)
    assert len({(c.dataset, c.network, c.weights, c.act_bits, c.seed) for c in cells}) == len(cells)
    assert len({store.key(store.spec(runs.training, **c.spec)) for c in cells}) == len(cells)
    for one in cells:
        runs.check(one.spec)
        assert one.spec["network"] == one.network and one.spec["seed"] == one.seed
    asked = {(c.weights, c.act_bits) for c in cells}
    assert {bits for name, bits in asked if name == "2-Add"} == {2, 8, 16}
    assert {bits for name, bits in asked if name not in ("2-Add", "float32")} == {8, 32}
    assert ("3-Add unoptimised", 8) in asked and ("2-Add unoptimised", 8) not in asked


def test_all_but_the_start_start_from_it_and_share_a_recipe():
    cells = addnet.cells(AddNet(**ALL | {"pretrain_epochs": 7, "epochs": 3}), FOUND)
    recipe = ("width", "learning_rate", "weight_decay", "batch_size", "images", "gradient")
    starts = {
        (c.dataset, c.network, c.seed): c.spec for c in cells if c.weights == addnet.PRETRAINED
    }
    for one in cells:
        assert {n: one.spec[n] for n in recipe} == {n: cells[0].spec[n] for n in recipe}
        start = starts[one.dataset, one.network, one.seed]
        first = one.weights == addnet.PRETRAINED
        assert one.spec["epochs"] == (7 if first else 3)
        assert one.spec["start"] == (None if first else start)
        rounded = one.weights not in (addnet.PRETRAINED, "float32")
        assert one.spec["outer"] == ("4-Add" if rounded else None)


def test_sets_that_are_found_belong_to_a_task():
    found = FOUND | {TASKS[1]: FOUND[TASKS[1]] | {"2-Add worst": [-9, -8, 0, 8, 9]}}
    cells = addnet.cells(AddNet(**ALL), found)
    sets = {
        (c.network, codebooks.read(c.spec["codebook"])) for c in cells if c.weights == "2-Add worst"
    }
    assert ("resnet20", (-9, -8, 0, 8, 9)) in sets and len(sets) == 3


def test_sets_that_are_not_given_are_missed():
    lacking = FOUND | {TASKS[2]: {"2-Add matched": [0, 1]}}
    with pytest.raises(AddnetError) as caught:
        addnet.cells(AddNet(**ALL), lacking)
    assert str(caught.value) == (
        "the coefficients of 2-Add worst for mnist/perceptron must be given where sets are matched "
        "or worst, and they are not among 2-Add matched."
    )
    with pytest.raises(AddnetError, match=r"a codebook must include 0"):
        addnet.cells(AddNet(**ALL), FOUND | {TASKS[0]: {"2-Add matched": [-1, 1]}})


def test_table_has_bits_and_coefficients_of_every_kind(made):
    rows = made.drop_duplicates("weights").set_index("weights")
    assert rows.weight_bits.to_dict().items() >= {
        *{"2-Add": 4, "3-Add": 6, "4-Add": 8, "3-Add unoptimised": 6, "8-bit": 8}.items(),
        *{"4-bit": 4, "ternary": 2, "binary": 1, "float32": 32, "pre-trained": 32}.items(),
    }
    assert rows.coefficients["2-Add"] == 15 and rows.coefficients["6-bit"] == 63
    assert rows.coefficients["ternary"] == 3 and rows.coefficients["binary"] == 2
    assert pd.isna(rows.coefficients["float32"])
    assert addnet_tables.usual_act_bits(made) == 8


def test_ours_beside_table_6_9(made):
    found = addnet_tables.against_published(made)
    rows = found.set_index(["network", "weights"])
    assert len(found) == 3 * 9 and set(found.ours_dataset) == {"CIFAR-10"}
    mine = rows.loc[("AlexNet", "2-Add")]
    assert mine.published == 55.8 and mine.published_loss == pytest.approx(55.1 - 55.8)
    assert mine.ours == pytest.approx(74.05) and mine.ours_loss == pytest.approx(2)
    assert rows.ours_network["ResNet-50", "4-bit"] == "ResNet-20"
    without = addnet_tables.against_published(made[made.weights != "ternary"])
    assert without[without.weights == "ternary"].ours.isna().all()


def test_pairs_in_the_order_of_table_6_9(made):
    found = addnet_tables.order(made)
    rows = found.set_index(["network", "first", "second"])
    table = reference.load("faraone2021", "table_6_9")
    table = table[table.metric == "top1"].groupby(["method", "rccm", "weight_bits"])["value"].mean()
    gap = table["AddNet", "3-Add", 6] - table["fixed_point", "", 6]
    assert rows.published["perceptron", "3-Add", "6-bit"] == pytest.approx(gap)
    assert rows.ours["perceptron", "3-Add", "6-bit"] == pytest.approx(3)
    assert rows.same_sign["perceptron", "3-Add", "6-bit"]
    assert not rows.same_sign["perceptron", "float32", "4-Add"]  # 66.57 and 65.93 there
    assert (found.published > 0).all() and len(found) == 3 * 36


def test_pairs_have_a_column_for_each_network(made):
    found = addnet_tables.order_by_network(addnet_tables.order(made))
    assert len(found) == 36 and found["published"].is_monotonic_decreasing
    rows = found.set_index(["first", "second"])
    networks = {"AlexNet-small on CIFAR-10", "ResNet-20 on CIFAR-10", "perceptron on MNIST"}
    assert networks < set(found)
    assert rows["ResNet-20 on CIFAR-10"]["3-Add", "6-bit"].startswith("+3.00 ± ")
    assert rows["same sign"]["3-Add", "6-bit"] == "3 of 3"
    assert rows["same sign"]["float32", "4-Add"] == "0 of 3"
    assert addnet_tables.order_by_network(addnet_tables.order(made.head(0))).empty


def test_sets_beside_table_6_4(made, rounded):
    found = addnet_tables.matching(made, rounded)
    assert len(found) == 3 * 5 and (found.seeds == 3).all()
    rows = found[found.network == "ResNet-20"].set_index("better")
    assert rows.ours["2-Add matched"] == pytest.approx(3) and rows.ours["3-Add"] == pytest.approx(2)
    assert rows.worse["3-Add"] == "3-Add unoptimised"
    assert rows.rounded["2-Add matched"] == pytest.approx(3 + 10)
    gains = rows.loc[["2-Add matched", "3-Add matched", "4-Add matched"]]
    assert rows.ours["mean of matched"] == pytest.approx(gains.ours.mean())
    assert rows.rounded["mean of matched"] == pytest.approx(gains.rounded.mean())
    assert rows.rounded["3-Add"] == pytest.approx(2)
    assert np.allclose(found.published, 55.8 - 53.8)
    assert addnet_tables.matching(made[made.weights == "2-Add"], rounded).empty


def test_only_what_is_rounded_is_looked_at_before_training_on(rounded):
    assert set(rounded.act_bits) == {8}
    assert not {"float32", "pre-trained"} & set(rounded.weights) and "4-bit" in set(rounded.weights)
    assert len(rounded) == 3 * 3 * (5 + 4 + 6)  # methods, sets, matched and worst ones


def test_adders_that_fit_in_the_area_of_uniform_weights(made):
    found = addnet_tables.equal_area(made, LUTS)
    rows = found[found.network == "ResNet-20"].set_index("uniform")
    assert rows.adders.to_dict() == {"8-bit": "4-Add", "6-bit": "3-Add", "4-bit": "2-Add"}
    assert rows.gain["8-bit"] == pytest.approx(GAIN["4-Add"] - GAIN["8-bit"])
    assert (rows.adders_luts <= rows.uniform_luts).all() and rows.half_width.notna().all()
    narrow = addnet_tables.equal_area(made, LUTS | {"4-bit": 20, "8-bit": 45})
    assert set(narrow.uniform) == {"8-bit", "6-bit"} and "4-Add" not in set(narrow.adders)
    assert addnet_tables.equal_area(made, {}).empty


def test_widths_of_activations_beside_table_6_10(made):
    rows = addnet_tables.activations(made).set_index(["network", "act_bits"])
    assert len(rows) == 3 * 2 and set(rows.weights) == {"2-Add"}
    assert rows.ours["ResNet-20", 2] == pytest.approx(-3)
    assert rows.published["ResNet-20", 2] == pytest.approx(54.3 - 58.2)
    assert rows.ours["ResNet-20", 16] == pytest.approx(0) == rows.published["ResNet-20", 16]


def test_accuracy_against_area(made):
    own = {"2-Add matched": 28, "2-Add worst": 27, "3-Add matched": 50}
    rows = addnet_tables.against_area(made, LUTS | own, "cifar10/resnet20").set_index("weights")
    assert set(rows.index) == set(LUTS | own), "the 4-Add's own sets have no area"
    assert rows.luts["2-Add worst"] == 27 < rows.luts["2-Add"] == 28
    assert rows.which[["2-Add worst", "3-Add", "6-bit"]].tolist() == [
        *("worst", "as printed", "uniform")
    ]
    assert (rows.low <= rows.ours).all() and (rows.ours <= rows.high).all()
    assert set(rows.index[rows.front]) == {
        *("2-Add worst", "2-Add matched", "3-Add", "3-Add matched", "4-Add")
    }
    only = addnet_tables.against_area(made, {"8-bit": 69, "4-bit": 32}, "cifar10/resnet20")
    assert only.front.all()
    assert addnet_tables.against_area(made, LUTS, "mnist/lenet5").empty


def claims_of(made, luts=LUTS):
    known = reference.claims("faraone2021")
    names = dict(zip(known["statement"], known["claim"], strict=True))
    found = addnet_claims.claims(made, luts)
    return found.set_index(found["claim"].map(names))


def test_claims_follow_the_numbers(made):
    found = claims_of(made)
    assert set(found.index) == {
        *("non_uniform_better", "addnet_beats_bits_low", "addnet_beats_bits_high"),
        *("concl_addnet_beats_bitwise", "at_least_8bit_accuracy", "quantisation_improves_some"),
        *("alexnet_2add_equals_float", "resnet18_2add_worst_gap", "matching_equals_float"),
        *("matching_better_than_unoptimised", "activation_8bit_lossless"),
        *("activation_16bit_no_help", "rccm_3add_8bit_better_than_2add_16bit"),
        *("rccm_2add_3add_beat_6bit", "rccm_2add_beats_4bit", "rccm_4add_beats_8bit"),
        "addnet_best_for_area",
    }
    differ = {"alexnet_2add_equals_float", "matching_equals_float", "resnet18_2add_worst_gap"}
    assert set(found.index[found.verdict == "differs"]) == differ
    assert found.verdict[~found.index.isin(differ)].eq("trend").all()
    assert found.ours["matching_better_than_unoptimised"].startswith(
        "2-Add matched over 2-Add worst: AlexNet-small on CIFAR-10 +3.00, "
    )


@pytest.mark.parametrize(
    ("weights", "change", "claim"),
    [
        ("2-Add", -8, "addnet_beats_bits_low"),
        ("2-Add", -3, "addnet_beats_bits_high"),
        ("2-Add", -5, "concl_addnet_beats_bitwise"),
        ("2-Add", -2, "at_least_8bit_accuracy"),
        ("2-Add worst", 4, "matching_better_than_unoptimised"),
        ("3-Add unoptimised", 3, "matching_better_than_unoptimised"),
        ("4-bit", 4, "rccm_2add_beats_4bit"),
        ("6-bit", 4, "rccm_2add_3add_beat_6bit"),
        ("8-bit", 4, "rccm_4add_beats_8bit"),
        ("4-bit", 4, "addnet_best_for_area"),
        ("float32", -7, "activation_16bit_no_help"),
        ("3-Add", -2, "rccm_3add_8bit_better_than_2add_16bit"),
    ],
)
def test_every_claim_can_fail(made, weights, change, claim):
    assert claims_of(made).verdict[claim] == "trend"
    other = made.copy()
    other.loc[other.weights == weights, "test_error"] -= change
    found = claims_of(other)
    assert found.verdict[claim] == "differs" and found.why[claim]


@pytest.mark.parametrize(
    ("weights", "below", "claim"),
    [("2-Add", 2, "alexnet_2add_equals_float"), ("2-Add matched", 1, "matching_equals_float")],
)
def test_equal_to_float32_is_what_the_thesis_calls_equal(made, weights, below, claim):
    """0.7 points, from Table 6.4."""
    for short, verdict in ((0.6, "trend"), (0.8, "differs"), (-3, "trend")):
        other = made.copy()
        other.loc[other.weights == weights, "test_error"] -= below - short
        assert claims_of(other).verdict[claim] == verdict


def test_smaller_multipliers_are_part_of_the_claims_about_area(made):
    found = claims_of(made, LUTS | {"4-Add": 52})  # fewer than 69, and yet not far fewer
    assert found.verdict["rccm_4add_beats_8bit"] == "differs"
    said = "look-up tables: 4-Add 52, 8-bit 69; far fewer are 25 % fewer or more"
    assert found.ours["rccm_4add_beats_8bit"].endswith(said)
    assert found.verdict["rccm_2add_beats_4bit"] == "trend"
    assert not {"rccm_2add_beats_4bit", "addnet_best_for_area"} & set(claims_of(made, None).index)


def test_a_claim_about_alexnet_is_not_judged_by_another_network(made):
    other = made[made.network != "alexnet_small"]
    about = {"alexnet_2add_equals_float", "matching_equals_float", "resnet18_2add_worst_gap"}
    assert not about & set(claims_of(other).index)
    words = claims_of(made).ours["matching_equals_float"]
    assert "AlexNet-small" in words and "perceptron" not in words.lower()


def test_eight_bits_are_lossless_up_to_what_table_6_10_tells_apart(made):
    assert claims_of(made).verdict["activation_8bit_lossless"] == "trend"
    for change, verdict in ((0.45, "trend"), (0.55, "differs")):
        other = made.copy()
        other.loc[other.act_bits == 16, "test_error"] -= change
        assert claims_of(other).verdict["activation_8bit_lossless"] == verdict


def test_claims_of_one_seed_settle_nothing(made):
    assert set(addnet_claims.claims(made[made.seed == 0], LUTS).seeds) == {"one seed: cannot tell"}


def test_claims_need_their_trainings(made):
    assert addnet_claims.claims(made[made.weights == "2-Add worst"], LUTS).empty


def test_what_is_matched_are_the_weights_of_the_first_seed(monkeypatch):
    p = AddNet(tasks=TASKS[:2], seeds=[3, 4])
    asked = []

    def histogram(function, training, of):
        assert of == "layer"
        asked.append(training)
        counts = np.arange(31) + training["seed"]
        parts = [
            pd.DataFrame({"layer": name, "outer": outer, "bin": range(31), "count": counts})
            for name, outer in (("first", True), ("one", False), ("two", False))
        ]
        return pd.concat(parts)

    monkeypatch.setattr(runs, "trainings", lambda asked, **_: [None for _ in asked])
    monkeypatch.setattr(store, "run", histogram)
    found = addnet.matched_with(addnet.histograms(p))
    assert [one["network"] for one in asked] == ["alexnet_small", "resnet20"]
    assert all(one["method"] == "float32" and one["start"] is None for one in asked)
    assert list(found) == TASKS[:2]
    assert found[TASKS[0]].tolist() == (2 * (np.arange(31) + 3)).tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        {"tasks": ["cifar10"]},
        {"tasks": ["cifar10/vgg_small"]},
        {"tasks": ["imagenet/resnet20"]},
        {"tasks": []},
        {"rccms": ["5-Add"]},
        {"sets": ["best"]},
        {"methods": ["7-bit"]},
        {"act_bits": 17},
        {"act_widths": [8, 0]},
        {"enumerated": ["1-Add"]},
        {"input_bits": [1]},
        {"input_bits": [33]},
        {"width": 0},
        {"epochs": 0},
        {"seeds": [0, 0]},
        {"tasks": ["mnist/perceptron", "mnist5k/perceptron"], "images": 50_000},
    ],
)
def test_refused_parameters(wrong):
    with pytest.raises(ValidationError):
        AddNet(**wrong)


def test_smoke_defaults_are_few():
    found = {"mnist5k/perceptron": FOUND[TASKS[2]]}
    cells = addnet.cells(AddNet(), found)
    # The start, 3 methods, 3 published sets, 2 found ones of the 2-Add and the 3-Add, a width
    assert len(cells) == 2 * (1 + 3 + 3 + 2 * 2 + 1)
    assert {one.network for one in cells} == {"perceptron"}
