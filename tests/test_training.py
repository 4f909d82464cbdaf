"""Training: the recipe, the same numbers however often it is interrupted, and the networks.

The networks are small and the images are 16 random numbers each, brighter where the class says so.
"""

import errno
import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from qbench import paths, store, training
from qbench.data import Dataset, Split
from qbench.models.tfc import quant_tfc
from qbench.quantizers import brevitas_layers

INPUTS, CLASSES = 16, 3


def toy(images: int = 48) -> Dataset:
    """A data set so easy that a few epochs learn it."""
    numbers = torch.Generator().manual_seed(7)

    def split(count: int) -> Split:
        labels = torch.arange(count) % CLASSES
        pixels = torch.rand(count, INPUTS, generator=numbers) / 2
        pixels[torch.arange(count), labels] += 0.5
        return Split(pixels, labels)

    return Dataset("toy", tuple("abc"), split(images), split(31), split(29))


def network(dropout: float = 0.2) -> nn.Sequential:
    """Has what makes a resumed run hard: batch norm's averages and dropout's random numbers."""
    return nn.Sequential(
        nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)
    )


def train(epochs: int = 4, seed: int = 0, checkpoint: Path | None = None, **more) -> pd.DataFrame:
    """`fit` on `toy()`; the network is new and, like dropout, as the seed has it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings = {"learning_rate": 0.01, "batch_size": 20, "images": toy(), **more}
        model = settings.pop("model", None) or network()
        return training.fit(model, epochs=epochs, seed=seed, checkpoint=checkpoint, **settings)


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Equal to the last bit."""
    pd.testing.assert_frame_equal(a, b, check_exact=True)


class Stop(BaseException):
    """As a killed process: nothing catches it."""


def stop_after(patch: pytest.MonkeyPatch, epochs: int) -> None:
    """Interrupt the training right after so many epochs, before the next one is whole."""
    real, done = training.error_rate, iter(range(100))

    def error_rate(model, split):
        if next(done) == 2 * epochs + 1:  # validation of the next epoch is done, its test begins
            raise Stop
        return real(model, split)

    patch.setattr(training, "error_rate", error_rate)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Empty stores, one thread, and `toy` in place of every data set."""
    monkeypatch.setenv("QBENCH_RESULTS", str(tmp_path / "local"))
    monkeypatch.delenv("QBENCH_RECOMPUTE", raising=False)
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(store, "_used", {})
    monkeypatch.setattr(store, "_computed", set())
    monkeypatch.setattr(training.data, "load", lambda name, **_: toy())
    with torch.random.fork_rng(devices=[]), training._threads(1):
        torch.manual_seed(0)
        yield tmp_path


# The recipe


@pytest.mark.parametrize(
    ("epochs", "falls"),  # the first epochs with a tenth and with a hundredth of the rate
    [(1, (2, 2)), (2, (3, 3)), (5, (5, 6)), (10, (10, 11)), (20, (19, 20)), (100, (91, 96))],
)
def test_the_learning_rate_falls_after_90_and_95_percent(epochs, falls):
    model = nn.Linear(INPUTS, CLASSES, bias=False)
    rates = train(epochs, images=toy(images=6), model=model).learning_rate
    expected = [0.01 * 0.1 ** sum(epoch >= fall for fall in falls) for epoch in rates.index + 1]
    assert rates.tolist() == pytest.approx(expected, rel=1e-12)


def test_other_milestones():
    rates = train(4, milestones=(0.25, 0.5)).learning_rate
    assert rates.tolist() == pytest.approx([0.01, 0.001, 0.0001, 0.0001])


def test_the_rate_in_the_table_is_the_one_that_moves_the_weights():
    """Adam's first step is the learning rate in the direction of each gradient's sign."""
    model = nn.Linear(INPUTS, CLASSES, bias=False)
    before = model.weight.detach().clone()
    table = train(1, model=model, batch_size=48, learning_rate=0.25)
    assert table.learning_rate.tolist() == [0.25]
    moved = (model.weight - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25), rtol=0.01, atol=0)


def test_one_row_an_epoch():
    table = train(3)
    columns = ["epoch", "learning_rate", "train_loss", "valid_error", "test_error"]
    assert list(table.columns) == columns
    assert table.epoch.tolist() == [1, 2, 3] and table.epoch.dtype == "int64"
    assert (table.dtypes[columns[1:]] == "float64").all()


def test_training_learns_and_errors_are_percentages():
    table = train(30)
    assert table.train_loss.iloc[-1] < table.train_loss.iloc[0] / 2
    for split, count in (("valid", 31), ("test", 29)):
        errors = table[f"{split}_error"]
        assert errors.iloc[-1] < 10 < errors.iloc[0] <= 100
        wrong = errors * count / 100
        np.testing.assert_allclose(wrong, wrong.round(), atol=1e-9)


def test_every_epoch_visits_every_image_once_in_an_order_of_its_own():
    model, seen = nn.Linear(INPUTS, CLASSES), []
    model.register_forward_pre_hook(lambda m, x: seen.append(x[0]) if m.training else None)
    images = toy().train.images
    train(2, seed=4, model=model)
    assert [len(batch) for batch in seen] == [20, 20, 8] * 2
    for epoch, batches in ((1, seen[:3]), (2, seen[3:])):
        order = training.data.epoch_order(48, 4, epoch)
        assert torch.equal(torch.cat(batches), images[order])
        assert sorted(order) == list(range(48))
    assert not torch.equal(seen[0], seen[3])


@pytest.mark.parametrize(
    ("count", "batch_size", "last"),
    [(6, 6, 6), (7, 3, 6), (8, 3, 8)],  # a batch of one image is skipped
)
def test_train_loss_is_the_mean_over_the_images_seen(count, batch_size, last):
    model, images = nn.Linear(INPUTS, CLASSES), toy(count)
    order = torch.from_numpy(training.data.epoch_order(count, 5, 1))[:last]
    logits = model(images.train.images[order])
    expected = F.cross_entropy(logits, images.train.labels[order]).item()
    table = train(1, 5, images=images, model=model, batch_size=batch_size, learning_rate=1e-9)
    assert table.train_loss[0] == pytest.approx(expected, rel=1e-5)


def test_the_errors_in_the_table_are_those_of_the_trained_network():
    model, images = network(), toy()
    table = train(3, model=model)
    assert table.valid_error.iloc[-1] == training.error_rate(model, images.valid)
    assert table.test_error.iloc[-1] == training.error_rate(model, images.test)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 2500])
def test_error_rate_by_hand(batch_size):
    """The images are the logits; 3 of the 7 are taken for another class."""
    logits = torch.tensor([[9, 0], [0, 9], [9, 0], [0, 9], [1, 2], [2, 1], [0, -1.0]])
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 1])
    model = nn.Sequential(nn.Identity(), nn.Dropout(0.99)).train()
    assert training.error_rate(model, Split(logits, labels), batch_size) == 100 * 3 / 7
    assert training.error_rate(model, Split(logits, logits.argmax(1)), batch_size) == 0
    assert training.error_rate(model, Split(logits, logits.argmin(1)), batch_size) == 100


# The same numbers


def test_two_runs_are_identical_and_another_seed_is_not():
    first = train(seed=0)
    torch.manual_seed(99)  # what the caller did before has no say
    same(train(seed=0), first)
    assert not train(seed=1).train_loss.equals(first.train_loss)


TINY = {"dataset": "toy", "hidden": 8, "epochs": 3, "batch_size": 20}


@pytest.mark.parametrize(("weight_bits", "act_bits"), [(1, 1), (2, 4), (32, 32)])
def test_quant_mlp_is_repeatable_and_resumable(home, monkeypatch, weight_bits, act_bits):
    settings = {**TINY, "weight_bits": weight_bits, "act_bits": act_bits}
    whole = training.quant_mlp(**settings)
    assert len(whole) == 3 and np.isfinite(whole).all(axis=None)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stop):
            training.quant_mlp(**settings, checkpoint=home)
    assert len(training._load(home / "state.pt")["log"]) == 1
    torch.manual_seed(99)
    same(training.quant_mlp(**settings, checkpoint=home), whole)


def test_the_seed_sets_weights_and_order_and_dropout():
    settings = {**TINY, "weight_bits": 2, "act_bits": 2, "epochs": 1}
    losses = {
        training.quant_mlp(**settings, seed=seed, dropout=dropout).train_loss[0]
        for seed in (0, 1, 2)
        for dropout in (0.0, 0.2)
    }
    assert len(losses) == 6


FALLS = {"epochs": 5, "milestones": (0.4, 0.8)}  # the rate falls after epochs 2 and 4


def equal_states(a: Path, b: Path) -> None:
    """Two checkpoints hold the same weights, moments, schedule, random state and log."""
    ours, theirs = (training._load(file) for file in (a, b))
    for name, tensor in ours.pop("model").items():
        assert torch.equal(tensor, theirs["model"][name]), name
    torch.testing.assert_close(ours["optimiser"], theirs["optimiser"], rtol=0, atol=0)
    assert torch.equal(ours["rng"], theirs["rng"])
    assert (ours["log"], ours["schedule"]) == (theirs["log"], theirs["schedule"])


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_run_interrupted_after_any_epoch_continues_to_the_same_numbers(home, monkeypatch, epochs):
    whole = train(**FALLS, checkpoint=home / "whole.pt")
    state = home / "state.pt"
    with monkeypatch.context() as patch:
        stop_after(patch, epochs)
        with pytest.raises(Stop):
            train(**FALLS, checkpoint=state)
    assert len(training._load(state)["log"]) == epochs
    again = train(**FALLS, checkpoint=state, model=network())  # other weights to begin with
    same(again, whole)
    equal_states(state, home / "whole.pt")
    assert sorted(os.listdir(home)) == ["state.pt", "whole.pt"]


def test_a_run_interrupted_in_its_first_epoch_begins_again(home, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 0)
        with pytest.raises(Stop):
            train(checkpoint=home / "state.pt")
    assert os.listdir(home) == []
    same(train(checkpoint=home / "state.pt"), train())


def test_a_run_that_is_interrupted_after_every_epoch_gets_there_too(home, monkeypatch):
    state = home / "state.pt"
    for _ in range(4):
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(Stop):
                train(**FALLS, checkpoint=state)
    same(train(**FALLS, checkpoint=state), train(**FALLS))


def test_a_finished_run_trains_nothing_more(home, monkeypatch):
    whole = train(checkpoint=home / "state.pt")
    monkeypatch.delattr(training, "_train_epoch")
    same(train(checkpoint=home / "state.pt"), whole)


LONG = {"epochs": 60, "seed": 3}


def train_in_a_process(folder: str) -> None:
    torch.set_num_threads(1)
    train(**LONG, checkpoint=Path(folder) / "state.pt")


def test_a_run_killed_at_a_random_moment_continues_to_the_same_numbers(home):
    """Most of its time it writes checkpoints, so that is when the kill comes, as a rule."""
    state, wait = home / "state.pt", random.SystemRandom().uniform(0, 0.2)
    process = multiprocessing.get_context("spawn").Process(
        target=train_in_a_process, args=(str(home),)
    )
    process.start()
    for _ in range(6000):
        if state.exists() or not process.is_alive():
            break
        time.sleep(0.01)
    time.sleep(wait)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode in (-signal.SIGKILL, 0), "it failed before it was killed"
    done = len(training._load(state)["log"])
    assert 1 <= done <= LONG["epochs"]
    same(train(**LONG, checkpoint=state), train(**LONG))


def test_a_damaged_checkpoint_is_said_and_training_begins_again(home, capsys):
    state, whole = home / "state.pt", train()
    for length in (0, 10, 2000):
        train(epochs=1, checkpoint=state)
        state.write_bytes(state.read_bytes()[:length])
        same(train(checkpoint=state), whole)
        assert f"{paths.shown(state)} is damaged" in capsys.readouterr().err
        state.unlink()


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@trials(max_examples=30, deadline=None)
def test_no_flipped_bit_of_a_checkpoint_goes_unnoticed(place, bit):
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.pt"
        train(epochs=1, checkpoint=state)
        assert training._load(state)
        content = bytearray(state.read_bytes())
        content[int(place * len(content))] ^= 1 << bit
        state.write_bytes(content)
        assert training._load(state) is None


def test_a_checkpoint_that_cannot_be_written_is_a_sentence(home, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(store.StoreError, match="No space left") as caught:
        train(checkpoint=home / "state.pt")
    assert str(home.name) in str(caught.value)
    assert os.listdir(home) == []


def test_through_the_store_an_interrupted_run_leaves_and_loses_nothing(home, monkeypatch):
    settings = {**TINY, "weight_bits": 2, "act_bits": 2}
    asked = store.key(store.spec(training.quant_mlp, **settings))
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stop):
            store.run(training.quant_mlp, **settings)
    work = home / "local" / "unfinished" / asked
    assert os.listdir(work) == ["state.pt"]
    real, trained = training._train_epoch, []
    monkeypatch.setattr(training, "_train_epoch", lambda *a: trained.append(a) or real(*a))
    table = store.run(training.quant_mlp, **settings)
    assert len(trained) == 1 and not work.exists()
    same(table, training.quant_mlp(**settings))


# What goes wrong, and what is left as it was


class Factor(nn.Module):
    """Logits so far apart that the loss is infinite where the class is wrong."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(3e38))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, -1.0, -1.0]) * self.factor.expand(len(images), 1)


def nan_images() -> Dataset:
    images = toy()
    images.train.images[5, 3] = float("nan")
    return images


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"images": nan_images()}, "nan"), ({"model": Factor(), "learning_rate": 1e-9}, "inf")],
    ids=["nan", "inf"],
)
def test_a_loss_that_is_not_finite_ends_the_run(home, wrong, said):
    with pytest.raises(FloatingPointError, match=f"^W2A2 seed 0: the loss is {said} in epoch 1"):
        train(title="W2A2 seed 0", checkpoint=home / "state.pt", **wrong)
    assert os.listdir(home) == [], "no checkpoint to continue from"


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_threads_and_random_numbers_of_the_caller_stay(monkeypatch, ends):
    inside = []
    real = training.error_rate
    monkeypatch.setattr(
        training,
        "error_rate",
        lambda *a: inside.append(torch.get_num_threads()) or real(*a),
    )
    if ends == "badly":
        stop_after(monkeypatch, 1)
    with training._threads(2):
        states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        try:
            training.quant_mlp(**TINY, weight_bits=2, act_bits=2)
        except Stop:
            assert ends == "badly"
        assert torch.get_num_threads() == 2 and set(inside) <= {1}
        assert inside or ends == "badly"
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state()[1], states[1])
        assert random.getstate() == states[2]


# The networks


def parameters(model: nn.Module) -> dict[str, int]:
    """How many weights, parameters of batch norm and learnt scales there are."""
    kinds = {"linear": 0, "norm": 0, "scale": 0}
    for name, parameter in model.named_parameters():
        kind = next((kind for kind in ("linear", "norm") if name.startswith(kind)), "scale")
        kinds[kind] += parameter.numel()
    return kinds


@pytest.mark.parametrize(("act_bits", "scales"), [(1, 1), (2, 4), (8, 4), (32, 0)])
@pytest.mark.parametrize("weight_bits", [1, 2, 8, 32])
def test_quant_tfc_has_the_parameters_of_the_papers(weight_bits, act_bits, scales):
    """Of the activations, 1 bit has no scale to learn; the input always has 8 bits or float32."""
    assert parameters(quant_tfc(weight_bits=weight_bits, act_bits=act_bits)) == {
        "linear": 1024 * 64 + 64 * 64 * 2 + 64 * 10,
        "norm": 2 * (3 * 64 + 10),
        "scale": scales,
    }


def test_quant_tfc_of_another_size():
    model = quant_tfc(inputs=20, classes=7, hidden=9)
    assert parameters(model)["linear"] == 20 * 9 + 9 * 9 * 2 + 9 * 7
    assert model(torch.rand(5, 20)).shape == (5, 7)


def quantised(layer: nn.Module) -> torch.Tensor:
    return layer.quant_weight().value.detach()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_of_several_bits_are_a_symmetric_grid_for_every_channel(bits):
    model = quant_tfc(inputs=300, hidden=16, weight_bits=bits, act_bits=2)
    most = 2 ** (bits - 1) - 1
    for name in ("linear1", "linear2", "linear3", "linear4"):
        layer = getattr(model, name)
        weight, grid = layer.weight.detach(), quantised(layer)
        largest = weight.abs().amax(None if name == "linear4" else 1, keepdim=True)
        steps = grid / largest * most
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
        levels = [len(row.round().unique()) for row in steps]
        assert max(levels) <= 2**bits - 1
        assert steps.abs().max().round() == most
        assert ((grid - weight).abs() <= largest / most / 2 * 1.001).all(), "the nearest level"
        if name == "linear1":  # long enough to have every level in every channel
            assert set(levels) == {2**bits - 1}
            assert [len(row.unique()) for row in grid] == levels


def test_weights_of_one_bit_are_their_signs():
    model = quant_tfc(inputs=300, hidden=16, weight_bits=1, act_bits=1)
    for layer in (model.linear1, model.linear2, model.linear3, model.linear4):
        grid = quantised(layer)
        assert len(grid.unique()) == 2 and grid.unique().sum() == 0
        assert torch.equal(grid.sign(), layer.weight.detach().sign())


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_activations_have_as_many_levels_as_their_bits_allow(bits):
    levels = brevitas_layers.hard_tanh(bits)(torch.linspace(-2, 2, 5001)).unique()
    assert len(levels) == 2**bits and levels.abs().max() <= 1
    step = 2 if bits == 1 else 2 / 2**bits  # one bit is -1 and 1
    torch.testing.assert_close(levels.diff(), torch.full((2**bits - 1,), float(step)))


@pytest.mark.parametrize("training_mode", [True, False])
def test_every_layer_of_the_network_sees_quantised_activations(training_mode):
    model, seen = quant_tfc(inputs=50, hidden=16, weight_bits=3, act_bits=2), {}
    for name, layer in model.named_children():
        if name.startswith(("act", "quantise")):
            layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    model.train(training_mode)(torch.rand(400, 50))
    levels = {name: len(out.unique()) for name, out in seen.items()}
    assert levels.pop("quantise_input") == 2**7, "8 bits, of which pixels leave the sign unused"
    assert levels.keys() == {"act1", "act2", "act3"}
    assert levels["act1"] == max(levels.values()) == 2**2


def test_32_bits_are_float32():
    model = quant_tfc(inputs=300, hidden=16, weight_bits=32, act_bits=32)
    kinds = {type(layer) for layer in model}
    assert kinds == {nn.Linear, nn.BatchNorm1d, nn.Hardtanh, nn.Dropout}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    images = torch.rand(1000, 300)
    assert len(model.eval().quantise_input(images).unique()) > 2**10
    only_weights = quant_tfc(inputs=30, hidden=8, weight_bits=2, act_bits=32)
    assert isinstance(only_weights.act1, nn.Hardtanh)
    assert max(len(row.unique()) for row in quantised(only_weights.linear1)) == 3


@pytest.mark.parametrize("bits", [1, 2, 8, 32])
def test_every_parameter_learns(bits):
    torch.manual_seed(0)
    model = quant_tfc(inputs=INPUTS, classes=CLASSES, hidden=8, weight_bits=bits, act_bits=bits)
    split = toy().train
    F.cross_entropy(model(split.images), split.labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert name.endswith("value") or parameter.grad.abs().sum() > 0, name
