"""Chapter 12: sets found and matched, sizes by synthesis, and what its page says of them."""

import numpy as np
import pandas as pd
import pytest

from qbench import chapters, parameters, reference, store
from qbench.addnet import codebooks, runs
from qbench.hardware import rccm
from qbench.hardware.synthesis import multiplier_grid as grid
from qbench.parameters import AddNet
from qbench.studies import addnet, addnet_area, addnet_lessons, addnet_sets

NAME, TASK = "12_addnet", "mnist5k/perceptron"
BELL = np.exp(-(np.linspace(-3, 3, 31) ** 2) / 2)
COUNTS = {TASK: np.round(1000 * BELL).astype(int)}
LINES = {"2-Add": (2, 12), "3-Add": (3, 19), "4-Add": (4, 31)}
LINES |= {
    "8-bit array": (7, 9),
    "8-bit booth": (4, 8),
    "6-bit array": (5, 6),
    "4-bit array": (3, 4),
}
LINES |= {"6-bit booth": (3, 6), "4-bit booth": (2, 4), "2-bit array": (1, 2)}


def fabric(p, **more):
    """Multipliers on the lines that synthesis gives; `more` tables a bit by multiplier."""
    made = [(name, w) for name in list(LINES)[:5] for w in p.input_bits]
    made += [(name, p.act_bits + 1) for name in list(LINES)[5:]]
    rows = []
    for name, w in made:
        slope, start = LINES[name]
        lut = (slope + more.get(name, 0)) * w + start
        rows.append({"multiplier": name, "input_bits": w, "lut": lut})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def matched():
    return addnet_sets.matchings(AddNet(), COUNTS)


@pytest.fixture
def made(matched, monkeypatch):
    """Trainings in which the 2-Add's matched set is 2 points better than its worst."""
    p = AddNet()
    cells = addnet.cells(p, addnet_sets.chosen(matched))

    def log(cell):
        error = 10 + 2 * cell.weights.endswith("worst") + 0.01 * cell.seed
        return pd.DataFrame({"train_loss": [1.0], "valid_error": [error], "test_error": [error]})

    monkeypatch.setattr(runs, "trainings", lambda asked, **_: [log(cell) for cell in cells])
    return addnet.table(p, addnet_sets.chosen(matched))


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_every_profile_asks_for_trainings_that_can_be(profile):
    p = parameters.check(NAME, **chapters.parameters(chapters.find("12"), profile, {}))
    found = {
        task: {f"{one} {which}": [-1, 0, 1] for one in p.enumerated for which in addnet.FOUND}
        for task in p.tasks
    }
    asked = addnet.cells(p, found)
    for one in asked:
        runs.check(one.spec)
    sets = len(p.rccms) + ("unoptimised" in p.sets) + 2 * len(p.enumerated)
    each = 1 + len(p.methods) + sets + len(p.act_widths) - 1
    assert len(asked) == len(p.tasks) * len(p.seeds) * each


# Sets


def test_sets_regenerate_with_the_sign_and_not_as_printed():
    found = addnet_sets.regenerated().set_index(["multiplier", "topology_b"])
    mended, printed = found.xs("-A2+B1", level=1), found.xs("A2+B1", level=1)
    assert mended.verdict.eq("exact").all() and (mended.shared == mended.published).all()
    assert printed.verdict.eq("erratum").all() and printed.ours.tolist() == [13, 55, 206]


def test_configurations_say_what_each_adder_makes():
    found = addnet_sets.configurations().set_index(["multiplier", "adder"])
    assert len(found) == 2 + 3 + 4
    assert found.factors["2-Add", "1 (A)"] == "4 5 6 12"  # by hand: 4 + 1, 2, 8 and 4 alone
    assert found.factors["4-Add", "4 (B)"] == "207 of them"
    assert found.a_from["3-Add", "3 (B)"] == "adder 1" == found.a_from["4-Add", "3 (A)"]


def test_no_reading_gives_the_printed_counts(monkeypatch):
    asked = []

    def look_up(function, **parameters):
        asked.append(parameters)
        row = {"rccm": "4-Add"} | {n: parameters[n] for n in ("order", "from_zero", "scaled")}
        return pd.DataFrame([row | {"unique_coefficient_sets": 10 + len(asked)}])

    monkeypatch.setattr(store, "run", look_up)
    found = addnet_sets.numbers().set_index("reading")
    assert len(asked) == 3 and found["4-Add"].tolist()[:3] == [11, 12, 13]
    assert np.isnan(found["4-Add"]["any shifts"])
    assert found["2-Add"].tolist() == [1294, 773, 538, 4337, 1145]
    assert found["3-Add"].tolist() == [66303, 40745, 25191, 408039, 44198]


def test_matched_and_worst_have_as_many_coefficients(matched):
    found = addnet_sets.chosen(matched)[TASK]
    assert list(found) == ["2-Add matched", "2-Add worst", "3-Add matched", "3-Add worst"]
    of = addnet_sets.divergences(COUNTS, {TASK: found}).set_index("set")
    for name in ("2-Add", "3-Add"):
        best, worst = of.loc[f"{name} matched"], of.loc[f"{name} worst"]
        assert best.coefficients == worst.coefficients == len(set(found[f"{name} worst"]))
        assert best.divergence < worst.divergence
    assert {len(published) for published in codebooks.published().values()} <= set(of.coefficients)


def test_the_nearest_sets_and_the_one_that_is_chosen(matched):
    found = addnet_sets.nearest(matched)
    for name, rows in found.groupby("multiplier"):
        assert rows["rank"].tolist() == [1, 2, 3, 4, 5] and rows.divergence.is_monotonic_increasing
        (chosen,) = rows[rows.chosen].to_dict("records")
        assert chosen["coefficients"] == rows.coefficients.max()
        best = addnet_sets.chosen(matched)[TASK][f"{name} matched"]
        assert chosen["largest"] == max(best)


def test_distributions_are_shares_of_all_bins(matched):
    found = addnet_sets.distributions(COUNTS[TASK], {"toy": (-2, -1, 0, 1, 2)})
    sums = found.groupby(["set", "what"]).share.agg(["sum", "count"])
    assert np.allclose(sums["sum"], 100) and (sums["count"] == 31).all()
    toy = found[(found.set == "toy") & (found.what == "coefficients") & (found.share > 0)]
    assert toy.share.tolist() == [20] * 5
    assert np.allclose(toy.place, [-1, -0.5, 0, 0.5, 1], atol=1 / 31 + 1e-9)


def test_circuits_of_the_sets_that_are_not_printed(matched):
    p = AddNet(sets=["published", "unoptimised", "matched", "worst"], rccms=["2-Add", "3-Add"])
    found = addnet_sets.circuits(p, matched)[TASK]
    sets = addnet_sets.chosen(matched)[TASK]
    sets["3-Add unoptimised"] = codebooks.published()["unoptimised"]
    assert set(found) == set(sets)
    for name, circuit in found.items():
        assert circuit.architecture == name.split()[0]
        assert circuit.codebook.tolist() == list(sets[name])
    assert set(addnet_sets.circuits(AddNet(sets=["published"]), matched)[TASK]) == set()


# Sizes


def test_luts_of_the_sets_that_are_not_printed(matched, monkeypatch):
    asked = {}

    def sizes(units, widths):
        asked.update(units=units, widths=widths)
        return pd.DataFrame({"multiplier": "any", "coefficients": 9, "lut": range(len(units))})

    monkeypatch.setattr(addnet_area, "synthesise_multipliers", sizes)
    p = AddNet()
    circuits = addnet_sets.circuits(p, matched)
    owned = addnet_area.own(p, circuits)
    assert asked == {"units": list(circuits[TASK].values()), "widths": [p.act_bits + 1]}
    assert dict(zip(owned.multiplier, owned.lut, strict=True)) == {
        name: place for place, name in enumerate(circuits[TASK])
    }
    luts = addnet_area.luts(p, fabric(p), "array", owned, TASK)
    assert luts["2-Add worst"] == 1 and luts["2-Add"] == 2 * 9 + 12
    assert "2-Add worst" not in addnet_area.luts(p, fabric(p), "array", owned, "mnist/other")
    beside = addnet_area.beside_printed(p, fabric(p), owned).set_index("set")
    assert beside.luts["3-Add worst"] == 3 and beside.printed["3-Add worst"] == 3 * 9 + 19
    assert addnet_area.own(AddNet(act_bits=32), circuits).empty


def test_slopes_beside_the_printed():
    p = AddNet()
    found = addnet_area.slopes(fabric(p)).set_index("multiplier")
    assert found.ours.tolist() == pytest.approx([2, 3, 4, 7, 4])
    assert found.verdict.tolist() == ["exact"] * 3 + ["differs"] * 2
    assert found.line["3-Add"] == "3 w + 19"
    other = addnet_area.slopes(fabric(p, **{"2-Add": 1, "8-bit array": 0.4}))
    assert other.verdict.tolist()[::3] == ["differs", "exact"]
    assert addnet_area.slopes(fabric(AddNet(input_bits=[9]))).empty


def test_savings_depend_on_the_baseline():
    found = addnet_area.savings(fabric(AddNet())).set_index("multiplier")
    assert found.array["2-Add"] == pytest.approx(100 * (1 - 30 / 72))
    assert found.booth["3-Add"] == pytest.approx(100 * (1 - 46 / 44))
    assert found.published["2-Add"] == 55.2 and np.isnan(found.published["4-Add"])
    of = claims_of(fabric(AddNet(input_bits=[4, 9, 16])))
    name, rows = "lut_saving_2add", addnet_area.BASELINES["array"]
    assert of.verdict[name, rows] == "differs" and of.ours[name, rows] == "58.33 %"
    assert addnet_area.savings(fabric(AddNet(input_bits=[4, 8], act_bits=4))).empty


def test_areas_are_at_the_width_of_the_activations():
    p = AddNet()
    array, booth = (addnet_area.luts(p, fabric(p), kind) for kind in addnet_area.BASELINES)
    assert array == {"2-Add": 30, "3-Add": 46, "4-Add": 67} | {
        **{"8-bit": 72, "6-bit": 51, "4-bit": 31, "ternary": 11}
    }
    assert booth["8-bit"] == 44 and booth["ternary"] == 11
    assert addnet_area.luts(AddNet(act_bits=32), fabric(p), "array") == {}


def test_what_is_synthesised(monkeypatch):
    asked = []

    def made(units=None, input_bits=()):
        names = [*rccm.WIRING, "8", "8"] if units is None else [u.kind for u in units]
        asked.append((len(names), list(input_bits)))
        return pd.DataFrame({"multiplier": names})

    monkeypatch.setattr(addnet_area, "synthesise_multipliers", made)
    addnet_area.synthesised(AddNet(input_bits=[16, 4]))
    addnet_area.synthesised(AddNet(input_bits=[16, 4], act_bits=32))
    assert asked == [(5, [4, 9, 16]), (5, [9]), (5, [4, 16])]
    assert grid.GENERIC[0].coefficient_bits == addnet_area.BITS


def claims_of(table):
    known = reference.claims("faraone2021")
    known = dict(zip(known["statement"], known["claim"], strict=True))
    found = addnet_area.claims(table)
    return found.assign(name=found["claim"].map(known)).set_index(["name", "baseline"]).sort_index()


def test_claims_about_sizes_follow_the_counts():
    p = AddNet()
    found = claims_of(fabric(p)).verdict
    rows, booth = addnet_area.BASELINES.values()
    assert found["rccm_smaller_than_generic", rows] == "trend"
    assert found["rccm_smaller_than_generic", booth] == "differs"
    assert found["rccm_4add_smaller_than_generic", rows] == "differs"  # already at 8 bits
    assert found["saving_grows_with_activation_bits", rows] == "trend"
    assert found["area_2add_input_bits", ""] == "trend"
    assert found["coefficient_bits_2add", ""] == "exact" == found["coefficient_bits_4add", ""]
    assert found["coefficient_bits_3add", ""] == "erratum"
    other = claims_of(fabric(p, **{"2-Add": 5, "8-bit array": -0.5, "4-Add": -0.5})).verdict
    assert other["rccm_smaller_than_generic", rows] == "differs"
    assert other["area_2add_input_bits", ""] == "differs"
    # As printed: 4 w + 31 against 7.4 w and nothing else
    printed = fabric(p)
    generic = printed.multiplier == "8-bit array"
    printed.loc[generic, "lut"] = np.where(printed.input_bits[generic] > 9, 99, 9)
    assert claims_of(printed).verdict["rccm_4add_smaller_than_generic", rows] == "trend"


def test_claims_on_area_are_judged_with_either_baseline(made):
    p = AddNet()
    found = addnet_area.by_baseline(made, p, fabric(p))
    assert set(found.baseline) == set(addnet_area.BASELINES.values())
    of = found[found.claim.str.startswith("The 4-Add is at least")].set_index("baseline")
    assert of.verdict.tolist() == ["differs"] * 2  # 67 tables: nearly 72, and more than 44
    assert of.ours.nunique() == 2, of.ours.tolist()


# In words


def lessons_of(made, table, p=None):
    p = p or AddNet()
    numbers = pd.DataFrame({"reading": ["a", "printed"], "2-Add": [1, 2], "3-Add": 3, "4-Add": 4})
    numbers.loc[0, ["3-Add", "4-Add"]] = 0
    distances = addnet_sets.divergences(COUNTS, {})
    sets = addnet_sets.regenerated()
    rounded = made[made.act_bits == 8]
    rounded = rounded.assign(test_error=10 + 3 * (rounded.test_error - 10))
    return addnet_lessons.lessons(p, made, rounded, sets, numbers, distances, table)


def test_lessons_follow_the_numbers(made):
    p = AddNet()
    text = lessons_of(made, fabric(p))
    assert "3 of 3 sets of Table 6.2 follow exactly" in text and "13, 55 and 206" in text
    assert "None of 1 readings gives any of the printed numbers" in text
    gain = "2-Add matched over 2-Add worst: perceptron on mnist5k"
    assert f"Only rounded: {gain} +6.00" in text and f"Trained on: {gain} +2.00" in text
    assert "Table 6.2.** Only rounded: 2-Add matched over 2-Add: perceptron on" in text
    assert "farther" in text, "a bell is nearer to the optimised 3-Add"
    assert "58, 36 and 7 % against rows of partial products; 32, -5 and -52 %" in text
    assert "one seed nothing" in lessons_of(made[made.seed == 0], fabric(p))
    assert "**Area." not in lessons_of(made, fabric(p), AddNet(act_bits=32))


def test_scale_in_words():
    assert addnet_lessons.described(AddNet()) == (
        "400 images, 0.0625 of the channels, 1 epoch after 2 in float32, 2 seeds"
    )
    assert "all images, 3 epochs after 9" in addnet_lessons.described(
        AddNet(images=None, width=1, epochs=3, pretrain_epochs=9)
    )


def test_accuracies_are_means_at_the_usual_width(made):
    found = addnet_lessons.accuracies(made, AddNet()).set_index("weights")
    assert found.index.is_unique and found.network.eq("perceptron").all()
    assert found.accuracy["2-Add"] == pytest.approx(89.995)
    assert found.low["2-Add worst"] == pytest.approx(87.99)
    assert found.kind["3-Add matched"] == "made of adders" != found.kind["8-bit"]


def test_nothing_is_enumerated_that_is_not_asked_for():
    p = AddNet(enumerated=["2-Add"])
    found = addnet_sets.chosen(addnet_sets.matchings(p, COUNTS))
    names = {one.weights for one in addnet.cells(p, found)}
    assert "2-Add worst" in names and "3-Add worst" not in names
