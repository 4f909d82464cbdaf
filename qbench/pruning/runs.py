"""The trainings that chapters store: one network, at one step of its pruning, is one result.

A training is named by the parameters of `training`. What it is pruned from is a training itself, so
a specification says how a network came about from the first random number on; `chain` lists the
trainings of an iterative pruning, `until` those that an accuracy threshold allows (Faraone 2021,
algorithm 3). Tables are stored results; weights stay in `results/networks`, which does not travel
with git: where they are missing and needed, `weights_of` trains again.

The thesis names no optimiser; all is trained with Adam by `qbench.training.fit`, the learning rate
falling in steps of 0.2 after half and after three quarters of the epochs, as chapter 5 has it.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from qbench import checkpoints, data, paths, store, threads, workers
from qbench import training as loops
from qbench.data import specs as specs_of
from qbench.models import small
from qbench.models.errors import ModelError
from qbench.numbers import number, whole

from . import rankings, rebuilding, shapes
from .errors import PruningError
from .networks import Rounding
from .networks import shapes as shapes_of

Spec = Mapping[str, Any]  # parameters of `training`
SAME = ("dataset", "network", "width", "weights", "act_bits", "fraction_bits")  # as the start's
MILESTONES = (0.5, 0.75)  # shares of the epochs after which the learning rate falls
FACTOR = 0.2
EVALUATED = 250  # images at once: they stay in the processor's cache
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
        log = loops.fit(
            model.to(memory_format=torch.channels_last),
            pictures,
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
            title=title(spec),
        )
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
    if earlier := [spec["start"] for spec in specs if spec["start"] is not None]:
        trainings(earlier, at_once=at_once, title=title)
    different = {store.key(store.spec(training, **spec)): spec for spec in specs}
    workers.run_each(training, list(different.values()), workers=at_once, title=title)
    return [store.run(training, **spec) for spec in specs]


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
    try:
        full = store.spec(training, **spec)["parameters"]
    except TypeError as error:
        raise PruningError(f"a training has the parameters of `training`: {error}.") from None
    if isinstance(full["start"], Mapping):
        full["start"] = complete(full["start"])
    if full["act_bits"] is None:
        full["act_bits"] = 32 if full["weights"] == "float32" else 2
    bits = full["act_bits"]
    if full["fraction_bits"] is None and whole(bits) and bits < 32:
        full["fraction_bits"] = bits - (1 if bits <= 2 else 2)
    for name in ("width", "learning_rate", "weight_decay"):
        if whole(full[name]):
            full[name] = float(full[name])
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
    for name, least in (("epochs", 1), ("batch_size", 2)):
        if not whole(spec[name]) or spec[name] < least:
            raise PruningError(
                f"{name} must be a whole number of at least {least}, not {spec[name]!r}."
            )
    if not number(spec["learning_rate"]) or spec["learning_rate"] <= 0:
        raise PruningError(
            f"learning_rate must be a number above 0, not {spec['learning_rate']!r}."
        )
    if not number(spec["weight_decay"]) or spec["weight_decay"] < 0:
        raise PruningError(
            f"weight_decay must be a number of at least 0, not {spec['weight_decay']!r}."
        )
    if not whole(spec["seed"]) or not 0 <= spec["seed"] < 2**31:
        raise PruningError(
            f"seed must be a whole number from 0 to 2**31 - 1, not {spec['seed']!r}."
        )
    most = specs_of.find(spec["dataset"]).split["train"]
    if spec["images"] is not None and (
        not whole(spec["images"]) or not 2 <= spec["images"] <= most
    ):
        raise PruningError(
            f"images must be a whole number from 2 to {most}, or None for all, "
            f"not {spec['images']!r}."
        )
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
    for name in SAME:
        if start[name] != spec[name]:
            raise PruningError(
                f"a retraining keeps the {name} of its start, {start[name]!r}, "
                f"and has {spec[name]!r}."
            )


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
    inputs = _channels(spec["dataset"])
    return shapes_of(model, inputs, _rounding(spec), name=small.TITLES[spec["network"]])


def title(spec: Spec) -> str:
    """What a training is called in progress bars and warnings."""
    spec = complete(spec)
    how = f"{spec['network']} × {spec['width']:g} on {spec['dataset']}, {spec['weights']} "
    how += f"A{spec['act_bits']}, {sum(spec['filters'].values())} filters"
    return how + (f" by {spec['ranking']}" if spec["start"] else "") + f", seed {spec['seed']}"


@lru_cache(maxsize=2)  # trainings of one process share what they only read
def load(dataset: str, images: int | None) -> data.Dataset:
    """A data set as these networks see it: 32×32 pixels, each channel of mean 0 and deviation 1."""
    return data.load(dataset, size=32, normalise="standard", subset=images)


def _channels(dataset: str) -> int:
    return 1 if len(specs_of.find(dataset).image_shape) == 2 else 3


def _plain(spec: Spec) -> nn.Sequential:
    classes = len(specs_of.find(spec["dataset"]).classes)
    inputs = _channels(spec["dataset"])
    return small.build(spec["network"], spec["width"], classes, inputs=inputs)


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
    model, counts = _plain(spec), spec["filters"]
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
    return paths.local_results() / "networks" / f"{store.key(store.spec(training, **spec))}.pt"
