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

from qbench import checkpoints, data
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

    The rate rises linearly to `learning_rate` over the first fifth of the steps and falls linearly
    to nearly 0. `augment` mirrors each image with probability ½ and moves it by up to 4 pixels each
    way, anew in each epoch. The seed sets the order of the images and the augmentation.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    augment: bool = False
    seed: int = 0


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
    training goes on from it to the same numbers; it is replaced atomically after every epoch.
    Raises `DistillationError` for a teacher that does not fit the images, before any step, and
    `FloatingPointError` when the loss is no longer finite.
    """
    _check(images, recipe, distillation, teacher)
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
        pct_start=WARM_UP,
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
    for epoch in range(len(log) + 1, recipe.epochs + 1):
        model.train()
        order = torch.from_numpy(data.epoch_order(len(labels), recipe.seed, epoch))
        numbers = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
        total, seen = torch.zeros(()), 0
        for places in order.split(recipe.batch_size):
            if len(places) < 2:  # batch norm needs two images
                continue
            batch = pixels[places]
            if recipe.augment:
                batch = augmented(batch, numbers)
            batch, truth = batch.permute(0, 3, 1, 2), labels[places]
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
        row = {"epoch": epoch, "train_loss": float(total) / seen}
        if not math.isfinite(row["train_loss"]):
            raise FloatingPointError(f"{title}: the loss is {row['train_loss']} in epoch {epoch}.")
        told = epoch == recipe.epochs or epoch in evaluate_at
        for name in ("valid", "test"):
            error = error_rate(model, getattr(images, name), EVALUATED) if told else math.nan
            row[f"{name}_error"] = error
        log.append(row)
        if checkpoint:
            state = {name: part.state_dict() for name, part in parts.items()}
            checkpoints.save(checkpoint, state | {"log": log})
        bar.set_postfix_str(f"loss {row['train_loss']:.3f}", refresh=False)
        bar.update()
    bar.close()
    return pd.DataFrame(log)


def augmented(images: Tensor, numbers: torch.Generator) -> Tensor:
    """Mirror each of (N, H, W, C) with probability ½ and move it by up to 4 pixels each way.

    What comes in from outside is the mean colour, 0. The whole batch is one gather.
    """
    count, height, width, _ = images.shape
    padded = F.pad(images, (0, 0, SHIFT, SHIFT, SHIFT, SHIFT))
    offsets = torch.randint(0, 2 * SHIFT + 1, (2, count, 1), generator=numbers)
    mirrored = torch.rand(count, 1, generator=numbers) < 0.5
    rows = torch.arange(height) + offsets[0]
    columns = torch.arange(width)
    columns = torch.where(mirrored, columns.flip(0), columns) + offsets[1]
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


@torch.no_grad()
def logits(model: nn.Module, images: Tensor, title: str = "logits") -> Tensor:
    """The model's logits (N, classes) for images (N, C, H, W), in evaluation mode."""
    model.eval()
    parts = tqdm(images.split(EVALUATED), desc=title, unit="batch", mininterval=1)
    return torch.cat([model(part) for part in parts])


def _check(
    images: data.Dataset,
    recipe: Recipe,
    distillation: Distillation | None,
    teacher: Teacher | None,
) -> None:
    if (distillation is None) != (teacher is None):
        raise DistillationError("a distillation needs a teacher, and a teacher a distillation.")
    if isinstance(teacher, Cached):
        if recipe.augment:
            raise DistillationError(
                "a teacher's cached logits do not belong to augmented images: give the network "
                "itself as Offline(network), which looks at every batch anew."
            )
        if len(teacher.logits) < len(images.train):
            raise DistillationError(
                f"the teacher's logits are known for {len(teacher.logits)} images, but there are "
                f"{len(images.train)} training images."
            )
        classes = teacher.logits.shape[1]
    elif teacher is not None:
        mode = teacher.network.training
        with torch.no_grad():
            classes = teacher.network.eval()(images.train.images[:1]).shape[1]
        teacher.network.train(mode)
    else:
        return
    if classes != len(images.classes):
        raise DistillationError(
            f"the teacher knows {classes} classes, but {images.name} has {len(images.classes)}."
        )
