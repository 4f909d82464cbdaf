"""Chapter 13: what its tables, figures and lessons make of numbers, ours or printed."""

import pandas as pd
import pytest

from qbench import chapters, parameters, reference
from qbench.parameters.pruning import FilterPruning
from qbench.pruning import runs
from qbench.studies import pruning, pruning_claims
from qbench.studies import pruning_page as shown

NAME = "13_pruning"
P = FilterPruning(rankings=["qerror", "l1", "random"], iterations=3, seeds=[0, 1, 2])
BETTER = {"qerror": 1.0, "l1": 0.5, "random": -2.0}


def trained(gains=BETTER, seeds=(0, 1, 2), control=False) -> pd.DataFrame:
    """A table as `pruning.table` gives it: each ranking gains its number a pruning, or nearly."""
    rows = []
    for seed in seeds:
        ways = {"": 0.0} | gains
        for ranking, gain in ways.items():
            steps = range(0 if not ranking else 1, P.iterations + 1)
            for step in steps if ranking or control else [0]:
                error = 40.0 + seed - (gain * step - 0.01 * seed if ranking else 0.25 * step)
                rows.append(("binary", ranking, step, 10.0 * step if ranking else 0.0, seed, error))
    columns = ["weights", "ranking", "iteration", "pruned", "seed", "test_error"]
    return pd.DataFrame(rows, columns=columns)


def profile(high=1) -> pd.DataFrame:
    marks = [True] * high + [False] * (20 - high)
    return pd.DataFrame({"weights": "binary", "layer": "conv1", "high": marks})


def compared() -> pd.DataFrame:
    rows = [("", 0, 0, 40.0, 1000), ("even", 0, 2, 40.5, 640), ("resource-aware", 0, 3, 41, 250)]
    found = pd.DataFrame(
        rows, columns=["strategy", "seed", "iterations", "test_error", "operations"]
    )
    parts = ["filters", "bram_thesis", "lut", "bram18", "dsp", "frame_rate"]
    return found.assign(**dict.fromkeys(parts, 10.0))


def courses(strategies=("even", "resource-aware")) -> pd.DataFrame:
    """Each step leaves 80 % of the operations of the one before, by resources 40 %; costs 1, 3."""
    rows = []
    for name in strategies:
        share, cost = (0.8, 1.0) if name == "even" else (0.4, 3.0)
        for seed in (0, 1):
            for step in range(5):
                rows.append((name, seed, step, 1000 * share**step, 40.0 + cost * step))
    columns = ["strategy", "seed", "iteration", "operations", "test_error"]
    return pd.DataFrame(rows, columns=columns).assign(bram18=10)


def deployed(folded=1.0) -> pd.DataFrame:
    """Before and after: half the resources, twice the rate, `folded` times that of the search."""
    before = {"seed": 0, "network": "original", "filters": 100, "test_error": 40.0}
    before |= {"frame_rate": 1000.0, "lut": 2000, "bram18": 40, "dsp": 8, "bottleneck": "conv1"}
    before |= {"frames_per_klut": 500.0, "frames_per_bram": 25.0, "folded_frame_rate": 100.0}
    before |= {"folded_lut": 500, "folded_bram18": 20}
    after = before | {"network": "pruned", "filters": 50, "test_error": 39.0, "lut": 1000}
    after |= {"frame_rate": 2000.0, "frames_per_klut": 2000.0, "folded_frame_rate": 100 * folded}
    return pd.DataFrame([before, after])


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_every_profile_asks_for_trainings_that_can_be(profile):
    p = parameters.check(NAME, **chapters.parameters(chapters.find("13"), profile, {}))
    found = pruning.cells(FilterPruning(**p.model_dump() | {"seeds": [0], "weights": ["ternary"]}))
    runs.check(max(found, key=lambda one: one.iteration).spec)  # and so all that it starts from
    ways = len(p.rankings) + p.control
    assert len(found) == 1 + ways * p.iterations
    assert "resource-aware" in p.strategies  # what the thesis deploys


# Shapes


def test_reuse_saves_elements_and_fills_memory():
    found = shown.reused()
    assert (found["reuse"] * found["elements"] >= found["elements"].iloc[0]).all()
    assert found["elements"].is_monotonic_decreasing and found["blocks"].is_monotonic_increasing
    assert found["elements"].iloc[0] == 12 * 12 * 3 * 96 * 54 * 54 and found["blocks"].iloc[0] == 0


def test_operation_shares_are_exact_and_the_rest_is_named():
    shares, others = shown.operation_shares(), shown.other_entries()
    assert len(shares) == 8 + 9 and set(shares["verdict"]) == {"exact"}
    assert len(others) == (1 + 5) + (8 + 8) and set(others["verdict"]) == {"erratum", "differs"}
    assert not others["quantity"].isna().any() and not shown.derived().isna().any(axis=None)
    assert set(shown.derived()["verdict"]) == {"erratum", "matches"}


@pytest.mark.parametrize("name", ["AlexNet", "TinyYolo"])
def test_shares_of_the_layers_are_of_all(name):
    found = shown.layers(name)
    assert found.groupby("share_of")["share"].sum().to_numpy() == pytest.approx([100] * 4)
    assert "FC1" not in set(found["layer"])  # on the host


def test_strategies_start_at_the_whole_network():
    found = shown.strategies_by_shape()
    columns = ["operations", "bram_thesis", "lut", "interval"]
    first = found[found["pruned"] == 0]
    assert len(first) == 4 and (first[columns] == 100).all(axis=None)
    assert (found[columns] <= 100).all(axis=None) and len(found) == 4 * 5


def test_designs_savings_and_speed_ups_have_verdicts():
    found = shown.beside_designs()
    assert len(found) == 7 * 3 and set(found["verdict"]) == {"differs", "erratum"}
    slip = found[found["verdict"] == "erratum"]
    assert slip[["where", "variant", "quantity"]].to_numpy().tolist() == [
        ["Table 4.4", "Pruned-40%", "DSPs"]
    ]
    assert "3 × 60 × 18 = 3,240" in slip["why"].iloc[0] and (found["why"] != "").all()
    saved = shown.savings().set_index(["network", "variant", "quantity"])
    assert saved["published"]["AlexNet", "Pruned-40%", "LUTs"] == pytest.approx(-49.6, abs=0.05)
    wrong = saved[saved["verdict"] == "differs"]
    assert wrong.index.tolist() == [("TinyYolo", "Pruned-50%", "LUTs")]
    up = shown.scaled().set_index("variant")
    assert up["published_gain"]["Pruned-40%"] == pytest.approx(6172 / 3265)
    assert (up.loc[["Pruned-30%", "Pruned-40%"], "gain"] > 1).all()
    assert set(up["verdict"]) == {"trend"} and up["gain"].iloc[0] == 1


def test_errata_are_those_of_the_chapter():
    found = shown.slips()
    assert len(found) == 20 and found["where"].str.contains(r" 4\.").all()
    assert not found["printed"].str.contains(r"[\\\\{}$]").any()
    whole = reference.errata("faraone2021")
    assert len(whole) > len(found) and set(found["verdict"]) == {"erratum"}


# Trainings


def test_gains_start_at_none_and_have_the_seeds_around_them():
    found = shown.gains(trained()).set_index(["ranking", "pruned"])
    assert len(found) == 3 * 4
    for ranking in ("quantisation error", "L1 magnitude", "random"):
        assert found["gain"][ranking, 0.0] == 0
    assert found["gain"]["quantisation error", 30.0] == pytest.approx(3 - 0.01)
    assert (found["low"] <= found["gain"]).all() and (found["gain"] <= found["high"]).all()
    assert found["low"]["random", 10.0] == pytest.approx(-2.02)


def test_with_a_control_gains_are_over_as_much_training():
    found = shown.gains(trained(control=True)).set_index(["ranking", "pruned"])["gain"]
    assert found["quantisation error", 20.0] == pytest.approx(2 * (1 - 0.25) - 0.01)
    assert found["random", 0.0] == 0 and len(found) == 12


def test_numbers_of_the_text_are_beside_ours():
    found = shown.beside_figures(trained(), profile())
    assert found["verdict"].tolist() == ["trend", "trend"]
    assert found["published"].tolist() == ["+0.8", "5 to 10"] and found["ours"][1] == "5 to 5"
    worse = shown.beside_figures(trained({"qerror": -1.0}, seeds=[0]), profile(4))
    assert worse["verdict"].tolist() == ["differs", "differs"]
    assert worse["ours"][0] == "-1.00"  # one seed has no interval
    assert len(shown.beside_figures(trained({"l1": 1.0}), profile())) == 1


def test_strategies_are_means_with_names():
    found = shown.strategies_of_ours(pd.concat([compared(), compared().assign(seed=1, lut=20.0)]))
    assert found["strategy"].tolist() == ["not pruned", "every layer alike", "by resources"]
    assert found["lut"].tolist() == [15.0] * 3


def test_effects_are_changes_of_means():
    found = shown.effects(deployed()).set_index(["design", "quantity"])
    change = found["change"]
    assert change["the network", "filters"] == "-50.0 %"
    assert change["the network", "test error (%)"] == "-1.00 points"
    assert change["pixels at once", "images/s at 100 MHz"] == "+100.0 %"
    assert change["a pixel at a time", "images/s a kLUT"] == "+0.0 %"
    assert found["original"]["a pixel at a time", "images/s a BRAM18"] == 5


@pytest.mark.parametrize(
    ("ours", "verdict", "why"),
    [(41.0, "matches", "printed as roughly, in tens"), (60.0, "differs", "no FIFOs")],
)
def test_a_tolerance_is_no_reason_for_a_difference(ours, verdict, why):
    row = pruning_claims._roughly("bram_reduction_40", ours, "no FIFOs")
    assert (row["verdict"], row["why"]) == (verdict, why)


@pytest.fixture
def chain(monkeypatch):
    """A network of a seed that is pruned once and then fine-tuned; none is trained."""
    first = pruning.first_training(P, "binary", 0)
    own = runs.complete(first)["filters"]
    plan = [own | {"conv3": 30}]
    specs = runs.chain(first, [*plan, own | {"conv3": 32}], "qerror", epochs=1)
    monkeypatch.setattr(shown, "plans", lambda *_: {P.strategies[0]: plan})
    monkeypatch.setattr(shown, "deployed", lambda *_: specs)
    monkeypatch.setattr(runs, "error_of", lambda spec, part: 40.0)
    return specs


def test_steps_of_algorithm_3_are_named(chain):
    found = shown.steps(P, 0)
    names = ["trained", "pruned and retrained, 1", "fine-tuned to PE and retrained"]
    assert found["step"].tolist() == names and found["conv3"].tolist() == [38, 30, 32]


@pytest.mark.parametrize("mmv", [True, False])
def test_elements_divide_the_filters(chain, mmv):
    p = FilterPruning(**P.model_dump() | {"mmv": mmv})
    found = shown.elements(p, 0).set_index("layer")
    assert (found["remainder"] == 0).all() and found["filters"]["conv3"] == 32
    assert mmv or (found["mmv"] == 1).all()


def test_lessons_follow_the_numbers():
    text = pruning_claims.lessons(trained(), profile(), courses(), compared(), deployed())
    assert "quantisation error +2.99" in text and "random -6.01" in text
    assert "Quantisation error over chance +9.00: seeds make that clear" in text
    assert "* **Filters that do not fit.** 5 % of the filters" in text
    assert "by resources 3 prunings, which leave 25 % of the operations, +1.00 points" in text
    assert "every layer alike 44.00 % (41 % left), by resources 43.00 % (40 % left)" in text
    assert pruning_claims._alike(courses(["even"])) == []
    assert "2.00 times as fast, with -1.00 points" in text
    assert "1.00 times as fast: conv1 is the slowest there" in text
    quick = pruning_claims.lessons(
        trained(seeds=[0]), profile(), courses(), compared(), deployed(1.5)
    )
    assert "with one seed nothing can be told" in quick and "slowest" not in quick
    assert "over L1 magnitude +1.50" in text and "Retraining alone" not in text
    assert "30 % of the filters of the ranked layers gone" in text and "network as it was" in text
    control = pruning_claims.lessons(
        trained(control=True), profile(), courses(), compared(), deployed()
    )
    assert (
        "network retrained as often" in control
        and "lose nothing, in points: binary +0.75" in control
    )
    alone = trained({"l1": 1.0})
    assert "over chance" not in pruning_claims.lessons(
        alone, profile(), courses(), compared(), deployed()
    )


def test_at_as_many_filters_tinyyolo_keeps_more_operations_by_resources():
    lines = pruning_claims._shapes()
    assert "takes fewer of them" not in lines[0] and "takes fewer of them" in lines[1]


def test_captions_say_the_scale():
    words = shown.described(FilterPruning())
    assert "200 images of mnist5k, 2 epochs, 1 in each retraining, one seed" in words
    longer = shown.described(FilterPruning(epochs=40, images=None, seeds=[0, 1]))
    assert "all images of mnist5k, 40 epochs, 10 in each retraining, 2 seeds" in longer


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"rankings": ["l3"]}, "rankings must be a list of .*qerror, codes, l1, l2, random"),
        ({"strategies": ["evn"]}, "strategies must be .*did you mean even"),
        ({"rate": 1}, "rate must be a number above 0 and below 1"),
        ({"rate": 0.5, "iterations": 2}, "iterations must be .*at a rate of 0.5 they would take"),
        ({"network": "resnet20"}, "network must be one of alexnet_small, vgg_small"),
        ({"device": "Z9"}, "device must be one of"),
        ({"tolerance": -1}, "tolerance must be a number of at least 0"),
        ({"retrained": 0}, "retrained must be a whole number of at least 1, or None"),
        ({"mmv": "perhaps"}, "mmv must be true or false"),
    ],
)
def test_refused_parameters(values, sentence):
    with pytest.raises(parameters.ParameterError, match=sentence):
        parameters.check(NAME, **values)
