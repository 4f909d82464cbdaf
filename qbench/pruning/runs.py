"""The trainings that chapters store: one network, at one step of its pruning, is one result.

A training is named by the parameters of `training`. What it is pruned from is a training itself, so
a specification says how a network came about from the first random number on; `chain` lists the
trainings of an iterative pruning, `until` those that an accuracy threshold allows (Faraone 2021,
algorithm 3). Tables are stored results; weights stay in `results/networks`, which does not travel
with git: where they are missing and needed, `weights_of` trains again.

The thesis names no optimiser; all is trained by the recipe of chapter 5 (`small_runs`).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from qbench import checkpoints, lineages, small_runs, store, threads
from qbench.models import small
from qbench.models.errors import ModelError
from qbench.numbers import number, whole
from qbench.small_runs import load

from . import rankings, rebuilding, shapes
from .errors import PruningError
from .networks import Rounding
from .networks import shapes as shapes_of

Spec = Mapping[str, Any]  # parameters of `training`
SAME = ("dataset", "network", "width", "weights", "act_bits", "fraction_bits")  # as the start's
RETRAINED = 0.25  # of the first training's epochs, section 4.5.5


@store.method(version=1)
def training(
    *,
    dataset: str,
    network: str = "alexnet_small",
    width: float = 1.0,
    weights: str = "binary",
    act_bits: int | None = None,
    fraction_bits: int | None = None,
    filters: Mapping[str, int] | None = None,
    ranking: str | None = None,
    start: Spec | None = None,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    batch_size: int = 64,
    images: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train one network, or prune a trained one and retrain it; the table of `qbench.training.fit`.

    network, width: see `models.small.build`; sequential ones only. `weights` to `fraction_bits`:
    see `Rounding`; None is 2 bits (32 for "float32"), and fraction bits that leave 1 bit before the
    point for up to 2 bits and 2 bits for more. filters: how many each convolution has, those that
    are not named as many as before. start: parameters of `training`, of the network whose filters
    are pruned by `ranking` (one of `rankings.RANKINGS`), the weights of the others kept; where
    there are more than before, new ones are added with PyTorch's initial weights. None trains the
    network with so many filters from new weights. learning_rate: Adam's. images: how many of the
    training images, 32×32 and standardised (None: all). The seed sets new weights, the random
    ranking and the order of the images. Evaluated after the last epoch. On one thread.
    Raises `PruningError` for what cannot be, before any work.
    """
    spec = complete({name: value for name, value in locals().items() if name != "checkpoint"})
    check(spec)
    pictures = load(spec["dataset"], spec["images"])
    with torch.random.fork_rng(devices=[]), threads.at_most(1):
        torch.manual_seed(spec["seed"])
        if spec["start"] is None:
            model = _new(spec)
        else:
            before = network_of(spec["start"])
            model = counted(before, spec["filters"], spec["ranking"], spec["seed"])
        log = small_runs.fit(model, pictures, spec, checkpoint=checkpoint, title=title(spec))
    checkpoints.save(_weights(spec), model.state_dict())
    return log


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


def chain(
    first: Spec, plan: Sequence[Mapping[str, int]], ranking: str, **retrained: Any
) -> list[dict[str, Any]]:
    """`first` and one pruning with retraining for each of the counts of `plan`, each from the last.

    `retrained` are parameters in which the retrainings differ from `first`; a quarter of its epochs
    unless they say so (section 4.5.5). Raises `PruningError` as `check`.
    """
    specs = [complete(first)]
    epochs = max(1, round(RETRAINED * specs[0]["epochs"])) if whole(specs[0]["epochs"]) else 1
    for counts in plan:
        own = {"epochs": epochs, **retrained, "filters": dict(counts)}
        specs.append(complete({**specs[0], **own, "ranking": ranking, "start": specs[-1]}))
    check(specs[-1])
    return specs


def until(specs: Sequence[Spec], tolerance: float) -> list[dict[str, Any]]:
    """Step 2 of algorithm 3: the trainings of a `chain` up to the last that is accurate enough.

    They run one after the other, until the validation error is more than `tolerance` points above
    that of the first; the first is always there. Raises `PruningError` for a negative tolerance.
    """
    if not number(tolerance) or tolerance < 0:
        raise PruningError(
            f"tolerance must be a number of at least 0, in points, not {tolerance!r}."
        )
    kept = [complete(specs[0])]
    most = error_of(specs[0]) + tolerance
    for spec in specs[1:]:
        if error_of(spec) > most:
            break
        kept.append(complete(spec))
    return kept


def error_of(spec: Spec, part: str = "valid") -> float:
    """The error (%) that a training ended with, on the "valid" or the "test" images."""
    return float(trainings([spec], at_once=1)[0][f"{part}_error"].iloc[-1])


def complete(spec: Spec) -> dict[str, Any]:
    """Every parameter of `training`, defaults filled in, equal numbers alike; so is `start`.

    Raises `PruningError` for a parameter that `training` does not have.
    """
    full = lineages.parameters(training, spec, error=PruningError, what="a training")
    if isinstance(full["start"], Mapping):
        full["start"] = complete(full["start"])
    if full["act_bits"] is None:
        full["act_bits"] = 32 if full["weights"] == "float32" else 2
    bits = full["act_bits"]
    if full["fraction_bits"] is None and whole(bits) and bits < 32:
        full["fraction_bits"] = bits - (1 if bits <= 2 else 2)
    named = full["filters"] or {}
    if isinstance(named, Mapping) and isinstance(full["start"], Mapping | None):
        before = full["start"]["filters"] if full["start"] else _own_filters(full)
        order = [*before, *(name for name in named if name not in before)]
        full["filters"] = {name: (dict(before) | dict(named))[name] for name in order}
    return full


def check(spec: Spec) -> None:
    """Raise `PruningError` for a training that cannot be, and for one that its start cannot be."""
    spec = complete(spec)
    own = _own_filters(spec, strict=True)
    _rounding(spec)
    small_runs.check(spec, PruningError)
    _check_start(spec)
    _check_filters(spec, own)


def _check_start(spec: Spec) -> None:
    start = spec["start"]
    if start is None:
        if spec["ranking"] is not None:
            raise PruningError(
                "ranking says which filters of a trained network go: give that training as start."
            )
        return
    if not isinstance(start, Mapping):
        raise PruningError(
            f"start must be the parameters of an earlier training, or None, not {start!r}."
        )
    rankings.check(spec["ranking"])
    check(start)
    lineages.check_same(spec, SAME, error=PruningError, what="a retraining")


def _check_filters(spec: Spec, own: Mapping[str, int]) -> None:
    if not isinstance(spec["filters"], Mapping):
        raise PruningError(
            f"filters must be a number for each of {', '.join(own)}, not {spec['filters']!r}."
        )
    # The convolutions of these networks have no groups: any number of filters but none will do.
    layers = tuple(shapes.Conv(name, count, 1, size=1) for name, count in own.items())
    shapes.Network(spec["network"], 1, layers, 1).counted(spec["filters"])


def weights_of(spec: Spec) -> dict[str, torch.Tensor]:
    """The state that a training left; trains where it is not at hand."""
    spec = complete(spec)
    return checkpoints.load_or_make(_weights(spec), lambda work: training(**spec, checkpoint=work))


def network_of(spec: Spec) -> nn.Sequential:
    """The network that a training left, in evaluation mode; trains where it is not at hand."""
    check(spec)
    spec = complete(spec)
    with torch.random.fork_rng(devices=[]):
        model = _new(spec)
    model.load_state_dict(weights_of(spec))
    return model.to(memory_format=torch.channels_last).eval()


def hardware_of(spec: Spec) -> shapes.Network:
    """What the cost models see of a training's network, with PyTorch's initial weights."""
    check(spec)
    spec = complete(spec)
    with torch.random.fork_rng(devices=[]):
        model = _new(spec)
    inputs = small_runs.channels(spec["dataset"])
    return shapes_of(model, inputs, _rounding(spec), name=small.TITLES[spec["network"]])


def title(spec: Spec) -> str:
    """What a training is called in progress bars and warnings."""
    spec = complete(spec)
    how = f"{spec['network']} × {spec['width']:g} on {spec['dataset']}, {spec['weights']} "
    how += f"A{spec['act_bits']}, {sum(spec['filters'].values())} filters"
    return how + (f" by {spec['ranking']}" if spec["start"] else "") + f", seed {spec['seed']}"


def _own_filters(spec: Spec, *, strict: bool = False) -> dict[str, int]:
    """Filters of each convolution before any pruning; {} where there is no such network."""
    try:
        small.check(spec["network"], spec["width"])
        return dict(_filters(spec["network"], float(spec["width"])))
    except (ModelError, PruningError) as error:  # sentences that fit here as well
        if strict:
            raise PruningError(str(error)) from None
        return {}


@lru_cache(maxsize=64)
def _filters(network: str, width: float) -> tuple[tuple[str, int], ...]:
    with torch.device("meta"):  # sizes alone
        return tuple(rebuilding.filters(small.build(network, width)).items())


def _new(spec: Spec) -> nn.Sequential:
    """The network of a training with so many filters and PyTorch's initial weights, rounded."""
    model, counts = small_runs.model_of(spec), spec["filters"]
    keep = {
        name: torch.arange(min(counts[name], n)) for name, n in rebuilding.filters(model).items()
    }
    add = {name: counts[name] - len(places) for name, places in keep.items()}
    return _rounding(spec).put_into(rebuilding.rebuilt(model, keep, add))


def counted(
    model: nn.Sequential, counts: Mapping[str, int], ranking: str, seed: int
) -> nn.Sequential:
    """A trained network with so many filters: the others pruned, or new ones added."""
    numbers, keep, add = torch.Generator().manual_seed(seed), {}, {}
    for name, now in rebuilding.filters(model).items():
        gone = rankings.first_to_go(ranking, *rebuilding.weights(model, name), numbers)
        keep[name] = gone[max(now - counts[name], 0) :].sort().values
        add[name] = max(counts[name] - now, 0)
    return rebuilding.rebuilt(model, keep, add)


def _rounding(spec: Spec) -> Rounding:
    return Rounding(*(spec[name] for name in ("weights", "act_bits", "fraction_bits")))


def _weights(spec: Spec) -> Path:
    return lineages.weights(training, spec)
