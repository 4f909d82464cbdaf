"""The trainings that chapter 18 stores: one network of chapter 3, by any of the methods at once.

Each is two phases long, a training and a retraining of as many epochs with a learning rate that
begins anew, whether weights are pruned between them or not: so networks differ in their methods
alone. Nothing is read but the teacher's logits.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from qbench import data, lineages, store, threads, workers
from qbench.distillation import Distillation
from qbench.distillation import runs as distillation
from qbench.models import binary_connect
from qbench.models.errors import ModelError
from qbench.quantizers.syq import GRANULARITIES
from qbench.sparsity import coding
from qbench.sparsity import runs as sparsity
from qbench.sparsity.networks import Ternary
from qbench.sparsity.phases import Phase, check_share
from qbench.sparsity.studying import study

from .errors import CombiningError
from .networks import scale_count, ternary_with_scales

Spec = Mapping[str, Any]  # parameters of `training`
NETWORK = "vgg"  # of chapter 3: only kernels have pixels and rows
ENCODINGS = ("ternary", "RLE", "HC")
UNTAUGHT = {"form": "stewart", "alpha": 1.0, "temperature": 1.0}
LITTLE = 3e10  # weights seen by images in all: processes would take longer to start


@store.method(version=1)
def training(
    *,
    dataset: str,
    width: int = 16,
    granularity: str = "layer",
    eta: float = 1 / 3,
    strength: float = 0.0,
    sigma: float | None = None,
    teacher: Spec | None = None,
    form: str = "stewart",
    alpha: float = 1.0,
    temperature: float = 1.0,
    epochs: int = 5,
    learning_rate: float = 0.03,
    fall: float = 0.01,
    batch_size: int = 64,
    images: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train the VGG of chapter 3 with `width` channels, then retrain it for as many `epochs`.

    granularity: SYQ's scales, see `networks.ternary_with_scales`. eta: η; strength: λ; sigma: σ,
    pruned before the retraining, None for nothing. teacher: parameters of
    `distillation.runs.teacher`, whose logits are listened to in both phases by `form`, `alpha` and
    `temperature` of `Distillation`; None for the labels alone. images: how many training images
    (None: all). The rest is `sparsity.phases.Phase`'s. On one thread.

    Returns the tables of `sparsity.studying.study` below each other, with `phase` (1 or 2), and in
    the row of the second phase's best epoch `bits_ternary`, `bits_RLE` and `bits_HC`, what the
    codes of all layers take when really encoded, and `scales`, how many there are. A training that
    diverged ends there. Raises a `UserError` for what cannot be, before any work.
    """
    spec = complete({name: value for name, value in locals().items() if name != "checkpoint"})
    check(spec)
    pictures = sparsity.load(spec["dataset"], NETWORK, spec["images"])
    loss = _loss(spec, pictures)
    with threads.at_most(1):
        made = _new(spec)
        logs: list[pd.DataFrame] = []
        for number in (1, 2):
            if number == 2 and spec["sigma"] is not None:
                made.prune((spec["sigma"], spec["sigma"]))
            log = study(
                made,
                pictures,
                _phase(spec),
                seed=spec["seed"],
                loss=loss,
                checkpoint=checkpoint and checkpoint / f"phase{number}.pt",
                title=f"{title(spec)}, phase {number}",
            )
            logs.append(log.assign(phase=number))
            if "test_error" not in log or log["test_error"].isna().all():
                return pd.concat(logs, ignore_index=True)  # it diverged
    best = logs[-1]["test_error"].notna()
    for name, count in _stored(made).items():
        logs[-1].loc[best, name] = count
    return pd.concat(logs, ignore_index=True)


def trainings(
    asked: Sequence[Spec], *, at_once: int | None = None, title: str = "trainings"
) -> list[pd.DataFrame]:
    """`training` for each of `asked`: from the store where it has them, the others `at_once` (None:
    one a core) side by side. Teachers come first.
    """
    for one in asked:
        check(one)
    specs = [complete(one) for one in asked]
    missing = set(store.missing([store.spec(training, **spec) for spec in specs]))
    todo = [spec for spec in specs if store.key(store.spec(training, **spec)) in missing]
    for wanted in [spec["teacher"] for spec in todo if spec["teacher"] is not None]:
        store.run(distillation.teacher, **wanted)
        store.run(distillation.teacher_logits, teacher=wanted)
    few = sum(map(_cost, todo)) <= LITTLE
    return workers.run_each(
        training,
        specs,
        workers=1 if few else at_once,
        here=few,
        title=title,
        needs=lambda spec: distillation.read_by(spec["teacher"], augment=False),
    )


def complete(spec: Spec) -> dict[str, Any]:
    """Every parameter of `training`, defaults filled in, equal numbers alike; so is `teacher`.

    Raises `CombiningError` for a parameter that `training` does not have.
    """
    full = lineages.parameters(training, spec, error=CombiningError, what="a training")
    if isinstance(full["teacher"], Mapping):
        full["teacher"] = store.spec(distillation.teacher, **full["teacher"])["parameters"]
    for name in ("eta", "sigma", "strength", "alpha", "temperature", "learning_rate", "fall"):
        if isinstance(full[name], int) and not isinstance(full[name], bool):
            full[name] = float(full[name])
    return full


def check(spec: Spec) -> None:
    """Raise a `UserError`, one sentence, for a training that cannot be."""
    spec = complete(spec)
    try:
        binary_connect.check(NETWORK, spec["width"], 32)
    except ModelError as error:  # a sentence that fits here as well
        raise CombiningError(str(error)) from None
    if spec["granularity"] not in GRANULARITIES:
        raise CombiningError(
            f"granularity must be one of {', '.join(GRANULARITIES)}, not {spec['granularity']!r}."
        )
    for name in ("eta", "sigma"):
        if spec[name] is not None:
            check_share(name, spec[name])
    _phase(spec)
    lineages.check(spec, error=CombiningError)
    if spec["teacher"] is None:
        if any(spec[name] != value for name, value in UNTAUGHT.items()):
            raise CombiningError(
                "without a teacher alpha and temperature must be 1 and form 'stewart'."
            )
    else:
        _distillation(spec)


def title(spec: Spec) -> str:
    """What a training is called in progress bars and warnings."""
    spec = complete(spec)
    parts = [f"{NETWORK} {spec['width']} on {spec['dataset']}", f"a scale a {spec['granularity']}"]
    parts.append(f"eta {spec['eta']:.3g}" + (", pruned" if spec["sigma"] is not None else ""))
    parts += ["with a teacher"] if spec["teacher"] else []
    return ", ".join([*parts, f"seed {spec['seed']}"])


def _new(spec: Spec) -> Ternary:
    with torch.random.fork_rng(devices=[]):  # weights that are replaced draw numbers too
        same = {"dataset": spec["dataset"], "network": NETWORK, "width": spec["width"]}
        model = sparsity.model_of(same).to(memory_format=torch.channels_last)
    return ternary_with_scales(model, spec["granularity"], spec["eta"], seed=spec["seed"])


def _phase(spec: Spec) -> Phase:
    names = ("epochs", "learning_rate", "fall", "batch_size", "strength")
    return Phase(**{name: spec[name] for name in names})


def _distillation(spec: Spec) -> Distillation:
    return Distillation(spec["alpha"], spec["temperature"], form=spec["form"])


def _loss(
    spec: Spec, pictures: "data.Dataset"
) -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
    """What `study` makes small; None for the cross entropy with the labels."""
    if spec["teacher"] is None:
        return None
    listen = _distillation(spec)
    known = distillation.teacher_for(spec["teacher"], pictures, augment=False)
    return lambda said, truth, places: listen(said, truth, known(places, said, truth))


def _stored(network: Ternary) -> dict[str, int]:
    """`bits_<encoding>` of the codes of all layers, and `scales`."""
    codes = {
        name: layer.weight.detach().to(torch.int8).numpy() for name, layer in network.layers.items()
    }
    sizes = coding.sizes(codes, encodings=ENCODINGS).groupby("encoding")["bits"].sum()
    found = {f"bits_{name}": int(sizes[name]) for name in ENCODINGS}
    return found | {"scales": scale_count(network.model)}


def _cost(spec: Spec) -> float:
    """How many weights see an image, about; see `sparsity.runs`."""
    from qbench.data import specs

    images = spec["images"] or specs.find(spec["dataset"]).split["train"]
    return 2 * 37_000 * spec["width"] ** 2 * images * spec["epochs"]
