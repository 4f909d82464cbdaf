"""Trainings by the methods of chapter 5: codes × scales, one recipe, starts, refusals."""

import numpy as np
import pytest
import torch
from distillation_toy import same
from small_runs_toy import few
from store_toy import empty_stores
from training_toy import Stop

from qbench import checkpoints, paths, store, threads
from qbench import training as loops
from qbench.quantizers.networks import Quantised
from qbench.syq import SyqError, networks, runs

TOY = {
    "dataset": "mnist5k",
    "network": "alexnet_small",
    "width": 0.02,
    "images": 40,
    "epochs": 2,
    "batch_size": 20,
}
METHODS = {
    "float32": {"method": "float32"},
    "float32-a4": {"method": "float32", "act_bits": 4},
    "syq-pixel-ternary": {"granularity": "pixel", "weight_bits": 2, "act_bits": 2},
    "syq-row-binary": {"granularity": "row", "weight_bits": 1, "act_bits": 8},
    "syq-layer-ternary": {"granularity": "layer", "weight_bits": 2},
    "bwn": {"method": "bwn", "act_bits": 4},
    "twn": {"method": "twn"},
    "ttq": {"method": "ttq", "act_bits": 8},
    "dorefa-1": {"method": "dorefa", "act_bits": 2},
    "dorefa-2": {"method": "dorefa", "weight_bits": 2},
}
SCALES = {"pixel": (2, 3), "row": (2,), "layer": ()}  # dimensions with scales of their own


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    empty_stores(tmp_path, monkeypatch)
    monkeypatch.setattr(runs, "load", lambda dataset, images: few())
    with threads.at_most(1):
        yield tmp_path


@pytest.mark.parametrize("how", METHODS.values(), ids=METHODS)
def test_every_training_resumes_to_the_same_numbers(home, monkeypatch, how):
    whole = runs.training(**TOY, **how)
    assert len(whole) == TOY["epochs"] and whole.train_loss.notna().all()
    assert whole.test_error.isna().tolist() == [True, False]
    state = checkpoints.load(runs._weights(runs.complete(TOY | how)))
    real, done = loops._train_epoch, iter(range(9))

    def stopping(*given):
        if next(done):
            raise Stop
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loops, "_train_epoch", stopping)
        with pytest.raises(Stop):
            runs.training(**TOY, **how, checkpoint=home / "work")
    runs._weights(runs.complete(TOY | how)).unlink()
    torch.manual_seed(99)  # what the caller did before has no say
    same(runs.training(**TOY, **how, checkpoint=home / "work"), whole)
    again = checkpoints.load(runs._weights(runs.complete(TOY | how)))
    assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())


@pytest.mark.parametrize("how", METHODS.values(), ids=METHODS)
def test_weights_are_codes_times_scales_afterwards(how):
    spec = TOY | how
    model = runs.network_of(spec)
    found = networks.rounded(model)
    full = runs.complete(spec)
    if full["method"] == "float32":
        assert not found
        return
    assert [*found] == ["conv2", "conv3", "conv4", "conv5", "fc1", "fc2"]
    for weight in found.values():
        apart = {"syq": SCALES.get(full["granularity"], ()), "bwn": (0,)}.get(full["method"], ())
        if weight.ndim == 2 and full["method"] == "syq":
            apart = ()
        groups = weight.movedim(apart, tuple(range(len(apart))))
        groups = groups.reshape(int(np.prod([weight.shape[d] for d in apart])), -1)
        for group in groups:
            sizes = set(group.abs().tolist())
            values = set(group.tolist())
            if full["method"] == "ttq":
                assert len({v for v in values if v > 0}) <= 1 >= len({v for v in values if v < 0})
            elif full["method"] == "dorefa" and full["weight_bits"] == 2:
                levels = torch.tensor([-1, -1 / 3, 1 / 3, 1])
                assert all((levels - value).abs().min() < 1e-6 for value in values)
            else:
                assert len(sizes - {0.0}) == 1
                assert (0.0 in sizes) <= (full["weight_bits"] == 2)


def test_the_first_and_the_last_layer_keep_their_weights():
    model = runs.network_of(TOY | METHODS["syq-pixel-ternary"])
    assert isinstance(model.conv1, torch.nn.Conv2d)
    assert isinstance(model.fc3, Quantised) and isinstance(model.fc3.weights, torch.nn.Identity)
    assert model.fc3.acts.bits == 2


def test_all_methods_share_one_recipe(monkeypatch):
    given = []
    real = loops.fit
    monkeypatch.setattr(
        loops, "fit", lambda model, images, **how: given.append(how) or real(model, images, **how)
    )
    for how in METHODS.values():
        runs.training(**TOY | {"epochs": 1}, **how)
    for one in given:
        assert one.pop("title")
        assert one == given[0]
    assert len(given) == len(METHODS)


def test_scales_start_from_the_weights_of_the_float32_network(monkeypatch):
    float32 = TOY | METHODS["float32"]
    start = runs.weights_of(float32)
    seen = []

    def fit(model, *_, **__):
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        raise Stop

    monkeypatch.setattr(loops, "fit", fit)
    with pytest.raises(Stop):
        runs.training(**TOY, **METHODS["syq-row-binary"], start=float32)
    weight = start["conv2.weight"]
    assert torch.equal(seen[0]["conv2.layer.weight"], weight)
    torch.testing.assert_close(
        seen[0]["conv2.weights.scale"].flatten(), weight.abs().mean(dim=(0, 1, 3))
    )
    assert torch.equal(seen[0]["conv1.weight"], start["conv1.weight"])


def test_starts_are_trained_once_and_stored():
    float32 = TOY | METHODS["float32"]
    asked = [TOY | METHODS[name] | {"start": float32} for name in ("twn", "bwn")]
    tables = runs.trainings([*asked, float32], at_once=1)
    assert len(tables) == 3
    assert sum(1 for _ in store.entries(paths.local_results())) == 3
    assert runs.weights_of(asked[0]).keys() == runs.network_of(asked[0]).state_dict().keys()


def test_scales_before_and_after():
    spec = TOY | METHODS["syq-pixel-ternary"]
    found = store.run(runs.scales, training=runs.complete(spec))
    assert found.groupby("layer", sort=False).size().tolist() == [25, 9, 9, 9, 1, 1]
    assert set(found.scale) == {"pixel", "layer"} and (found.start > 0).all()
    trained = runs.network_of(spec).conv3.weights.scale.flatten()
    assert found[found.layer == "conv3"].trained.tolist() == trained.tolist()
    assert (found.start != found.trained).all()
    found = runs.scales(training=TOY | METHODS["ttq"])
    assert found.scale.tolist() == ["positive", "negative"] * 6 and (found.start == 1).all()
    with pytest.raises(SyqError, match=r"^scales are learnt by syq and ttq, not by 'bwn'\.$"):
        runs.scales(training=TOY | METHODS["bwn"])


REFUSED = [
    ({"method": "xnor"}, "method must be one of float32, syq"),
    ({"method": "syq", "weight_bits": 3}, "weight_bits of syq must be 1 or 2, not 3"),
    ({"method": "dorefa", "weight_bits": 9}, "weight_bits of dorefa must be 1 to 8, not 9"),
    ({"granularity": "channel"}, "granularity of syq must be one of pixel, row, layer"),
    ({"method": "twn", "granularity": "row"}, "for twn it must be None, not 'row'"),
    ({"act_bits": 17}, "act_bits must be a whole number from 1 to 16, or 32"),
    ({"act_bits": 4, "fraction_bits": 40}, "fraction_bits cannot be 40"),
    ({"fraction_bits": 2}, "fraction_bits must be None where activations are float32"),
    ({"scale_gradient": "none"}, "scale_gradient must be one of chain, printed"),
    ({"method": "bwn", "scale_gradient": "printed"}, "scale_gradient of bwn"),
    ({"network": "alexnet"}, "network must be one of alexnet_small"),
    ({"width": 0}, "width must be a number above 0 and at most 4, not 0"),
    ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
    ({"batch_size": 1}, "batch_size must be a whole number of at least 2, not 1"),
    ({"learning_rate": 0}, "learning_rate must be a number above 0"),
    ({"weight_decay": -1}, "weight_decay must be a number of at least 0"),
    ({"seed": -1}, "seed must be a whole number from 0"),
    ({"images": 10**6}, "images must be a whole number from 2 to "),
    ({"start": "float32"}, "start must be the parameters of a float32 training, or None"),
    ({"start": TOY}, "start must be a training in float32"),
    ({"start": TOY | {"method": "float32", "width": 1}}, "keeps the width of its start"),
    ({"color": "red"}, "a training has the parameters of `training`"),
]


@pytest.mark.parametrize(("wrong", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_refused_before_any_work(monkeypatch, wrong, words):
    monkeypatch.setattr(runs, "load", lambda *_: pytest.fail("work began"))
    monkeypatch.setattr(runs, "_new", lambda *_: pytest.fail("work began"))
    with pytest.raises(SyqError) as caught:
        runs.trainings([TOY | wrong])
    said = str(caught.value)
    assert words in said and "\n" not in said and said.endswith(".")


def test_shapes_are_those_of_the_layers_that_are_rounded():
    spec = {"dataset": "cifar10", "network": "alexnet_small", "width": 1}
    found = networks.shapes(runs.model_of(spec), 3)
    assert [(s.name, s.kernel, s.inputs, s.outputs, s.size) for s in found] == [
        ("conv2", 5, 64, 192, 16),
        ("conv3", 3, 192, 384, 8),
        ("conv4", 3, 384, 256, 8),
        ("conv5", 3, 256, 256, 8),
        ("fc1", 1, 4096, 1024, 1),
        ("fc2", 1, 1024, 1024, 1),
    ]
