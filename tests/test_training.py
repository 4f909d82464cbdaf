"""Training: the recipe, what goes wrong, and what is left as it was."""

import os
import random

import numpy as np
import pytest
import torch
import training_toy
from torch import nn
from torch.nn import functional as F
from training_toy import CLASSES, INPUTS, TINY, Stop, network, stop_after, toy, train

from qbench import threads, training
from qbench.data import Dataset, Split

home = pytest.fixture(training_toy.home, autouse=True)


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


def test_the_seed_sets_weights_and_order_and_dropout():
    settings = {**TINY, "weight_bits": 2, "act_bits": 2, "epochs": 1}
    losses = {
        training.quant_mlp(**settings, seed=seed, dropout=dropout).train_loss[0]
        for seed in (0, 1, 2)
        for dropout in (0.0, 0.2)
    }
    assert len(losses) == 6


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
    torch.set_num_threads(2)
    with threads.at_most(2):
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
