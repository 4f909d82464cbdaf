"""The trainings that chapters store: one network, one method, one seed is one result.

A training is named by the parameters of `training`; what it starts from is a training itself, in
float32. Tables are stored results; weights stay in `results/networks`, which does not travel with
git: where they are missing and needed, `weights_of` trains again.

All methods are trained alike (`small_runs`), with Adam: some methods multiply the gradient of the
weights by a scale and some do not (eqs. 5.4 and 5.7), which SGD would take for different learning
rates. Scales and weights learn at one rate, with one weight decay. A scale starts as small as its
weights, near 0.02, and a step of Adam is about as long as the learning rate: 0.001 moves it by a
twentieth a step, and much more than that throws it across 0.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from qbench import checkpoints, lineages, small_runs, store, threads
from qbench.quantizers.networks import usual_fraction
from qbench.small_runs import channels, load

from .errors import SyqError
from .networks import LEARNT, WEIGHT_BITS, Rounding

__all__ = ["channels", "check", "complete", "load", "model_of", "network_of", "scales", "title"]
__all__ += ["training", "trainings", "weights_of"]

Spec = Mapping[str, Any]  # parameters of `training`
FEWEST = {method: bits[0] for method, bits in WEIGHT_BITS.items()}  # bits of the weights


@store.method(version=1)
def training(
    *,
    dataset: str,
    network: str = "alexnet_small",
    width: float = 1.0,
    method: str = "syq",
    weight_bits: int | None = None,
    granularity: str | None = None,
    act_bits: int = 32,
    fraction_bits: int | None = None,
    scale_gradient: str = "chain",
    start: Spec | None = None,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    weight_decay: float = 5e-6,
    batch_size: int = 64,
    images: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train one network by one method; returns the table of `qbench.training.fit`.

    network, width: see `models.small.build`. `method` to `scale_gradient`: see `Rounding`; None is
    the fewest bits of the method, pixel-wise scaling for "syq", and fraction bits that leave 1 bit
    before the point for up to 2 bits and 2 bits for more: activations up to 1.5, or to nearly 4.
    start: parameters of `training`, of the float32 network whose weights it starts from, as VGG and
    ResNet did in section 5.6.1; None for new weights. Scales start from the weights either way (eq.
    5.12). learning_rate: Adam's, times 0.2 after half and after three quarters of the epochs.
    images: how many of the training images, 32×32 and standardised (None: all). The seed sets the
    new weights and the order of the images. Evaluated after the last epoch. On one thread.
    Raises `SyqError` for what cannot be, before any work.
    """
    spec = complete({name: value for name, value in locals().items() if name != "checkpoint"})
    check(spec)
    pictures = load(spec["dataset"], spec["images"])
    with torch.random.fork_rng(devices=[]), threads.at_most(1):
        model = _new(spec)
        if spec["start"] is not None:
            model.load_state_dict(weights_of(spec["start"]))
        model = _rounding(spec).put_into(model)
        log = small_runs.fit(model, pictures, spec, checkpoint=checkpoint, title=title(spec))
    checkpoints.save(_weights(spec), model.state_dict())
    return log


@store.method(version=1)
def scales(*, training: Spec) -> pd.DataFrame:
    """The learnt scales of a trained network: a row a scale, from the first layer to the last.

    Columns: `layer`, `scale` ("pixel", "row" or "layer", of "ttq" "positive" or "negative"),
    `place` (0, 1, …, in the order of the kernel), `start` and `trained`. Needs the weights that the
    training left. Raises `SyqError` where no scale is learnt.
    """
    check(training)
    spec = complete(training)
    if spec["method"] not in LEARNT:
        raise SyqError(f"scales are learnt by {' and '.join(LEARNT)}, not by {spec['method']!r}.")
    with torch.random.fork_rng(devices=[]):
        first = _new(spec)
        if spec["start"] is not None:
            first.load_state_dict(weights_of(spec["start"]))
        before = _rounding(spec).put_into(first).state_dict()
    after, rows = weights_of(spec), []
    for name, module in first.named_modules():
        for part in ("scale", "positive", "negative"):
            if f"{name}.{part}" not in before or not name.endswith(".weights"):
                continue
            what = module.granularity if part == "scale" else part
            pairs = zip(
                before[f"{name}.{part}"].flatten(), after[f"{name}.{part}"].flatten(), strict=True
            )
            rows += [
                {"layer": name.removesuffix(".weights"), "scale": what, "place": place}
                | {"start": float(start), "trained": float(trained)}
                for place, (start, trained) in enumerate(pairs)
            ]
    return pd.DataFrame(rows)


def trainings(
    asked: Sequence[Spec], *, at_once: int | None = None, title: str = "trainings"
) -> list[pd.DataFrame]:
    """`training` for each of `asked`: from the store where it has them, the others `at_once` (None:
    one a core) side by side, each in a process of one thread. What they start from comes first.
    """
    for one in asked:
        check(one)
    specs = [complete(one) for one in asked]
    return lineages.run(training, specs, at_once=at_once, title=title)


def complete(spec: Spec) -> dict[str, Any]:
    """Every parameter of `training`, defaults filled in, equal numbers alike; so is `start`.

    Raises `SyqError` for a parameter that `training` does not have.
    """
    full = lineages.parameters(training, spec, error=SyqError, what="a training")
    if isinstance(full["start"], Mapping):
        full["start"] = complete(full["start"])
    if full["method"] == "syq" and full["granularity"] is None:
        full["granularity"] = "pixel"
    if full["weight_bits"] is None:
        full["weight_bits"] = FEWEST.get(full["method"], 1)
    if full["fraction_bits"] is None:
        full["fraction_bits"] = usual_fraction(full["act_bits"])
    return full


def check(spec: Spec) -> None:
    """Raise `SyqError` for a training that cannot be, and for one that its start cannot be."""
    spec = complete(spec)
    small_runs.check(spec, SyqError)
    _rounding(spec)
    small_runs.check_start(spec, check, SyqError)


def weights_of(spec: Spec) -> dict[str, torch.Tensor]:
    """The state that a training left; trains where it is not at hand."""
    spec = complete(spec)
    return checkpoints.load_or_make(_weights(spec), lambda work: training(**spec, checkpoint=work))


def network_of(spec: Spec) -> nn.Module:
    """The network that a training left, in evaluation mode; trains where it is not at hand."""
    check(spec)
    spec = complete(spec)
    with torch.random.fork_rng(devices=[]):
        model = _rounding(spec).put_into(_new(spec))
    model.load_state_dict(weights_of(spec))
    return model.to(memory_format=torch.channels_last).eval()


def model_of(spec: Spec) -> nn.Module:
    """The network of a training before anything is rounded, with PyTorch's initial weights."""
    return small_runs.model_of(complete(spec))


def title(spec: Spec) -> str:
    """What a training is called in progress bars and warnings."""
    spec = complete(spec)
    how = [spec["method"], spec["granularity"], f"W{spec['weight_bits']}A{spec['act_bits']}"]
    named = " ".join(part for part in how if part)
    return f"{spec['network']} × {spec['width']:g} on {spec['dataset']}, {named}, " + (
        f"seed {spec['seed']}"
    )


def _new(spec: Spec) -> nn.Module:
    torch.manual_seed(spec["seed"])
    return model_of(spec)


def _rounding(spec: Spec) -> Rounding:
    names = (
        *("method", "weight_bits", "granularity"),
        *("act_bits", "fraction_bits", "scale_gradient"),
    )
    return Rounding(**{name: spec[name] for name in names})


def _weights(spec: Spec) -> Path:
    return lineages.weights(training, spec)
