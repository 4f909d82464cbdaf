"""One phase of training, for a stack of networks: the loop, to be read from top to bottom."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from qbench import checkpoints, curves, data
from qbench.distillation.fitting import augmented
from qbench.quantizers.ranges import Learnt
from qbench.sweep.kernels import Sgd

from .errors import StudyError
from .losses import distillation_loss, labels_loss, wrong
from .networks import Stack
from .phases import TAUGHT, Phase

EVALUATED = 500  # images at once
DEGREES = 15.0  # by which augmented images are turned at most: Vailakis 2022, section 5.1.10


@dataclass
class Teachers:
    """Who the members of a stack learn from, and how much.

    network: a stack. which: the place of each member's teacher in it, (M,); while co-studying each
    member has its own. alpha and temperature: a and T of each member, (M,) float32.
    """

    network: nn.Module
    which: Sequence[int]
    alpha: Sequence[float]
    temperature: Sequence[float]


def study(
    stack: nn.Module,
    images: "data.Dataset",
    phase: Phase,
    *,
    seeds: Sequence[int],
    teachers: Teachers | None = None,
    augment: bool = False,
    checkpoint: Path | None = None,
    title: str = "training",
    progress: bool = True,
) -> list[pd.DataFrame]:
    """Train the members of `stack` in place; returns one table a member, one row an epoch.

    Columns: `epoch` (1, 2, …; 0 where nothing is trained), `train_loss` (mean over the epoch,
    nats) and `train_error` (%, of the epoch's images as they were trained on), both missing for
    "ptq", `valid_error` and `test_error` (%, whole split, after the last epoch, else missing);
    while co-studying also `teacher_loss` and `teacher_test_error`. Member m sees the images in the
    order of `seeds[m]`.
    `augment` mirrors, moves and turns images (N, C, H, W). If `checkpoint` exists, training goes on
    from it to the same numbers; it is replaced atomically after every epoch. The stack, and a
    co-studying teacher, are left in evaluation mode.
    The table of a member whose loss is no longer finite ends with that epoch, its errors are
    missing, and a warning names it; the others go on.
    Raises `StudyError` for what does not fit before any step, and `store.StoreError` when the
    checkpoint cannot be written.
    """
    _check(stack, images, phase, seeds, teachers)
    pixels, labels = _channels_last(images.train.images), images.train.labels
    if phase.kind == "ptq":
        missing = {"epoch": 0, "train_loss": math.nan, "train_error": math.nan}
        return [pd.DataFrame([missing | row]) for row in evaluated(stack, images)]
    together = phase.kind == "cs"
    parts: dict[str, Any] = {
        "stack": stack,
        "optimiser": Optimiser(stack, phase.weight_decay),
    }
    if together:
        parts |= {
            "teacher": teachers.network,
            "teacher_optimiser": Optimiser(teachers.network, phase.weight_decay),
        }
    before = checkpoints.load(checkpoint)
    if before:
        for name, part in parts.items():
            part.load_state_dict(before[name])
    log = before["log"] if before else []
    answers = None
    if phase.kind == "ts" and not augment and len(log) < phase.epochs:
        answers = logits(teachers.network, images.train.images)
    losses = _losses(phase, teachers)
    steps = math.ceil(len(labels) / phase.batch_size)
    bar = tqdm(total=phase.epochs * steps, initial=len(log) * steps, desc=title, unit="step",
               mininterval=1, **({} if progress else {"disable": True}))  # fmt: skip
    with bar, curves.of(title, checkpoint) as curve:
        for epoch in range(len(log) + 1, phase.epochs + 1):
            if log and not any(_finite(log[-1])):
                break
            stack.train()
            teachers and teachers.network.train(together)
            sums = _Sums(stack.members)
            for number, places in enumerate(_batches(seeds, epoch, len(labels), phase.batch_size)):
                rate = phase.rate((epoch - 1) * steps + number, steps)
                draw = [(seed * 100_003 + epoch) * 10_007 + number for seed in seeds]
                batch = _cut(pixels, places, draw if augment else None)
                truth = labels[places]
                told = _told(answers, teachers, places, batch, together)
                said = stack(batch)
                loss = losses(said, truth, told)
                step(parts["optimiser"], loss, rate)
                if together:
                    back = losses(told, truth, said)
                    step(parts["teacher_optimiser"], back, rate)
                    sums.teacher += back.detach() * places.shape[1]
                sums.add(loss, wrong(said.detach(), truth), places.shape[1])
                bar.update()
            log.append(sums.row(epoch, together))
            curve(log[-1])
            if checkpoint:
                state = {name: part.state_dict() for name, part in parts.items()}
                checkpoints.save(checkpoint, state | {"log": log})
    _warn_of_diverged(log, title, seeds)
    return _tables(log, stack, images, teachers if together else None)


def evaluated(stack: nn.Module, images: "data.Dataset") -> list[dict[str, float]]:
    """`valid_error` and `test_error` (%) of each member, in evaluation mode."""
    found = {f"{name}_error": errors(stack, getattr(images, name)) for name in ("valid", "test")}
    return [
        {name: float(values[member]) for name, values in found.items()}
        for member in range(stack.members)
    ]


@torch.no_grad()
def errors(stack: nn.Module, split: "data.Split") -> Tensor:
    """What each member gets wrong of a split: %, (M,), in evaluation mode.

    NaN for a member whose logits are not finite: its training diverged, and it has no answer.
    """
    said = logits(stack, split.images)
    wrong = 100 * (said.argmax(2) != split.labels).double().mean(1)
    return wrong.where(said.isfinite().all(2).all(1), math.nan)


@torch.no_grad()
def logits(stack: nn.Module, images: Tensor) -> Tensor:
    """(M, N, classes) for the same images (N, …) for all members, in evaluation mode.

    One member after the other: together they would not fit into the processor's cache.
    """
    stack.eval()
    found = []
    for member in range(stack.members):
        network = stack.network(member)
        found.append(torch.cat([network(part) for part in images.split(EVALUATED)]))
    return torch.stack(found)


def _losses(phase: Phase, teachers: Teachers | None) -> Callable[[Tensor, Tensor, Any], Tensor]:
    if teachers is None:
        return lambda said, truth, _: labels_loss(said, truth)
    alpha, temperature = torch.tensor(teachers.alpha), torch.tensor(teachers.temperature)
    return lambda said, truth, other: distillation_loss(said, truth, other, alpha, temperature)


def _told(
    answers: Tensor | None, teachers: Teachers | None, places: Tensor, batch: Tensor, learns: bool
) -> Tensor | None:
    """The teachers' logits for a batch, (M, B, classes): known, computed, or with a gradient."""
    if teachers is None:
        return None
    which = torch.tensor(list(teachers.which))
    if answers is not None:
        return answers[which[:, None], places]
    with torch.set_grad_enabled(learns):
        return teachers.network(batch)[which]


def step(optimiser: "Optimiser", loss: Tensor, rate: float) -> None:
    """One step along the gradient of every member's loss, (M,), by itself."""
    optimiser.zero_grad()
    loss.sum().backward()
    optimiser.step(rate)


class Optimiser:
    """`Sgd` for the parameters of a module; intervals do not decay."""

    def __init__(self, module: nn.Module, weight_decay: float) -> None:
        learnt = {id(part.interval) for part in module.modules() if isinstance(part, Learnt)}
        every = [p for p in module.parameters() if p.requires_grad]
        decayed = [p for p in every if id(p) not in learnt]
        others = [p for p in every if id(p) in learnt]
        self.parameters = every
        alone = not isinstance(module, Stack)
        self.groups = [Sgd(decayed, weight_decay=weight_decay, alone=alone)]
        self.groups += [Sgd(others, alone=alone)] if others else []

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, rate: float) -> None:
        for group in self.groups:
            group(rate)

    def state_dict(self) -> list[list[Tensor]]:
        return [group.momenta for group in self.groups]

    def load_state_dict(self, state: list[list[Tensor]]) -> None:
        for group, momenta in zip(self.groups, state, strict=True):
            for kept, saved in zip(group.momenta, momenta, strict=True):
                kept.copy_(saved)


class _Sums:
    """What an epoch adds up for each member."""

    def __init__(self, members: int) -> None:
        self.loss, self.teacher = torch.zeros(members), torch.zeros(members)
        self.wrong, self.seen = torch.zeros(members, dtype=torch.int64), 0

    def add(self, loss: Tensor, missed: Tensor, count: int) -> None:
        self.loss += loss.detach() * count
        self.wrong += missed
        self.seen += count

    def row(self, epoch: int, together: bool) -> dict[str, Any]:
        found = {
            "epoch": epoch,
            "train_loss": (self.loss / self.seen).tolist(),
            "train_error": (100 * self.wrong.double() / self.seen).tolist(),
        }
        return found | ({"teacher_loss": (self.teacher / self.seen).tolist()} if together else {})


def _batches(seeds: Sequence[int], epoch: int, count: int, size: int):
    """The places (M, B) of every batch of an epoch; a last batch of one image is left out."""
    orders = {seed: data.epoch_order(count, seed, epoch) for seed in set(seeds)}
    order = torch.from_numpy(np.stack([orders[seed] for seed in seeds]))
    for places in order.split(size, dim=1):
        if places.shape[1] > 1:
            yield places


def _channels_last(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as (N, H, W, C): batches are cut quickly; flat ones as they are."""
    return images.permute(0, 2, 3, 1).contiguous() if images.ndim == 4 else images


def _cut(pixels: Tensor, places: Tensor, draw: Sequence[int] | None) -> Tensor:
    """The images (M, B, …) at `places`, augmented with the random numbers that `draw` seeds."""
    if pixels.ndim == 2:
        return pixels[places]
    cut = []
    for member, chosen in enumerate(places):
        batch = pixels[chosen]
        if draw is not None:
            numbers = torch.Generator().manual_seed(draw[member])
            batch = augmented(batch, numbers, degrees=DEGREES)
        cut.append(batch.permute(0, 3, 1, 2))  # (B, C, H, W), channels last
    return cut[0][None] if len(cut) == 1 else torch.stack(cut)


def _tables(
    log: list[dict[str, Any]], stack: nn.Module, images: "data.Dataset", teachers: Teachers | None
) -> list[pd.DataFrame]:
    last = {f"{name}_error": errors(stack, getattr(images, name)) for name in ("valid", "test")}
    if teachers is not None:
        last["teacher_test_error"] = errors(teachers.network, images.test)
    tables = []
    for member in range(stack.members):
        rows = [
            {name: value if name == "epoch" else value[member] for name, value in row.items()}
            for row in log[: _diverged(log, member)]
        ]
        table = pd.DataFrame(rows)
        for name, values in last.items():
            table[name] = [math.nan] * (len(rows) - 1) + [float(values[member])]
        tables.append(table)
    return tables


def _finite(row: dict[str, Any]) -> list[bool]:
    """Whether each member's loss of an epoch, and its teacher's, is finite."""
    losses = [row[name] for name in ("train_loss", "teacher_loss") if name in row]
    return [all(map(math.isfinite, own)) for own in zip(*losses, strict=True)]


def _diverged(log: list[dict[str, Any]], member: int) -> int | None:
    """The first epoch in which a member's loss was not finite."""
    return next((row["epoch"] for row in log if not _finite(row)[member]), None)


def _warn_of_diverged(log: list[dict[str, Any]], title: str, seeds: Sequence[int]) -> None:
    for member, seed in enumerate(seeds):
        if (epoch := _diverged(log, member)) is not None:
            warnings.warn(
                f"{title}: with seed {seed} the loss was no longer finite in epoch {epoch}; its "
                "errors are missing.",
                stacklevel=3,
            )


def _check(
    stack: nn.Module,
    images: "data.Dataset",
    phase: Phase,
    seeds: Sequence[int],
    teachers: Teachers | None,
) -> None:
    if len(seeds) != stack.members:
        raise StudyError(f"a stack of {stack.members} needs as many seeds, not {len(seeds)}.")
    if len(images.train.labels) < 2:
        raise StudyError("a phase needs at least 2 training images, and there is 1.")
    if (phase.kind in TAUGHT) != (teachers is not None):
        needs = "needs a teacher" if phase.kind in TAUGHT else "has no teacher"
        raise StudyError(f"the phase {phase.kind!r} {needs}.")
