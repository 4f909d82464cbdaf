"""Train one network with or without a teacher: the loop, to be read from top to bottom."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from qbench import checkpoints, curves, data
from qbench.numbers import number, whole
from qbench.training import error_rate

from .errors import DistillationError
from .losses import Distillation
from .teachers import Cached, Online, Teacher

WARM_UP = 0.2  # share of the steps in which the learning rate rises
SHIFT = 4  # pixels that augmentation moves an image by at most
EVALUATED = 250  # images at once: they stay in the processor's cache


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum 0.9, one cycle of the learning rate.

    The rate rises linearly from 1/25 of `learning_rate` to all of it over the first fifth of the
    steps and falls linearly to nearly 0; with fewer than 6 steps it only falls. `augment` mirrors
    each image with probability ½ and moves it by up to 4 pixels each way, anew in each epoch. The
    seed sets the order of the images and, for one batch size, the augmentation.
    epochs: at least 1. batch_size: at least 2, as batch norm needs. learning_rate: above 0.
    weight_decay: at least 0. seed: 0 to 2³¹ − 1.
    Raises `DistillationError` for values that are not allowed.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    augment: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            if not whole(value) or value < least:
                raise DistillationError(
                    f"{name} must be a whole number of at least {least}, not {value!r}."
                )
        if not number(self.learning_rate) or self.learning_rate <= 0:
            raise DistillationError(
                f"learning_rate must be a number above 0, not {self.learning_rate!r}."
            )
        if not number(self.weight_decay) or self.weight_decay < 0:
            raise DistillationError(
                f"weight_decay must be a number of at least 0, not {self.weight_decay!r}."
            )
        if not isinstance(self.augment, bool):
            raise DistillationError(f"augment must be True or False, not {self.augment!r}.")
        if not whole(self.seed) or not 0 <= self.seed < 2**31:
            raise DistillationError(
                f"seed must be a whole number from 0 to 2**31 - 1, not {self.seed!r}."
            )


def fit(
    model: nn.Module,
    images: data.Dataset,
    recipe: Recipe,
    *,
    distillation: Distillation | None = None,
    teacher: Teacher | None = None,
    evaluate_at: Collection[int] = (),
    checkpoint: Path | None = None,
    title: str = "training",
    progress: bool = True,
) -> pd.DataFrame:
    """Train `model` in place on images (N, C, H, W) and return one row an epoch.

    Columns: `epoch` (1, 2, …), `train_loss` (mean over the epoch, nats), `valid_error` and
    `test_error` (%, whole split), which are missing but at the epochs `evaluate_at` and the last.
    Without a teacher the loss is the cross entropy with the labels. If `checkpoint` exists, the
    training goes on from it to the same numbers (unless a network draws random numbers, as dropout
    does); it is replaced atomically after every epoch. The model is left in evaluation mode.
    Raises `DistillationError` for a network or a teacher that does not fit the images, before any
    step, `FloatingPointError` when the loss is no longer finite, and `store.StoreError` when the
    checkpoint cannot be written.
    """
    _check(model, images, recipe, distillation, teacher)
    model.to(memory_format=torch.channels_last)
    pixels = images.train.images.permute(0, 2, 3, 1).contiguous()  # batches are cut quickly
    labels = images.train.labels
    steps = math.ceil(len(labels) / recipe.batch_size) * recipe.epochs
    before = checkpoints.load(checkpoint)
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        recipe.learning_rate,
        total_steps=max(steps, 2),
        pct_start=0.0 if steps == 5 else WARM_UP,  # a fifth of 5 steps would divide by 0
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    parts: dict[str, Any] = {"model": model, "optimiser": optimiser, "schedule": schedule}
    if isinstance(teacher, Online):
        parts |= {"teacher": teacher.network, "teacher_optimiser": teacher.optimiser}
    if before:
        for name, part in parts.items():
            part.load_state_dict(before[name])
    log = before["log"] if before else []

    quiet = {} if progress else {"disable": True}  # else TQDM_DISABLE may say so
    bar = tqdm(total=recipe.epochs, initial=len(log), desc=title, unit="epoch", **quiet)
    with bar, curves.of(title, checkpoint) as curve:
        for epoch in range(len(log) + 1, recipe.epochs + 1):
            loss = train_epoch(
                model, optimiser, schedule, pixels, labels, recipe, epoch, distillation, teacher
            )
            if not math.isfinite(loss):
                raise FloatingPointError(f"{title}: the loss is {loss} in epoch {epoch}.")
            row = {"epoch": epoch, "train_loss": loss}
            told = epoch == recipe.epochs or epoch in evaluate_at
            for name in ("valid", "test"):
                error = error_rate(model, getattr(images, name), EVALUATED) if told else math.nan
                row[f"{name}_error"] = error
            log.append(row)
            curve(row)
            if checkpoint:
                state = {name: part.state_dict() for name, part in parts.items()}
                checkpoints.save(checkpoint, state | {"log": log})
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update()
    model.eval()
    return pd.DataFrame(log)


def train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    pixels: Tensor,
    labels: Tensor,
    recipe: Recipe,
    epoch: int,
    distillation: Distillation | None = None,
    teacher: Teacher | None = None,
) -> float:
    """One pass over pixels (N, H, W, C) in the order that (seed, epoch) gives: the mean loss.

    A last batch of a single image is left out: batch norm needs two.
    """
    model.train()
    order = torch.from_numpy(data.epoch_order(len(labels), recipe.seed, epoch))
    numbers = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
    total, seen = torch.zeros(()), 0
    for places in order.split(recipe.batch_size):
        if len(places) < 2:
            continue
        batch = pixels[places]
        if recipe.augment:
            batch = augmented(batch, numbers)
        batch, truth = batch.permute(0, 3, 1, 2), labels[places]  # (N, C, H, W), channels last
        optimiser.zero_grad()
        if distillation and teacher:
            loss = distillation(model(batch), truth, teacher(places, batch, truth))
        else:
            loss = F.cross_entropy(model(batch), truth)
        loss.backward()
        optimiser.step()
        schedule.step()
        total += loss.detach() * len(places)
        seen += len(places)
    return float(total) / seen


def augmented(images: Tensor, numbers: torch.Generator, *, degrees: float = 0.0) -> Tensor:
    """Turn each of (N, H, W, C) by up to `degrees`, mirror it with probability ½, move it by up to
    4 pixels each way.

    A turned image takes the nearest pixel. What comes in from outside is 0, the mean colour.
    `numbers` is drawn from for the whole batch at once, so other batches are augmented otherwise.
    One gather does it all.
    """
    count, height, width, _ = images.shape
    padded = F.pad(images, (0, 0, SHIFT, SHIFT, SHIFT, SHIFT))
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, count, 1, 1), generator=numbers)
    mirrored = torch.rand(count, 1, 1, generator=numbers) < 0.5
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    inside = None
    if degrees:
        angle = math.radians(degrees) * (2 * torch.rand(count, 1, 1, generator=numbers) - 1)
        sine, cosine, y, x = angle.sin(), angle.cos(), (height - 1) / 2, (width - 1) / 2
        rows, columns = (
            (cosine * (rows - y) - sine * (columns - x) + y).round().long(),
            (sine * (rows - y) + cosine * (columns - x) + x).round().long(),
        )
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    found = padded[torch.arange(count)[:, None, None], rows + down, columns + right]
    return found if inside is None else found * inside[..., None]


@torch.no_grad()
def logits(model: nn.Module, images: Tensor, title: str = "logits") -> Tensor:
    """The model's logits (N, classes) for images (N, C, H, W), in evaluation mode."""
    model.eval()
    parts = tqdm(images.split(EVALUATED), desc=title, unit="batch", mininterval=1)
    return torch.cat([model(part) for part in parts])


def _check(
    model: nn.Module,
    images: data.Dataset,
    recipe: Recipe,
    distillation: Distillation | None,
    teacher: Teacher | None,
) -> None:
    shape = tuple(images.train.images.shape)
    if len(shape) != 4:
        raise DistillationError(f"the images must have the shape (N, C, H, W), not {shape}.")
    if shape[0] < 2:
        raise DistillationError(
            f"batch norm needs at least 2 images to train with, and there is {shape[0]}."
        )
    if (distillation is None) != (teacher is None):
        raise DistillationError("a distillation needs a teacher, and a teacher a distillation.")
    if isinstance(teacher, Cached):
        if recipe.augment:
            raise DistillationError(
                "a teacher's cached logits do not belong to augmented images: give the network "
                "itself as Offline(network), which looks at every batch anew."
            )
        if len(teacher.logits) < shape[0]:
            raise DistillationError(
                f"the teacher's logits are known for {len(teacher.logits)} images, but there are "
                f"{shape[0]} training images."
            )
    known = {"network": _classes(model, images, "network")}
    if isinstance(teacher, Cached):
        known["teacher"] = teacher.logits.shape[1]
    elif teacher is not None:
        known["teacher"] = _classes(teacher.network, images, "teacher")
    for who, classes in known.items():
        if classes != len(images.classes):
            raise DistillationError(
                f"the {who} knows {classes} classes, but {images.name} has {len(images.classes)}."
            )


@torch.no_grad()
def _classes(network: nn.Module, images: data.Dataset, who: str) -> int:
    """How many classes it tells apart; asks it for one image, in evaluation mode."""
    try:
        return network.eval()(images.train.images[:1]).shape[1]
    except RuntimeError as error:
        shape = tuple(images.train.images.shape[1:])
        raise DistillationError(
            f"the {who} cannot look at images of the shape {shape}: {str(error).splitlines()[0]}."
        ) from error
