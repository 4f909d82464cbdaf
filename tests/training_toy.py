"""A data set, a network and a run of training that take no time; not a test itself.

The images are 16 random numbers each, brighter where the class says so. A test module makes its
own fixture of `home`.
"""

from pathlib import Path

import pandas as pd
import pytest
import torch
from store_toy import empty_stores
from torch import nn

from qbench import threads, training
from qbench.data import Dataset, Split

INPUTS, CLASSES = 16, 3
TINY = {"dataset": "toy", "hidden": 8, "epochs": 3, "batch_size": 20}


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

    def error_rate(model, split, at_once):
        if next(done) == 2 * epochs + 1:  # validation of the next epoch is done, its test begins
            raise Stop
        return real(model, split, at_once)

    patch.setattr(training, "error_rate", error_rate)


def home(tmp_path, monkeypatch):
    """Empty stores, one thread, and `toy` in place of every data set."""
    empty_stores(tmp_path, monkeypatch)
    monkeypatch.setattr(training.data, "load", lambda name, **_: toy())
    with torch.random.fork_rng(devices=[]), threads.at_most(1):
        torch.manual_seed(0)
        yield tmp_path
