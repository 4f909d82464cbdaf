"""The trainings that chapters store: one network, one method, one seed is one result.

A training is named by the parameters of `training`; what it starts from is a training itself, in
float32: the pre-trained network of Algorithm 5. Tables are stored results; weights stay in
`results/networks`, which does not travel with git: where they are missing and needed, `weights_of`
trains again.

All methods are trained alike (`small_runs`); weights and scales learn at one rate, with one weight
decay. The thesis names no optimiser and no recipe for this chapter but "a fixed number of epochs".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from qbench import checkpoints, lineages, small_runs, store, threads, workers
from qbench.numbers import whole
from qbench.quantizers.networks import Layer, usual_fraction
from qbench.small_runs import load
from qbench.training import error_rate

from .codebooks import OUTER, written
from .errors import AddnetError
from .networks import Rounding

__all__ = ["check", "complete", "histogram", "load", "network_of", "rounding_of", "title"]
__all__ += ["only_rounded", "pooled", "rounded", "training", "trainings", "weights_of"]

Spec = Mapping[str, Any]  # parameters of `training`
BINS = 31  # Fig. 6.5
MOST_BINS = 1023
RANGES = ("layer", "network")
_LATER = ("epochs", "learning_rate", "weight_decay", "batch_size")  # of a training, not its begin


@store.method(version=1)
def training(
    *,
    dataset: str,
    network: str = "perceptron",
    width: float = 1.0,
    method: str = "addnet",
    codebook: str | Sequence[int] | None = None,
    weight_bits: int | None = None,
    outer: str | Sequence[int] | None = None,
    act_bits: int | None = None,
    fraction_bits: int | None = None,
    gradient: str = "clipped",
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

    With `start` this is Algorithm 5 of Faraone 2021 after the choice of a codebook. network, width:
    see `models.small.build`. `method` to `gradient`: see `Rounding`; None is the 2-Add of Table 6.2
    for the codebook of "addnet", 8 bits for "uniform", the 4-Add for `outer` where weights are
    rounded, activations of 8 bits (section 6.5.3), of 32 for "float32", and fraction bits that
    leave 1 bit before the point for up to 2 bits and 2 bits for more: activations up to 1.5, or to
    nearly 4. Codebooks may be names or coefficients. start: parameters of `training`, of the
    float32 network whose weights it starts from; None for new weights. Scales come from the
    weights either way. learning_rate: Adam's, times 0.2 after half and after three quarters of the
    epochs. images: how many of the training images, 32×32 and standardised (None: all). The seed
    sets the new weights and the order of the images. Evaluated after the last epoch. On one thread.
    Raises `AddnetError` for what cannot be, before any work.
    """
    spec = complete({name: value for name, value in locals().items() if name != "checkpoint"})
    check(spec)
    pictures = load(spec["dataset"], spec["images"])
    with torch.random.fork_rng(devices=[]), threads.at_most(1):
        model = _begun(spec)
        log = small_runs.fit(model, pictures, spec, checkpoint=checkpoint, title=title(spec))
    checkpoints.save(lineages.weights(training, spec), model.state_dict())
    return log


@store.method(version=1)
def rounded(*, training: Spec) -> pd.DataFrame:
    """What a training begins with: the network that it starts from, rounded and not yet trained.

    One row with `valid_error` and `test_error` (%). Activations are rounded too and the first and
    last layer are as in the training; scales make the greatest coefficient the greatest weight, and
    batch norms keep the statistics of the float32 network. Raises `AddnetError` for a training that
    starts from new weights.
    """
    spec = complete(training)
    _check_started(spec)
    pictures = load(spec["dataset"], spec["images"])
    with torch.random.fork_rng(devices=[]), threads.at_most(1):
        model = _begun(spec).to(memory_format=torch.channels_last).eval()
        errors = {
            f"{name}_error": [error_rate(model, split, small_runs.EVALUATED)]
            for name, split in (("valid", pictures.valid), ("test", pictures.test))
        }
    return pd.DataFrame(errors)


@store.method(version=1)
def histogram(*, training: Spec, bins: int = BINS, of: str = "layer") -> pd.DataFrame:
    """Where the weights of a trained network lie: P of eq. 6.2, a row a layer and bin.

    Columns: `layer`, `outer` (whether it is the first or the last), `bin`, `low` and `high` (its
    ends, in units of M) and `count`. Bins are as wide as each other between −M and M, half-open but
    the last; M is the greatest magnitude of the layer's weights (`of`="layer", as each layer has a
    λ of its own) or of all (`of`="network"). A layer of zeros has them all in the middle. Needs the
    weights that the training left. Raises `AddnetError` unless it is a float32 training.
    """
    spec = complete(training)
    check(spec)
    if (spec["method"], spec["act_bits"]) != ("float32", 32):
        raise AddnetError(
            f"weights must be those of a float32 training, not of {spec['method']} with "
            f"activations of {spec['act_bits']} bits."
        )
    if not whole(bins) or not 2 <= bins <= MOST_BINS:
        raise AddnetError(f"bins must be a whole number from 2 to {MOST_BINS}, not {bins!r}.")
    if of not in RANGES:
        raise AddnetError(f"of must be one of {', '.join(RANGES)}, not {of!r}.")
    model = network_of(spec)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, Layer)}
    weights = {n: m.weight.detach().double().numpy().ravel() for n, m in layers.items()}
    largest = max(float(np.abs(one).max()) for one in weights.values())
    names, parts = list(weights), []
    for name, values in weights.items():
        most = largest if of == "network" else float(np.abs(values).max())
        counts, edges = np.histogram(values / (most or 1.0), bins, (-1, 1))
        columns = {"layer": name, "outer": name in (names[0], names[-1]), "bin": range(bins)}
        columns |= {"low": edges[:-1], "high": edges[1:], "count": counts}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def pooled(found: pd.DataFrame, *, outer: bool = False) -> np.ndarray:
    """Counts of a `histogram` over the layers that share a codebook, (bins,): what is matched.

    Without the first and the last layer, which have the 4-Add whatever the others have, unless
    `outer`.
    """
    rows = found if outer else found[~found["outer"]]
    return rows.groupby("bin")["count"].sum().to_numpy()


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


def only_rounded(
    asked: Sequence[Spec], *, at_once: int | None = None, title: str = "rounded networks"
) -> list[pd.DataFrame]:
    """`rounded` for each of these trainings, `at_once` (None: one a core) side by side.

    Raises `AddnetError` as `rounded` does, before any work.
    """
    for one in asked:
        _check_started(one)
    specs = [complete(one) for one in asked]
    return workers.run_each(
        rounded,
        [{"training": {n: v for n, v in spec.items() if n not in _LATER}} for spec in specs],
        workers=at_once,
        title=title,
        needs=lambda one: [store.spec(training, **one["training"]["start"])],
    )


def complete(spec: Spec) -> dict[str, Any]:
    """Every parameter of `training`, defaults filled in, equal ones alike; so is `start`.

    Raises `AddnetError` for a parameter that `training` does not have, and for no codebook.
    """
    full = lineages.parameters(training, spec, error=AddnetError, what="a training")
    if isinstance(full["start"], Mapping):
        full["start"] = complete(full["start"])
    plain = full["method"] == "float32"
    defaults = {"act_bits": 32 if plain else 8}
    if not plain:
        defaults["outer"] = OUTER
    if full["method"] == "addnet":
        defaults["codebook"] = "2-Add"
    if full["method"] == "uniform":
        defaults["weight_bits"] = 8
    full |= {name: value for name, value in defaults.items() if full[name] is None}
    for name in ("codebook", "outer"):
        if full[name] is not None:
            full[name] = written(full[name])
    if full["fraction_bits"] is None:
        full["fraction_bits"] = usual_fraction(full["act_bits"])
    return full


def check(spec: Spec) -> None:
    """Raise `AddnetError` for a training that cannot be, and for one that its start cannot be."""
    spec = complete(spec)
    small_runs.check(spec, AddnetError)
    rounding_of(spec)
    small_runs.check_start(spec, check, AddnetError)


def _check_started(spec: Spec) -> None:
    check(spec)
    if complete(spec)["start"] is None:
        raise AddnetError("training must start from a float32 training, not from new weights.")


def weights_of(spec: Spec) -> dict[str, torch.Tensor]:
    """The state that a training left; trains where it is not at hand."""
    spec = complete(spec)
    file = lineages.weights(training, spec)
    return checkpoints.load_or_make(file, lambda work: training(**spec, checkpoint=work))


def network_of(spec: Spec) -> nn.Module:
    """The network that a training left, in evaluation mode; trains where it is not at hand."""
    check(spec)
    spec = complete(spec)
    with torch.random.fork_rng(devices=[]):
        model = rounding_of(spec).put_into(_new(spec))
    model.load_state_dict(weights_of(spec))
    return model.to(memory_format=torch.channels_last).eval()


def rounding_of(spec: Spec) -> Rounding:
    """How the training of a complete specification rounds."""
    names = ("method", "codebook", "weight_bits", "outer", "act_bits", "fraction_bits", "gradient")
    return Rounding(**{name: spec[name] for name in names})


def title(spec: Spec) -> str:
    """What a training is called in progress bars and warnings."""
    spec = complete(spec)
    how = rounding_of(spec)
    coefficients = how.inner()
    named = f"{len(coefficients)} coefficients" if spec["method"] == "addnet" else spec["method"]
    return (
        f"{spec['network']} × {spec['width']:g} on {spec['dataset']}, {named}, "
        f"W{how.stored_bits}A{spec['act_bits']}, seed {spec['seed']}"
    )


def _begun(spec: Spec) -> nn.Module:
    """The network as its training begins: its start's weights or new ones, rounded."""
    model = _new(spec)
    if spec["start"] is not None:
        model.load_state_dict(weights_of(spec["start"]))
    return rounding_of(spec).put_into(model)


def _new(spec: Spec) -> nn.Module:
    torch.manual_seed(spec["seed"])
    return small_runs.model_of(spec)
