"""The trainings that chapters store: one phase of one network with one seed is one result.

A phase is named by the parameters of `study`. What a retraining starts from is a phase itself, so a
specification says how a network came about from the first random number on; `algorithm` lists the
phases of Faraone 2021, algorithm 1. Tables are stored results; weights stay in `results/networks`,
which does not travel with git: where they are missing and needed, `weights_of` trains again.

Every phase is trained by itself, on one thread, and as many as there are cores side by side. To
train several as one would not be quicker: with 1,024 neurons a step is all arithmetic.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from qbench import checkpoints, data, lineages, store, threads
from qbench.data import specs as specs_of
from qbench.models import binary_connect
from qbench.models.errors import ModelError
from qbench.numbers import whole

from .errors import SparsityError
from .networks import Ternary
from .phases import Phase, check_share
from .studying import study as train

Spec = Mapping[str, Any]  # parameters of `study`
Thresholds = float | Sequence[float]  # one number, or two: for convolutions and for the rest
LITTLE = 3e11  # weights seen by images in all: processes would take longer to start
SAME = ("dataset", "network", "width", "act_bits", "eta")  # in a retraining and its start


@store.method(version=1)
def study(
    *,
    dataset: str,
    network: str = "mlp",
    width: int | None = None,
    act_bits: int = 32,
    eta: Thresholds = 0.9,
    strength: float = 0.0,
    sigma: Thresholds | None = None,
    start: Spec | None = None,
    epochs: int = 10,
    learning_rate: float = 0.03,
    fall: float = 0.01,
    batch_size: int = 100,
    images: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """One phase of one network; returns the table of `studying.study`.

    network, width, act_bits: see `models.binary_connect.build`. eta: η of eq. 3.1, 0 for binary
    weights and 1/3 for a uniformly partitioned space; sigma: σ of eq. 3.6, for retrainings; both
    are one number, or for "vgg" a pair, of the convolutions and of the fully connected layers.
    start: parameters of `study`, of the phase whose weights are pruned and retrained; None for new
    weights. `strength` is λ; it and `epochs` to `batch_size`: see `Phase`. images: how many of the
    training images (None: all); digits in [0, 1], images of "vgg" 32×32 and standardised. The seed
    sets the first weights and the order of the images. On one thread.
    Raises `SparsityError` for what cannot be, before any work, and where a layer would lose all its
    weights, before it trains.
    """
    spec = complete({name: value for name, value in locals().items() if name != "checkpoint"})
    check(spec)
    pictures = load(spec["dataset"], spec["network"], spec["images"])
    with threads.at_most(1):
        made = _new(spec)
        if spec["start"] is not None:
            made.load(weights_of(spec["start"]))
            _prune(made, spec)
        table = train(
            made,
            pictures,
            _phase(spec),
            seed=spec["seed"],
            checkpoint=checkpoint and checkpoint / "state.pt",
            title=title(spec),
        )
    checkpoints.save(_weights(spec), made.state())
    return table


def studies(
    asked: Sequence[Spec], *, at_once: int | None = None, title: str = "phases"
) -> list[pd.DataFrame]:
    """`study` for many phases: from the store where it has them, the others `at_once` (None: one a
    core) side by side, each in a process of one thread. What they start from comes first.
    """
    for one in asked:
        check(one)
    specs = [complete(one) for one in asked]
    return lineages.run(study, specs, at_once=at_once, title=title, few=_few)


def algorithm(
    first: Spec, *, sigma: Thresholds | None = None, iterations: int = 1, **retrained: Any
) -> list[dict[str, Any]]:
    """Algorithm 1: the training `first` and so many times pruning and retraining, phase by phase.

    sigma: σ, by default η as in step 2. `retrained` are parameters in which the retrainings differ
    from `first`. Raises `SparsityError` unless `iterations` is at least 1, and as `check`.
    """
    if not whole(iterations) or iterations < 1:
        raise SparsityError(f"iterations must be a whole number of at least 1, not {iterations!r}.")
    phases = [complete(first)]
    pruned = {"sigma": phases[0]["eta"] if sigma is None else sigma}
    for _ in range(iterations):
        phases.append(complete({**phases[0], **retrained, **pruned, "start": phases[-1]}))
    check(phases[-1])
    return phases


def complete(spec: Spec) -> dict[str, Any]:
    """Every parameter of `study`, defaults filled in, equal numbers written alike; so is `start`.

    Raises `SparsityError` for a parameter that `study` does not have.
    """
    full = lineages.parameters(study, spec, error=SparsityError, what="a phase")
    if isinstance(full["start"], Mapping):
        full["start"] = complete(full["start"])
    if full["width"] is None:
        full["width"] = binary_connect.WIDTHS.get(full["network"])
    for name in ("eta", "sigma", "strength", "learning_rate", "fall"):
        value = full[name]
        if isinstance(value, int) and not isinstance(value, bool):
            full[name] = float(value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            full[name] = [float(one) if whole(one) else one for one in value]
    return full


def check(spec: Spec) -> None:
    """Raise `SparsityError` for a phase that cannot be, and for one that its start cannot be."""
    spec = complete(spec)
    try:
        binary_connect.check(spec["network"], spec["width"], spec["act_bits"])
    except ModelError as error:  # a sentence that fits here as well
        raise SparsityError(str(error)) from None
    _phase(spec)
    for name in ("eta", "sigma"):
        if spec[name] is not None:
            _check_thresholds(name, spec[name], spec["network"])
    lineages.check(spec, error=SparsityError)
    start = spec["start"]
    if start is None:
        if spec["sigma"] is not None:
            raise SparsityError(
                "sigma prunes what an earlier phase has trained: give that phase as start."
            )
        return
    if not isinstance(start, Mapping):
        raise SparsityError(
            f"start must be the parameters of an earlier phase, or None, not {start!r}."
        )
    if spec["sigma"] is None:
        raise SparsityError("a phase with a start prunes it first, and sigma is missing.")
    check(start)
    lineages.check_same(spec, SAME, error=SparsityError, what="a retraining")


def weights_of(spec: Spec) -> dict[str, dict[str, torch.Tensor]]:
    """The state (`Ternary.state`) that a phase left; trains where it is not at hand."""
    spec = complete(spec)
    return checkpoints.load_or_make(_weights(spec), lambda work: study(**spec, checkpoint=work))


def network_of(spec: Spec) -> Ternary:
    """The network that a phase left, in evaluation mode; trains where it is not at hand."""
    check(spec)
    made = _new(complete(spec))
    made.load(weights_of(spec))
    made.model.eval()
    return made


def ternary_of(spec: Spec) -> dict[str, np.ndarray]:
    """w_q that a phase left, by layer: −1, 0 and 1 as int8; trains where it is not at hand."""
    layers = network_of(spec).layers
    return {name: layer.weight.detach().to(torch.int8).numpy() for name, layer in layers.items()}


@lru_cache(maxsize=2)
def load(dataset: str, network: str, images: int | None) -> data.Dataset:
    """A data set as the network sees it: flat in [0, 1], or 32×32 and standardised."""
    if network == "mlp":
        return data.load(dataset, flatten=True, normalise="unit", subset=images)
    return data.load(dataset, size=32, normalise="standard", subset=images)


def title(spec: Spec) -> str:
    """What a phase is called in progress bars and warnings."""
    spec = complete(spec)
    parts = [f"{spec['network']} {spec['width']} on {spec['dataset']}", f"A{spec['act_bits']}"]
    named = {"eta": spec["eta"], "lambda": spec["strength"], "sigma": spec["sigma"]}
    parts += [f"{name} {_shown(value)}" for name, value in named.items() if value is not None]
    return ", ".join([*parts, f"seed {spec['seed']}"])


def model_of(spec: Spec) -> nn.Module:
    """The network of a phase with PyTorch's initial weights."""
    spec = complete(spec)
    known = specs_of.find(spec["dataset"])
    shape = known.image_shape
    inputs = math.prod(shape) if spec["network"] == "mlp" else (1 if len(shape) == 2 else 3)
    return binary_connect.build(
        spec["network"],
        spec["width"],
        act_bits=spec["act_bits"],
        inputs=inputs,
        classes=len(known.classes),
    )


def _new(spec: Spec) -> Ternary:
    with torch.random.fork_rng(devices=[]):  # weights that are replaced draw numbers too
        model = model_of(spec).to(memory_format=torch.channels_last)
    return Ternary(model, _pair(spec["eta"]), spec["seed"])


def _prune(network: Ternary, spec: Spec) -> None:
    lost = network.prune(_pair(spec["sigma"]))
    if lost:
        warnings.warn(
            f"{title(spec)}: pruning takes {lost:,} weights that are not 0, as sigma is above eta.",
            stacklevel=3,
        )


def _pair(value: Thresholds) -> tuple[float, float]:
    return tuple(value) if isinstance(value, Sequence) else (value, value)


def _shown(value: Thresholds) -> str:
    return "/".join(f"{one:g}" for one in (value if isinstance(value, Sequence) else [value]))


def _check_thresholds(name: str, value: object, network: str) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return check_share(name, value)
    if network != "vgg" or len(value) != 2:
        allowed = "two numbers" if network == "vgg" else "one number, as it has no convolutions"
        raise SparsityError(f"{name} of {network} must be {allowed}, not {value!r}.")
    for one in value:
        check_share(name, one)


def _phase(spec: Spec) -> Phase:
    names = ("epochs", "learning_rate", "fall", "batch_size", "strength")
    return Phase(**{name: spec[name] for name in names})


def _weights(spec: Spec) -> Path:
    return lineages.weights(study, spec)


def _few(specs: Sequence[Spec]) -> bool:
    return sum(map(_cost, specs)) <= LITTLE


def _cost(spec: Spec) -> float:
    """How many weights see an image in training, and without any in evaluation."""
    split, width = specs_of.find(spec["dataset"]).split, spec["width"]
    images = (spec["images"] or split["train"]) + split["valid"] / 3  # without a way back
    each = 28**2 * width + 2 * width**2 if spec["network"] == "mlp" else 37_000 * width**2
    return each * images * spec["epochs"]
