"""The trainings that chapters store: teachers, their logits, and students with or without one.

A teacher is named by the parameters of `teacher`. Its log and its logits of the training images are
stored results; its weights stay in `results/networks`, which does not travel with git: where they
are missing and needed, `network_of` trains it again.
"""

import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock
from torch import nn

from qbench import checkpoints, data, store, threads
from qbench.models.convolutional import build, check

from .errors import DistillationError
from .fitting import Recipe, fit, logits
from .losses import Distillation
from .teachers import Cached, Offline, Teacher

TeacherSpec = Mapping[str, Any]  # parameters of `teacher`


@store.method(version=1)
def teacher(
    *,
    dataset: str,
    network: str,
    images: int | None = None,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    augment: bool = True,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train a teacher on the first `images` training images (None: all); returns `fit`'s table.

    Evaluated after the first epoch, half of them and the last. Uses every core, so another number
    of them may round otherwise. Raises `ModelError` and `DistillationError` before any work for a
    network and for settings that cannot be.
    """
    log_file = checkpoint and checkpoint / "state.pt"
    recipe = Recipe(epochs, batch_size, learning_rate, weight_decay, augment, seed)
    check(network)
    pictures = load(dataset, images)
    model = _new(network, pictures, seed)
    log = fit(
        model,
        pictures,
        recipe,
        evaluate_at={1, epochs // 2},
        checkpoint=log_file,
        title=f"{network} on {dataset}",
    )
    asked = {"dataset": dataset, "network": network, "images": images, **vars(recipe)}
    checkpoints.save(_weights(asked), model.state_dict())
    return log


def network_of(spec: TeacherSpec) -> nn.Module:
    """The trained teacher, in evaluation mode; trained where its weights are not at hand.

    Raises `DistillationError` for parameters that `teacher` does not have.
    """
    spec = _complete(spec)
    file = _weights(spec)
    state = checkpoints.load(file)
    if state is None:
        work = file.with_suffix("")
        with store.writing(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):  # two students ask for one teacher at once
            state = checkpoints.load(file)
            if state is None:
                teacher(**spec, checkpoint=work)
                shutil.rmtree(work, ignore_errors=True)
                state = checkpoints.load(file)
    pictures = load(spec["dataset"], 1)
    model = _new(spec["network"], pictures, spec["seed"])
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last).eval()


@store.method(version=1)
def teacher_logits(*, teacher: TeacherSpec) -> pd.DataFrame:
    """The trained teacher's logits of the images that it was trained on, not augmented.

    One row an image in `data.load`'s order; columns `class_0`, `class_1`, … (float32). Ask for it
    with all parameters of `teacher`, so that one teacher's logits are stored once.
    """
    teacher = _complete(teacher)
    pictures = load(teacher["dataset"], teacher["images"])
    answers = logits(network_of(teacher), pictures.train.images, f"{teacher['network']}'s logits")
    return pd.DataFrame(
        answers.numpy(), columns=[f"class_{number}" for number in range(answers.shape[1])]
    )


@store.method(version=1)
def student(
    *,
    dataset: str,
    network: str = "flex_student",
    channels: Sequence[int] | None = None,
    neurons: Sequence[int] | None = None,
    images: int | None = None,
    teacher: TeacherSpec | None = None,
    form: str = "stewart",
    alpha: float = 1.0,
    beta: float | None = None,
    temperature: float = 1.0,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    augment: bool = False,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train one student; returns `fit`'s table, evaluated after the last epoch.

    On one thread, so that several can be trained side by side and the numbers do not depend on how
    many cores there are. Without a teacher the settings of the distillation mean nothing and must
    be left alone, so that one training has one specification. `network`, `channels` and `neurons`
    are those of `models.convolutional.build`; `form`, `alpha`, `beta` and `temperature` those of
    `Distillation`; the rest is `Recipe`'s. Raises `ModelError` and `DistillationError` for what
    these refuse before any work, and for a teacher of another data set before any training.
    """
    return train_student(**locals())[1]


def read_by(taught_by: TeacherSpec | None, augment: bool) -> list[store.Spec]:
    """The results that a student's training reads: its teacher's logits, or its weights."""
    if taught_by is None:
        return []
    spec = _complete(taught_by)
    if augment:
        return [store.spec(teacher, **spec)]
    return [store.spec(teacher_logits, teacher=spec)]


def train_student(
    *,
    dataset: str,
    network: str,
    images: int | None,
    teacher: TeacherSpec | None,
    form: str,
    alpha: float,
    beta: float | None,
    temperature: float,
    seed: int,
    channels: Sequence[int] | None = None,
    neurons: Sequence[int] | None = None,
    checkpoint: Path | None = None,
    progress: bool = True,
    **recipe: Any,
) -> tuple[nn.Module, pd.DataFrame]:
    """The network itself and what `student` stores; parameters and errors as there."""
    if teacher is None and (alpha, beta, temperature, form) != (1.0, None, 1.0, "stewart"):
        raise DistillationError(
            "without a teacher alpha and temperature must be 1, beta None and form 'stewart'."
        )
    settings = Recipe(seed=seed, **recipe)
    distillation, title = None, network
    if teacher is not None:
        distillation = Distillation(alpha, temperature, beta, form)
        title += f" α {alpha:g}, T {temperature:g}"
    check(network, channels=channels, neurons=neurons)
    pictures = load(dataset, images)
    known = None if teacher is None else teacher_for(teacher, pictures, settings.augment)
    model = _new(network, pictures, seed, channels=channels, neurons=neurons)
    with threads.at_most(1):  # the teacher, where it must be trained first, has every core
        log = fit(
            model,
            pictures,
            settings,
            distillation=distillation,
            teacher=known,
            checkpoint=checkpoint and checkpoint / "state.pt",
            title=f"{title}, seed {seed}",
            progress=progress,
        )
    return model, log


def teacher_for(spec: TeacherSpec, pictures: data.Dataset, augment: bool) -> Teacher:
    """The teacher's known logits, or where images are augmented the teacher itself.

    Raises `DistillationError`, before it is trained, where it was taught another data set, or, if
    its logits are to be known, fewer images; and for parameters that `teacher` does not have.
    """
    spec = _complete(spec)
    if spec["dataset"] != pictures.name:
        raise DistillationError(
            f"the teacher was taught {spec['dataset']}, not {pictures.name}: their classes differ."
        )
    if augment:
        return Offline(network_of(spec))
    if spec["images"] is not None and spec["images"] < len(pictures.train):
        raise DistillationError(
            f"the teacher's logits are known for the {spec['images']} images that it was trained "
            f"on, but there are {len(pictures.train)} training images."
        )
    table = store.run(teacher_logits, teacher=spec)
    return Cached(torch.tensor(table.to_numpy()))


@lru_cache(maxsize=2)  # trainings of one process share what they only read
def load(dataset: str, images: int | None) -> data.Dataset:
    """A data set as these networks see it: 32×32 pixels, each channel of mean 0 and deviation 1."""
    return data.load(dataset, size=32, normalise="standard", subset=images)


def _new(network: str, pictures: data.Dataset, seed: int, **sizes: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inputs = pictures.train.images.shape[1]
        return build(network, len(pictures.classes), inputs=inputs, **sizes)


def _complete(spec: TeacherSpec) -> dict[str, Any]:
    """Every parameter of `teacher`, defaults filled in: one teacher has one name."""
    try:
        return store.spec(teacher, **spec)["parameters"]
    except TypeError as error:
        raise DistillationError(f"a teacher has the parameters of `teacher`: {error}.") from None


def _weights(spec: TeacherSpec) -> Path:
    return store.weights_file(store.key(store.spec(teacher, **spec)))
