"""Small stacks, images and phases for the tests of `qbench.qkd`; not a test itself."""

import pytest
import torch
from distillation_toy import toy
from torch import nn

from qbench import checkpoints
from qbench.data import Dataset, Split
from qbench.qkd import Bits, Phase, Stack, Teachers, study
from qbench.qkd.networks import Single, calibrate

INPUTS, CLASSES = 12, 3
QUANTISED = (Bits(4, 4), Bits(2, 3, per_channel=True), Bits(1, 1, "learnt"), Bits(3, 8, "learnt"))


def flat(images: int = 23) -> Dataset:
    """Numbers (N, 12) in [0, 1], some of which are greater where the class says so."""
    numbers = torch.Generator().manual_seed(3)

    def split(count: int) -> Split:
        labels = torch.arange(count) % CLASSES
        pixels = torch.rand(count, INPUTS, generator=numbers) / 2
        pixels[torch.arange(count), labels] += 0.5
        return Split(pixels, labels)

    return Dataset("toy", tuple("abc"), split(images), split(7), split(5))


def stack(seeds=(0, 1, 2), hidden=(9, 7), bits: Bits | None = None) -> Stack:
    made = Stack(seeds, inputs=INPUTS, hidden=hidden, classes=CLASSES, bits=bits)
    if bits:
        images = flat().train.images
        calibrate(made, images.expand(len(seeds), *images.shape))
    return made


def convolutional(bits: Bits | None = None) -> Single:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES)),
        )
    made = Single(model, bits)
    if bits:
        calibrate(made, pictures().train.images[None])
    return made


def pictures() -> Dataset:
    return toy(23, side=6)


def teachers(kind: str, members: int = 3) -> Teachers | None:
    """As many teachers as members while co-studying, else two for all of them."""
    if kind not in ("cs", "ts"):
        return None
    count = members if kind == "cs" else 2
    which = list(range(members)) if kind == "cs" else [place % 2 for place in range(members)]
    network = stack(range(5, 5 + count), (11,))
    return Teachers(network, which, [0.2, 0.5, 0.9][:members], [1.0, 4.0, 20.0][:members])


def phase(kind: str = "ss", epochs: int = 3, **more) -> Phase:
    given = {"learning_rate": 0.1, "drops": (2,), "warm_up": 0.5, "batch_size": 5} | more
    return Phase(kind, 0 if kind == "ptq" else epochs, **given)


def train(kind="ss", made=None, images=None, taught=None, epochs=3, seeds=(0, 1, 2), **more):
    """The stack, its tables and its teachers."""
    made = stack(seeds) if made is None else made
    taught = teachers(kind, len(seeds)) if taught is None else taught
    images = flat() if images is None else images
    given = {"progress": False, **more}
    tables = study(made, images, phase(kind, epochs), seeds=seeds, teachers=taught, **given)
    return made, tables, taught


class Stop(BaseException):
    """As a killed process: nothing catches it."""


def stop_after(patch: pytest.MonkeyPatch, epochs: int) -> None:
    """Interrupt the training when the epoch after so many is done, but not kept yet."""
    real, kept = checkpoints.save, []

    def save(file, state):
        if len(kept) == epochs:
            raise Stop
        kept.append(file)
        real(file, state)

    patch.setattr(checkpoints, "save", save)
