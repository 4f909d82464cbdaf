"""Training: the recipe, the same numbers however often it is interrupted, and the networks.

The networks are small and the images are 16 random numbers each, brighter where the class says so.
"""

import errno
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
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
    with training._threads(1):
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
    torch.testing.assert_close((model.weight - before).abs(), torch.full_like(before, 0.25))


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


@pytest.mark.parametrize("epochs", range(5))
def test_a_run_interrupted_after_any_epoch_continues_to_the_same_numbers(home, monkeypatch, epochs):
    """The rate falls after epochs 2 and 4, so the schedule is resumed on both sides of a fall."""
    straight, resumed = network(), network()
    settings = {"epochs": 5, "milestones": (0.4, 0.8)}
    whole = train(**settings, model=straight.requires_grad_())
    state = home / "state.pt"
    with monkeypatch.context() as patch:
        stop_after(patch, epochs)
        with pytest.raises(Stop):
            train(**settings, model=copy_at_start(straight), checkpoint=state)
    assert state.exists() == (epochs > 0)
    del resumed
    again = train(**settings, model=copy_at_start(straight), checkpoint=state)
    same(again, whole)
    assert os.listdir(home) == ["state.pt"]
