"""Chapter 13: tables recomputed, curves, strategies and algorithm 3 on toy trainings, claims."""

import numpy as np
import pandas as pd
import pytest

from qbench import data, reference
from qbench.data import Dataset, Split
from qbench.hardware import device
from qbench.parameters.pruning import FilterPruning
from qbench.pruning import PruningError, measures, runs, strategies
from qbench.pruning.shapes import published
from qbench.studies import pruning, pruning_claims, pruning_page, pruning_tables

SMOKE = FilterPruning(iterations=2, seeds=[0, 1])


# Tables of the thesis


@pytest.mark.parametrize(("name", "slips"), [("AlexNet", 1), ("TinyYolo", 8)])
def test_operation_shares_are_the_printed_ones_to_the_digit(name, slips):
    found = pruning_tables.shares(name)
    layers = found["layer"].nunique()
    by = found.groupby("quantity")["verdict"].agg(list)
    for quantity in ("kernel", "filters", "operations_share"):
        assert by[quantity] == ["exact"] * layers, quantity
    assert by["feature_map"].count("erratum") == slips
    assert by["feature_map"].count("exact") == layers - slips
    memory = found[found["quantity"] == "memory_share"]
    assert len(memory) == (5 if name == "AlexNet" else 8)
    assert (memory["why"] != "").all() and not (memory["verdict"] == "erratum").any()
    ours = found[found["quantity"] == "operations_share"]["ours"]
    assert ours.sum() == pytest.approx(100, abs=0.02)


def test_other_map_sizes_would_not_give_the_printed_shares():
    """The errata's arithmetic: with the printed 8 pixels Conv5 would have 1.5 %, not 4.48 %."""
    units = published("AlexNet").units()
    conv5 = sum(one.mw * one.mh for one in units["Conv5"])
    rest = sum(one.mw * one.mh * one.vectors for n, g in units.items() if n != "Conv5" for one in g)
    assert 100 * conv5 * 14**2 / (rest + conv5 * 14**2) == pytest.approx(4.48, abs=0.005)
    assert 100 * conv5 * 8**2 / (rest + conv5 * 8**2) < 1.6


def test_implementation_tables_agree_with_themselves_but_for_their_errata():
    found = pruning_tables.implementations()
    assert len(found) == 15 + 6
    wrong = found[found["verdict"] == "erratum"]
    named = wrong.set_index(["variant", "quantity"]).index
    assert set(named) == {key[1:] for key in pruning_tables.SLIPS if key[1].startswith("Pruned")}
    assert (wrong["why"] != "").all()
    cut = found[found["verdict"] == "matches"]
    assert cut[["variant", "quantity"]].to_numpy().tolist() == [["Original", "throughput_per_klut"]]
    assert set(found["verdict"]) == {"exact", "erratum", "matches"}


def test_designs_at_the_printed_cycles():
    found = pruning_tables.designs()
    assert len(found) == 7
    fixed = found[(found["where"] == "Table 4.3") & (found["network"] == "AlexNet")]
    assert fixed["cycles"].max() / fixed["cycles"].min() < 1.001  # parallelism was kept
    scaled = found[(found["where"] == "Table 4.4") & (found["variant"] == "Pruned-40%")].iloc[0]
    assert scaled["products"] > scaled["dsp"], "the erratum: more products a cycle than DSPs"
    others = found.drop(index=scaled.name)
    others = others[others["network"] == "AlexNet"]
    assert (others["products"] <= others["dsp"]).all()
    assert (others["ours_dsp"] / others["dsp"]).between(0.9, 1.05).all()
    errata = reference.errata("faraone2021").set_index("erratum")
    assert "3 × 60 × 18 = 3,240" in errata.loc["dsp_pruned_40_scaled", "arithmetic"]
    assert 3 * 60 * 18 == 3240 > scaled["dsp"]


def test_strategies_on_the_published_shapes():
    found = pruning_tables.compared("AlexNet", iterations=2)
    assert len(found) == 6
    for _, rows in found.groupby("strategy"):
        assert rows["pruned"].iloc[0] == 0 and rows["pruned"].is_monotonic_increasing
        for part in ("operations", "bram_thesis", "lut", "interval"):
            assert rows[part].is_monotonic_decreasing, part
    ends = found.groupby("strategy").last()
    assert ends["operations"]["resource-aware"] < ends["operations"]["even"]


def test_claims_about_shapes():
    found = pruning_claims.of_shapes()
    assert set(found["verdict"]) <= set(reference.VERDICTS) and len(found) == 17
    said = dict(zip(found["claim"], found["verdict"], strict=True))
    assert said["A reuse of 1 needs no feature map memory."] == "trend"
    assert [said[claim] for claim in said if " as those to prune." in claim] == ["trend"] * 2
    assert (found.loc[found["verdict"] == "differs", "why"] != "").all()


# Trainings


def made_up(p, gains):
    """The table of `pruning.table`, its errors by (ranking, iteration)."""
    rows = []
    for seed in p.seeds:
        rows.append(("binary", "", 0, 0.0, 100, seed, 1.0, 40.0, 40.0 + seed))
        for ranking in p.rankings:
            for step in range(1, p.iterations + 1):
                error = 40.0 + seed - gains(ranking, step) + 0.01 * seed
                row = ("binary", ranking, step, 10.0 * step, 90, seed, 1.0, error, error)
                rows.append(row)
    columns = ["weights", "ranking", "iteration", "pruned", "filters", "seed", "train_loss",
               "valid_error", "test_error"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def test_curves_are_gains_over_the_unpruned_network_of_the_same_seed():
    p = FilterPruning(iterations=2, seeds=[0, 1, 2])
    found = pruning.curves(made_up(p, lambda ranking, step: step * (ranking == "qerror")))
    assert len(found) == 6 and (found["seeds"] == 3).all()
    gains = found.set_index(["ranking", "pruned"])["gain"]
    assert gains["quantisation error", 20] == pytest.approx(2 - 0.01)
    assert gains["random", 10] == pytest.approx(-0.01)
    assert (found["half_width"] < 0.1).all()


def test_with_a_control_gains_are_over_as_much_training():
    p = FilterPruning(iterations=2, seeds=[0, 1], rankings=["qerror"], control=True)
    trained = made_up(p, lambda ranking, step: 3 * step)
    assert not pruning.controlled(trained)
    control = trained[trained["ranking"] == "qerror"].assign(ranking="", pruned=0.0)
    control["test_error"] += 1
    found = pruning.curves(pd.concat([trained, control]))
    gains = found.set_index(["against", "pruned"])["gain"]
    assert gains["unpruned", 20] == pytest.approx(6, abs=0.01)
    assert gains["unpruned, retrained", 20] == pytest.approx(1)
    cells = [one for one in pruning.cells(p) if not one.ranking]
    assert [one.iteration for one in cells] == [0, 1, 2] * 2
    assert cells[2].spec["filters"] == cells[0].spec["filters"] and cells[2].spec["start"]


def test_claims_about_rankings_follow_the_numbers():
    p = FilterPruning(iterations=3, seeds=[0, 1, 2])
    profile = pd.DataFrame({"weights": "binary", "layer": "a", "high": [True] + [False] * 19})
    better = {"qerror": 1.0, "l1": 0.5, "random": -2.0}

    def said(gains):
        found = pruning_claims.of_rankings(made_up(p, gains), profile, "mnist5k")
        assert set(found["seeds"]) <= {"settled", "not settled", ""}
        return dict(zip(found["claim"], found["verdict"], strict=True))

    good, bad = said(lambda r, _: better[r]), said(lambda r, _: -better[r])
    assert len(good) == 5 and set(good.values()) == {"trend"}
    kept = [claim for claim, verdict in bad.items() if verdict == "trend"]
    assert kept == ["At most roughly 10% of the filters of a layer have a much higher quantisation "
                    "error than the rest."]  # fmt: skip


def test_the_study_asks_for_the_first_layers_pruned_evenly():
    p = FilterPruning(iterations=2, weights=["binary", "ternary"], seeds=[0, 1], ranked_layers=2)
    found = pruning.cells(p)
    assert len(found) == 2 * 2 * (1 + 3 * 2)
    own = {"conv1": 6, "conv2": 19, "conv3": 38, "conv4": 26, "conv5": 26}
    for one in found:
        changed = {} if not one.iteration else {"conv1": 5, "conv2": {1: 17, 2: 15}[one.iteration]}
        assert one.spec["filters"] == own | changed
        assert one.spec["seed"] == one.seed and one.spec["weights"] == one.weights
        assert one.spec["ranking"] == (one.ranking or None)
        assert one.spec["epochs"] == (1 if one.iteration else p.epochs)
    longer = FilterPruning(epochs=8, retrained=3)
    assert {one.spec["epochs"] for one in pruning.cells(longer)} == {8, 3}


@pytest.fixture
def accuracies(monkeypatch):
    """Trainings that only have an error, by filters left: none is trained."""

    def error_of(spec, part="valid"):
        lost = 115 - sum(spec["filters"].values())
        return 40 + (0.2 * lost if lost > 0 else 0)

    monkeypatch.setattr(runs, "error_of", error_of)


@pytest.fixture
def sensitivities(monkeypatch):
    names = ["", "conv1", "conv2", "conv3", "conv4", "conv5"]
    errors = [40.0, 60.0, 45.0, 40.5, 41.0, 39.0]
    found = pd.DataFrame({"layer": names, "filters": 1, "valid_error": errors})
    monkeypatch.setattr(measures, "sensitivity", lambda **_: found)
    monkeypatch.setattr(pruning.store, "run", lambda method, **how: method(**how))


def test_courses_have_every_step_whether_accuracy_allows_it_or_not(
    accuracies, sensitivities, monkeypatch
):
    monkeypatch.setattr(runs, "trainings", lambda specs, **_: [])
    p = FilterPruning(iterations=3, strategies=[*strategies.STRATEGIES], tolerance=0, seeds=[0, 1])
    found = pruning.courses(p)
    assert (
        found.groupby(["strategy", "seed"])["iteration"].apply(list).tolist() == [[0, 1, 2, 3]] * 6
    )
    assert found.loc[found["iteration"] == 0, "operations"].nunique() == 1
    for _, rows in found.groupby(["strategy", "seed"]):
        assert rows["filters"].is_monotonic_decreasing and rows["operations"].is_unique
    shared = pruning_page.courses(found)
    assert set(shared["of"]) == {"operations", "block RAM"} and len(shared) == 2 * 3 * 4
    first = shared.groupby(["strategy", "of"])["left"].first()
    assert first.tolist() == [100.0] * 6 and (shared["left"] <= 100).all()


def test_every_strategy_stops_where_accuracy_does(accuracies, sensitivities):
    p = FilterPruning(iterations=3, strategies=[*strategies.STRATEGIES], tolerance=5, seeds=[0])
    found = pruning.compared(p).set_index("strategy")
    assert [*found.index] == ["", *strategies.STRATEGIES]
    assert (found["test_error"] <= 40 + 5).all()
    assert found["iterations"].tolist() == [0, 2, 2, 2]
    for part in ("filters", "operations"):
        assert (found[part].iloc[1:] < found[part].iloc[0]).all(), part
    claims = pruning_claims.of_strategies(found.reset_index(), "mnist5k")["verdict"].tolist()
    parts = ["operations", "bram_thesis"]
    rows, best = found[parts], found.loc["resource-aware", parts]
    everywhere = (rows.iloc[1:] < rows.iloc[0]).all(axis=None)
    wins = (best < rows.loc[["even", "sensitivity"]]).all(axis=None)
    fewer = best["operations"] < rows.loc["sensitivity", "operations"]
    assert claims == [("differs", "trend")[int(holds)] for holds in (everywhere, wins, fewer)]


@pytest.mark.parametrize("tolerance", [0.0, 3.0, 100.0])
def test_algorithm_3_ends_with_an_accurate_network_that_fits(accuracies, tolerance):
    p = FilterPruning(
        iterations=3, strategies=["even"], tolerance=tolerance, seeds=[0], device="Z7020"
    )
    chain = pruning.deployed(p, 0)
    assert runs.error_of(chain[-1]) <= runs.error_of(chain[0]) + tolerance
    assert len(chain) >= (1 if tolerance < 2.2 else 2)
    found = pruning.before_and_after(p)
    assert found["network"].tolist() == ["original", "pruned"]
    there = device("Z7020")
    for part in ("lut", "bram18", "dsp"):
        assert (found[part] <= getattr(there, part)).all()
    assert (found["folded_lut"] <= there.lut).all()
    for rate in ("frame_rate", "folded_frame_rate"):  # fewer filters are never slower
        assert found[rate].iloc[1] >= found[rate].iloc[0], rate


def test_profiles_are_normalised_and_name_outliers(monkeypatch):
    errors = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 9.0])
    found = pd.DataFrame({"layer": "conv1", "filter": range(6), "qerror": errors})
    monkeypatch.setattr(pruning.store, "run", lambda *_, **__: found)
    rows = pruning.profile(SMOKE)
    assert rows["qerror"].tolist() == sorted(errors / 9, reverse=True)
    assert rows["high"].tolist() == [True] + [False] * 5
    assert rows["rank"].iloc[0] == 0 and rows["rank"].iloc[-1] == pytest.approx(100 * 5 / 6)


def test_the_smoke_study_trains_end_to_end(tmp_path, monkeypatch):
    from store_toy import empty_stores

    empty_stores(tmp_path, monkeypatch)
    digits = data.load("mnist5k", size=32, normalise="standard", subset=40)
    cut = [Split(s.images[:30], s.labels[:30]) for s in (digits.train, digits.valid, digits.test)]
    monkeypatch.setattr(runs, "load", lambda *_: Dataset(digits.name, digits.classes, *cut))
    p = FilterPruning(width=0.03, images=40, iterations=1, rankings=["qerror"], seeds=[0],
                      strategies=["sensitivity"], tolerance=100, epochs=1, workers=1)  # fmt: skip
    found = pruning.table(p)
    assert found["iteration"].tolist() == [0, 1] and found["test_error"].notna().all()
    assert len(pruning.curves(found)) == 1
    assert set(pruning.profile(p)["layer"]) == {"conv1", "conv2", "conv3", "conv4", "conv5"}
    assert len(pruning.compared(p)) == 2 and len(pruning.before_and_after(p)) == 2


# Parameters


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"rate": 1},
        {"most": 1.0},
        {"network": "resnet20"},
        {"rankings": ["l3"]},
        {"strategies": []},
        {"iterations": 10},
        {"rate": 0.5, "iterations": 2},
        {"act_bits": 32},
        {"tolerance": -1},
        {"device": "Z9"},
    ],
)
def test_parameters_that_cannot_be(wrong):
    with pytest.raises(ValueError):
        FilterPruning(**wrong)


def test_a_plan_of_too_many_layers_is_a_plan_of_all():
    p = FilterPruning(ranked_layers=99)
    assert len(pruning.cells(p)) == len(p.seeds) * 7
    with pytest.raises(PruningError):
        strategies.plan("even", published("AlexNet"), iterations=1, layers=["FC1"])
