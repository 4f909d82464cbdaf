"""Data sets, networks and trainings that take no time; not a test itself.

`small` images have 6×6 pixels and are for `network`, which has what makes a resumed run hard: batch
norm's averages, a 1×1 and a depthwise convolution. `toy` images have the 32×32 pixels that the
book's networks need.
"""

from pathlib import Path

import pandas as pd
import pytest
import torch
from store_toy import empty_stores
from torch import nn

from qbench import data, threads
from qbench.data import Dataset, Split
from qbench.distillation import Cached, Distillation, Offline, Online, Recipe, fit, fitting, runs

CLASSES = tuple("abc")
KINDS = ("none", "cached", "offline", "offline augmented", "online", "online augmented")


def toy(images: int = 40, *, side: int = 32, channels: int = 3) -> Dataset:
    """Noise, a channel of which is brighter where the class says so."""
    numbers = torch.Generator().manual_seed(7)

    def split(count: int) -> Split:
        labels = torch.arange(count) % len(CLASSES)
        pixels = torch.randn(count, channels, side, side, generator=numbers)
        pixels[torch.arange(count), labels % channels] += 1
        return Split(pixels, labels)

    return Dataset("toy", CLASSES, split(images), split(7), split(5))


def small(images: int = 23) -> Dataset:
    return toy(images, side=6)


def network(seed: int = 0, width: int = 4) -> nn.Sequential:
    """(N, 3, H, W) → (N, 3), new, as the seed has it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            *(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, groups=width, bias=False), nn.BatchNorm2d(width)),
            *(nn.Conv2d(width, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            nn.Linear(5, len(CLASSES)),
        )


def teacher(kind: str):
    """One of `KINDS`, with a network of its own; None without a teacher."""
    if kind == "none":
        return None
    taught = network(seed=9, width=8).eval()
    if kind == "cached":
        return Cached(fitting.logits(taught, small().train.images))
    return Online(taught) if kind.startswith("online") else Offline(taught)


def train(
    kind: str = "none", epochs: int = 3, checkpoint: Path | None = None, **more
) -> tuple[nn.Module, pd.DataFrame, object]:
    """`fit` on `small()`: the network, the table and the teacher."""
    names = ("model", "images", "teacher", "distillation", "evaluate_at", "title")
    given = {name: more.pop(name) for name in names if name in more}
    model, images = given.pop("model", None) or network(), given.pop("images", None) or small()
    taught = given.pop("teacher", None) or teacher(kind)
    how = given.pop("distillation", None) or Distillation(0.3, 4.0)
    settings = {"batch_size": 5, "augment": kind.endswith("augmented"), **more}
    table = fit(
        model,
        images,
        Recipe(epochs, **settings),
        distillation=how if taught else None,
        teacher=taught,
        checkpoint=checkpoint,
        progress=False,
        **given,
    )
    return model, table, taught


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Equal to the last bit."""
    pd.testing.assert_frame_equal(a, b, check_exact=True)


def same_network(a: nn.Module, b: nn.Module) -> None:
    """Equal weights and averages, to the last bit."""
    ours, theirs = a.state_dict(), b.state_dict()
    assert list(ours) == list(theirs)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


class Stop(BaseException):
    """As a killed process: nothing catches it."""


def stop_after(patch: pytest.MonkeyPatch, epochs: int) -> None:
    """Interrupt the training when the epoch after so many is trained, but not kept yet."""
    real = fitting.train_epoch

    def train_epoch(*arguments):
        loss = real(*arguments)
        if arguments[6] == epochs + 1:
            raise Stop
        return loss

    patch.setattr(fitting, "train_epoch", train_epoch)


def home(tmp_path, monkeypatch):
    """Empty stores, one thread, and `toy` in place of every data set; what was loaded how."""
    empty_stores(tmp_path, monkeypatch)
    loaded = []

    def load(name: str, *, subset: int | None = None, **how) -> Dataset:
        loaded.append((name, how))
        whole = toy()
        part = Split(whole.train.images[:subset], whole.train.labels[:subset])
        return Dataset(name, whole.classes, part, whole.valid, whole.test)

    monkeypatch.setattr(data, "load", load)
    forget = getattr(runs.load, "cache_clear", lambda: None)  # what is loaded may be kept
    forget()
    with threads.at_most(1):
        yield loaded
    forget()
