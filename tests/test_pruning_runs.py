"""Stored trainings of pruned networks: resumed to the same numbers, chains, thresholds."""

import pytest
import torch
from distillation_toy import same
from small_runs_toy import few
from store_toy import empty_stores
from training_toy import Stop

from qbench import checkpoints, threads
from qbench import training as loops
from qbench.pruning import PruningError, measures, rankings, rebuilding, runs

TOY = {
    "dataset": "mnist5k",
    "network": "alexnet_small",
    "width": 0.05,
    "images": 40,
    "epochs": 2,
    "batch_size": 20,
}
OWN = {"conv1": 3, "conv2": 10, "conv3": 19, "conv4": 13, "conv5": 13}
PRUNED = {"ranking": "qerror", "filters": {"conv2": 7, "conv5": 15}, "start": TOY, "epochs": 1}
WAYS = {
    "binary": {},
    "ternary": {"weights": "ternary", "act_bits": 4},
    "float32": {"weights": "float32"},
    "small": {"filters": {"conv3": 4}},
    "pruned": PRUNED,
    "random": PRUNED | {"ranking": "random", "seed": 3},
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    empty_stores(tmp_path, monkeypatch)
    monkeypatch.setattr(runs, "load", lambda dataset, images: few())
    with threads.at_most(1):
        yield tmp_path


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_every_training_resumes_to_the_same_numbers(home, monkeypatch, how):
    spec = TOY | how | {"epochs": 2}
    whole = runs.training(**spec)
    assert len(whole) == 2 and whole.train_loss.notna().all()
    state = checkpoints.load(runs._weights(runs.complete(spec)))
    real, done = loops._train_epoch, iter(range(9))

    def stopping(*given):
        if next(done):
            raise Stop
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loops, "_train_epoch", stopping)
        with pytest.raises(Stop):
            runs.training(**spec, checkpoint=home / "work")
    runs._weights(runs.complete(spec)).unlink()
    torch.manual_seed(99)  # what the caller did before has no say
    same(runs.training(**spec, checkpoint=home / "work"), whole)
    again = checkpoints.load(runs._weights(runs.complete(spec)))
    assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())


def test_a_retraining_starts_from_the_filters_that_the_ranking_keeps(monkeypatch):
    first = runs.network_of(TOY)
    seen = []

    def fit(model, *_, **__):
        seen.append(model)
        raise Stop

    monkeypatch.setattr(loops, "fit", fit)
    with pytest.raises(Stop):
        runs.training(**TOY | PRUNED)
    weight, quantised = rebuilding.weights(first, "conv2")
    worst = rankings.msqe(weight, quantised).argsort(descending=True)[:3].tolist()
    left = [place for place in range(10) if place not in worst]
    assert torch.equal(seen[0].conv2.layer.weight, weight[left])
    assert torch.equal(seen[0].conv2_norm.running_mean, first.conv2_norm.running_mean[left])
    assert rebuilding.filters(seen[0]) == OWN | PRUNED["filters"]
    added = seen[0].conv5.layer.weight
    assert torch.equal(added[:13], first.conv5.layer.weight) and added[13:].std() > 0


def test_first_and_last_layer_have_8_bits_and_the_others_one():
    model = runs.network_of(TOY | {"epochs": 1})
    for name, most in (("conv1", 256), ("conv3", 2), ("fc1", 2), ("fc3", 256)):
        _, quantised = rebuilding.weights(model, name)
        assert 2 <= len(quantised.unique()) <= most, name
    assert not hasattr(model.conv1.acts, "bits") and model.fc3.acts.bits == 2
    assert len(rebuilding.weights(model, "conv1")[1].unique()) > 2


def test_chains_name_every_step_from_the_first_random_number_on():
    plan = [{"conv1": 2}, {"conv1": 2, "conv2": 8}, {"conv2": 9}]
    specs = runs.chain(TOY | {"epochs": 8}, plan, "l1", learning_rate=5e-4)
    assert [spec["epochs"] for spec in specs] == [8, 2, 2, 2]
    assert [spec["filters"] for spec in specs] == [
        OWN, OWN | {"conv1": 2}, OWN | {"conv1": 2, "conv2": 8}, OWN | {"conv1": 2, "conv2": 9},
    ]  # fmt: skip
    for earlier, later in zip(specs, specs[1:], strict=False):
        assert later["start"] == earlier and later["learning_rate"] == 5e-4
    assert runs.complete(specs[2]) == specs[2]
    reordered = specs[2] | {"filters": dict(reversed(specs[2]["filters"].items()))}
    assert runs.complete(reordered) == specs[2]


def test_a_chain_ends_where_accuracy_does(monkeypatch):
    specs = runs.chain(TOY, [{"conv1": 2}, {"conv2": 9}, {"conv3": 18}], "l1")
    errors = dict(zip(map(str, specs), (20.0, 20.5, 22.0, 10.0), strict=True))
    asked = []
    monkeypatch.setattr(runs, "error_of", lambda spec: asked.append(spec) or errors[str(spec)])
    assert runs.until(specs, 0) == specs[:1]
    assert runs.until(specs, 0.5) == specs[:2]
    assert specs[3] not in asked, "nothing is trained beyond the threshold"
    assert runs.until(specs, 2) == specs
    with pytest.raises(PruningError, match="tolerance must be a number of at least 0"):
        runs.until(specs, -1)


def test_trainings_come_after_what_they_start_from_and_are_stored(monkeypatch):
    first, second = runs.trainings([TOY | PRUNED, TOY], at_once=1)
    assert len(first) == 1 and len(second) == 2
    monkeypatch.setattr(loops, "fit", None)
    same(runs.trainings([TOY], at_once=1)[0], second)
    assert runs.error_of(TOY) == second.valid_error.iloc[-1]


def test_sensitivities_prune_one_layer_at_a_time():
    found = measures.sensitivity(training=runs.complete(TOY), rate=0.5).set_index("layer")
    assert [*found.index] == ["", *OWN]
    assert found["filters"].to_dict() == {"": 0} | {
        name: round(count / 2) for name, count in OWN.items()
    }
    model, numbers = runs.network_of(TOY), torch.Generator()
    assert found.valid_error[""] == loops.error_rate(model, few().valid)
    gone = rankings.first_to_go("qerror", *rebuilding.weights(model, "conv3"), numbers)
    alone = rebuilding.masked(model, {"conv3": gone[9:]})
    assert found.valid_error["conv3"] == loops.error_rate(alone, few().valid)


def test_profiles_hold_the_metrics_of_every_filter():
    found = measures.profile(training=runs.complete(TOY))
    assert found.groupby("layer", sort=False).size().to_dict() == OWN
    weight, quantised = rebuilding.weights(runs.network_of(TOY), "conv4")
    rows = found[found.layer == "conv4"]
    assert rows.qerror.tolist() == rankings.msqe(weight, quantised).tolist()
    assert rows.l1.tolist() == pytest.approx(weight.flatten(1).norm(p=1, dim=1) / weight[0].numel())


def test_the_cost_models_see_the_pruned_network():
    seen = runs.hardware_of(TOY | PRUNED)
    assert seen.filters == OWN | PRUNED["filters"] and seen.name == "AlexNet-small"
    assert seen.channels == 1 and seen.act_bits == 2


REFUSED = {
    "network": ({"network": "alexnet"}, "network must be one of"),
    "residual": ({"network": "resnet20"}, "as in residual networks"),
    "width": ({"width": 0}, "width must be a number above 0"),
    "weights": ({"weights": "septenary"}, "weights must be one of binary, ternary, float32"),
    "act_bits": ({"act_bits": 32}, "both be float32 or both rounded"),
    "emptied": ({"filters": {"conv2": 0}}, "conv2 must keep at least 1 filter"),
    "layer": ({"filters": {"conv9": 2}}, r"no layer 'conv9'.*it has conv1"),
    "filters": ({"filters": 7}, "filters must be a number for each of conv1"),
    "rank": ({"ranking": "l1"}, "give that training as start"),
    "unranked": ({"start": TOY}, "ranking must be one of qerror, codes, l1, l2, random, not None"),
    "ranking": ({"start": TOY, "ranking": "l0"}, "ranking must be one of .* not 'l0'"),
    "start": ({"start": 3, "ranking": "l1"}, "start must be the parameters of an earlier"),
    "other": (PRUNED | {"width": 0.1}, "keeps the width of its start, 0.05, and has 0.1"),
    "epochs": ({"epochs": 0}, "epochs must be a whole number of at least 1"),
    "batch": ({"batch_size": 1}, "batch_size must be a whole number of at least 2"),
    "rate": ({"learning_rate": 0}, "learning_rate must be a number above 0"),
    "decay": ({"weight_decay": -1}, "weight_decay must be a number of at least 0"),
    "seed": ({"seed": -1}, "seed must be a whole number from 0"),
    "images": ({"images": 1}, "images must be a whole number from 2 to"),
    "unknown": ({"epoch": 1}, "a training has the parameters of `training`"),
}


@pytest.mark.parametrize(("how", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_before_any_work(monkeypatch, how, words):
    monkeypatch.setattr(runs, "load", None)
    with pytest.raises(PruningError, match=words) as refused:
        runs.trainings([TOY | how])
    assert "\n" not in str(refused.value) and str(refused.value).endswith(".")


def test_measures_refuse_before_any_work(monkeypatch):
    monkeypatch.setattr(runs, "load", None)
    for how, words in (
        ({"rate": 1}, "rate must be a number above 0 and below 1, not 1"),
        ({"ranking": "l0"}, "ranking must be one of"),
        ({"training": TOY | {"epochs": 0}}, "epochs"),
    ):
        with pytest.raises(PruningError, match=words):
            measures.sensitivity(**{"training": TOY} | how)
