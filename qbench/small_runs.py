"""What stored trainings of the small networks share, whichever method: images, recipe, refusals.

A method's `training` is a function marked for the store, with `complete` and `check` of its own;
its parameters `dataset` to `seed` mean the same for all of them, and are checked and used here.
Everything is trained with Adam: a step of Adam does not depend on the scale of the gradient, which
some methods multiply and some do not. The learning rate falls in steps of 0.2 after half and after
three quarters of the epochs, as in Faraone 2021, section 5.6.1.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from qbench import data, lineages
from qbench import training as loops
from qbench.data import specs as specs_of
from qbench.errors import UserError
from qbench.models import small
from qbench.models.errors import ModelError
from qbench.numbers import number, whole

Spec = Mapping[str, Any]  # parameters of a training
SAME = ("dataset", "network", "width")  # in a training and its start
MILESTONES = (0.5, 0.75)  # shares of the epochs after which the learning rate falls
FACTOR = 0.2  # section 5.6.1
EVALUATED = 250  # images at once: they stay in the processor's cache


def check(spec: Spec, error: type[UserError]) -> None:
    """Raise `error` for a network or a recipe that cannot be; `spec` is complete."""
    try:
        small.check(spec["network"], spec["width"])
    except ModelError as fault:  # a sentence that fits here as well
        raise error(str(fault)) from None
    for name, least in (("epochs", 1), ("batch_size", 2)):
        if not whole(spec[name]) or spec[name] < least:
            raise error(f"{name} must be a whole number of at least {least}, not {spec[name]!r}.")
    if not number(spec["learning_rate"]) or spec["learning_rate"] <= 0:
        raise error(f"learning_rate must be a number above 0, not {spec['learning_rate']!r}.")
    if not number(spec["weight_decay"]) or spec["weight_decay"] < 0:
        raise error(f"weight_decay must be a number of at least 0, not {spec['weight_decay']!r}.")
    lineages.check(spec, error=error)


def check_start(spec: Spec, own: Callable[[Spec], None], error: type[UserError]) -> None:
    """Raise `error` unless the start, which `own` checks, is a float32 training of this network."""
    start = spec["start"]
    if start is None:
        return
    if not isinstance(start, Mapping):
        raise error(f"start must be the parameters of a float32 training, or None, not {start!r}.")
    own(start)
    if (start["method"], start["act_bits"]) != ("float32", 32):
        raise error(
            "start must be a training in float32, weights and activations, not "
            f"{start['method']} with activations of {start['act_bits']} bits."
        )
    lineages.check_same(spec, SAME, error=error, what="a training")


def fit(
    model: nn.Module, images: data.Dataset, spec: Spec, *, checkpoint: Path | None, title: str
) -> pd.DataFrame:
    """Train `model` in place with the recipe of `spec`, evaluated after the last epoch.

    `checkpoint` is a folder; returns the table of `qbench.training.fit`.
    """
    return loops.fit(
        model.to(memory_format=torch.channels_last),
        images,
        epochs=spec["epochs"],
        learning_rate=spec["learning_rate"],
        weight_decay=spec["weight_decay"],
        batch_size=spec["batch_size"],
        seed=spec["seed"],
        milestones=MILESTONES,
        factor=FACTOR,
        evaluate_at=(),
        at_once=EVALUATED,
        checkpoint=checkpoint and checkpoint / "state.pt",
        title=title,
    )


def model_of(spec: Spec) -> nn.Module:
    """The network of a training before anything is rounded, with PyTorch's initial weights."""
    known = specs_of.find(spec["dataset"])
    return small.build(
        spec["network"], spec["width"], len(known.classes), inputs=channels(spec["dataset"])
    )


def channels(dataset: str) -> int:
    """1 for digits in grey, 3 for colours."""
    return 1 if len(specs_of.find(dataset).image_shape) == 2 else 3


@lru_cache(maxsize=2)  # trainings of one process share what they only read
def load(dataset: str, images: int | None) -> data.Dataset:
    """A data set as these networks see it: 32×32 pixels, each channel of mean 0 and deviation 1."""
    return data.load(dataset, size=32, normalise="standard", subset=images)
