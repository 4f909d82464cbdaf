"""Train the members of a sweep together: batches, schedule, evaluation, checkpoints, progress."""

import hashlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from qbench import checkpoints, curves, paths, threads
from qbench.data.loading import epoch_order

from .members import Member, SweepError, check
from .network import Network, order

if TYPE_CHECKING:
    from qbench.data import Dataset, Split

MILESTONES = (0.90, 0.95)  # epochs 90 and 95 of 100: Ducasse et al. 2021, Table I
MEMORY = 2 * 2**30
CHECKPOINT_SECONDS = 60
EVALUATED_TOGETHER = 500  # images
DRAWN = ("train_loss", "valid_error", "test_error")  # of every member, over the epochs
WORTH_THREADS = 2**19  # weights of the first layers: 8 networks of 1,024 inputs and 64 neurons


@dataclass
class Outcome:
    """What training gave: a table for every member that stayed finite, a sentence for the others.

    A table has one row for each epoch evaluated: `epoch`, `learning_rate`, `train_loss` (mean cross
    entropy of that epoch in nats, dropout on), `valid_error` and `test_error` (%, dropout off).
    """

    tables: dict[Member, pd.DataFrame] = field(default_factory=dict)
    diverged: dict[Member, str] = field(default_factory=dict)
    networks: list[Network] = field(default_factory=list)

    def network(self, member: Member) -> tuple[Network, int]:
        """The trained group that `member` is in, and its place there."""
        for network in self.networks:
            if member in network.members:
                return network, network.members.index(member)
        raise SweepError(f"{member} is not a member of this sweep.")


def train(
    members: Sequence[Member],
    images: "Dataset",
    *,
    epochs: int,
    hidden: int = 64,
    batch_size: int = 100,
    evaluate_at: Sequence[int] | None = None,
    milestones: Sequence[float] = MILESTONES,
    device: torch.device | str = "cpu",
    memory: int = MEMORY,
    checkpoint: Path | None = None,
    title: str = "sweep",
) -> Outcome:
    """Train every member with Adam on cross entropy; each follows the path it would follow alone.

    `images` are flat with 8-bit levels in [0, 1], as `data.load(…, flatten=True)` gives them. The
    learning rates fall by 10 at each of `milestones`, shares of all epochs. `evaluate_at` lists
    epochs (None: every one). Groups are as large as `memory`, in bytes, allows. With the folder
    `checkpoint` a later call goes on where this one was stopped, to the same numbers. A member
    whose loss is no longer finite is reported in `Outcome.diverged`; the others finish.
    Raises `SweepError` for what cannot be trained, before any work.
    """
    evaluated = check(
        members, epochs=epochs, hidden=hidden, batch_size=batch_size, evaluate_at=evaluate_at
    )
    splits = {name: codes(getattr(images, name), device) for name in ("train", "valid", "test")}
    inputs, classes = splits["train"][0].shape[1], len(images.classes)
    groups = divide(members, inputs, hidden, batch_size, memory)
    batches = sum(len(part) > 1 for part in splits["train"][1].split(batch_size))
    if not batches:
        raise SweepError("batch norm needs at least 2 images to train with, and there is only 1.")
    drops = [round(share * epochs) for share in milestones]
    outcome = Outcome()
    with _progress(len(groups) * epochs * batches, title) as progress:
        for number, group in enumerate(groups, 1):
            network = Network(group, inputs=inputs, classes=classes, hidden=hidden, device=device)
            file = checkpoint and checkpoint / f"group-{_name(group)}.pt"
            # Bits do not depend on the number of threads, and small layers are slower on several.
            count = 1 if len(group) * inputs * hidden < WORTH_THREADS else torch.get_num_threads()
            name = f"{title}, group {number}" if len(groups) > 1 else title
            with threads.at_most(count), curves.of(name, file) as curve:
                log = _train_group(
                    network, splits, epochs, batch_size, evaluated, drops, file, progress, curve
                )
            for index, member in enumerate(network.members):
                if (epoch := log["diverged"][index]) > 0:
                    outcome.diverged[member] = (
                        f"{member}: the loss was no longer finite in epoch {epoch}."
                    )
                else:
                    outcome.tables[member] = _table(log, member, index)
            outcome.networks.append(network)
    return outcome


def _train_group(
    network: Network,
    splits: dict[str, tuple[Tensor, Tensor]],
    epochs: int,
    batch_size: int,
    evaluated: Sequence[int],
    drops: Sequence[int],
    checkpoint: Path | None,
    progress: Any,
    curve: Callable[[curves.Row], None],
) -> dict[str, Any]:
    """Train one group; returns its log, lists with one entry an evaluated epoch."""
    count = len(network.members)
    log: dict[str, Any] = {"epoch": [], "share": [], "train_loss": [], "valid_error": [],
                           "test_error": [], "diverged": [0] * count}  # fmt: skip
    done, train, labels = 0, *splits["train"]
    asked = {"epochs": epochs, "batch_size": batch_size, "evaluated": list(evaluated),
             "drops": list(drops), "sizes": network.sizes, "images": len(labels)}  # fmt: skip
    before = checkpoints.load(checkpoint)
    if before and before.get("asked", asked) != asked:
        print(f"{paths.shown(checkpoint)} is of another sweep: not used", file=sys.stderr)
    elif before:
        network.load(before["network"])
        log, done = before["log"], before["epoch"]
    batches = sum(len(part) > 1 for part in labels.split(batch_size))
    progress.update(done * batches)
    saved = time.monotonic()
    for epoch in range(done + 1, epochs + 1):
        share = 0.1 ** sum(epoch > drop for drop in drops)
        total, seen = torch.zeros(count, device=network.device), 0
        for batch, keep, target in _batches(network, train, labels, epoch, batch_size):
            total += network.train_step(batch, keep, target, share) * target.shape[1]
            seen += target.shape[1]
            progress.update()
        network.finish(share)
        losses = (total / seen).tolist()
        for index, loss in enumerate(losses):
            if not math.isfinite(loss) and not log["diverged"][index]:
                log["diverged"][index] = epoch
                print(
                    f"{network.members[index]}: the loss is {loss} in epoch {epoch}",
                    file=sys.stderr,
                )
        if epoch in evaluated:
            log["epoch"].append(epoch)
            log["share"].append(share)
            log["train_loss"].append(losses)
            for name in ("valid", "test"):
                log[f"{name}_error"].append(error_rates(network, *splits[name]).tolist())
            curve({"epoch": epoch} | {name: log[name][-1] for name in DRAWN})
            best = np.min(log["valid_error"][-1])
            progress.set_postfix_str(f"least validation error {best:.2f} %", refresh=False)
        late = time.monotonic() - saved >= CHECKPOINT_SECONDS
        if checkpoint and (late or epoch == epochs):
            state = {"network": network.state(), "log": log, "epoch": epoch, "asked": asked}
            checkpoints.save(checkpoint, state)
            saved = time.monotonic()
    return log


def _batches(
    network: Network, images: Tensor, labels: Tensor, epoch: int, batch_size: int
) -> Iterator[tuple[list[Tensor], list[Tensor], Tensor]]:
    """Of every batch of an epoch: images after dropout, which activations stay, labels.

    Order and dropout come from (seed, epoch) alone, so they do not depend on the group.
    """
    hidden, size = network.sizes[0][1], images.shape[1]
    orders, noises = [], []
    for seed, _ in network.streams:
        orders.append(torch.from_numpy(epoch_order(len(labels), seed, epoch)))
        key = np.array([seed, epoch], np.uint64)
        # epoch_order uses the same key with the counter at zero
        noises.append(np.random.Philox(key=key, counter=np.array([0, 0, 0, 1], np.uint64)))
    for start in range(0, len(labels), batch_size):
        chosen = [one[start : start + batch_size].to(images.device) for one in orders]
        count = len(chosen[0])
        if count < 2:  # batch norm needs two images
            continue
        batch, keep = [], []
        for which, noise, (_, dropout) in zip(chosen, noises, network.streams, strict=True):
            stays = _stays(noise, count * (size + 3 * hidden), dropout).to(images.device)
            noisy = images.index_select(0, which).mul_(stays[: count * size].view(count, size))
            batch.append(noisy.to(network.dtype))
            keep.append(stays[count * size :].view(3, hidden, count).to(network.dtype))
        yield batch, keep, torch.stack([labels[which] for which in chosen])


def _stays(noise: np.random.Philox, count: int, dropout: float) -> Tensor:
    """uint8 (count,): 0 with the probability `dropout`, to 16 bits, else 1."""
    numbers = noise.random_raw(-(-count // 4)).view(np.uint16)[:count]
    return torch.from_numpy(numbers >= round(dropout * 2**16)).view(torch.uint8)


def error_rates(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """What each member gets wrong in evaluation mode: %, (M,)."""
    predicted = network.predict(images, EVALUATED_TOGETHER)
    wrong = torch.zeros(len(network.members), dtype=torch.int64, device=labels.device)
    for classes, target in zip(predicted, labels.split(EVALUATED_TOGETHER), strict=True):
        wrong += (classes != target).sum(1)
    return 100 * wrong.double() / len(labels)


def codes(split: "Split", device: torch.device | str) -> tuple[Tensor, Tensor]:
    """8-bit codes (N, I) and labels of a split; `SweepError` where it holds anything else."""
    images = split.images
    if images.ndim != 2:
        raise SweepError(
            f"images must be flat, (N, pixels), not {tuple(images.shape)}: load them with "
            "flatten=True."
        )
    levels = (images * 255).round_()
    if not bool(((levels - images * 255).abs() < 1e-3).all() & (levels.aminmax()[0] >= 0)
                & (levels.aminmax()[1] <= 255)):  # fmt: skip
        raise SweepError('images must have 8-bit levels in [0, 1]: load them with "unit".')
    return levels.to(torch.uint8).to(device), split.labels.to(device)


def divide(
    members: Sequence[Member], inputs: int, hidden: int, batch_size: int, memory: int
) -> list[list[Member]]:
    """The groups to train one after the other: alike in what is float32, none beyond `memory`.

    Raises `SweepError` if not even one member fits.
    """
    size = member_bytes(inputs, hidden, batch_size)
    most = memory // size
    if most < 1:
        raise SweepError(
            f"memory must be at least {size:,} bytes, what one member of this size needs, "
            f"not {memory:,}."
        )
    kinds: dict[tuple[bool, bool], list[Member]] = {}
    for member in order(members):
        kind = member.weight_bits == 32, member.act_bits == 32
        kinds.setdefault(kind, []).append(member)
    groups = []
    for kind in kinds.values():
        parts = math.ceil(len(kind) / most)
        bounds = [len(kind) * part // parts for part in range(parts + 1)]
        groups += [kind[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    return groups


def member_bytes(inputs: int, hidden: int, batch_size: int) -> int:
    """Memory that one more member of a group takes: parameters, Adam's moments, activations."""
    first, rest = inputs * hidden, 2 * hidden**2
    images = max(batch_size, EVALUATED_TOGETHER)
    return 4 * (4 * first + 6 * rest + 10 * hidden * batch_size + 2 * hidden * images)


def _table(log: dict[str, Any], member: Member, index: int) -> pd.DataFrame:
    rates = [share * member.learning_rate for share in log["share"]]
    columns = {"epoch": log["epoch"], "learning_rate": rates}
    for name in DRAWN:
        columns[name] = [row[index] for row in log[name]]
    return pd.DataFrame(columns)


def _name(group: Sequence[Member]) -> str:
    return hashlib.sha256(repr(list(group)).encode()).hexdigest()[:16]


class _Silent:
    def update(self, count: int = 1) -> None: ...

    def set_postfix_str(self, text: str, refresh: bool = False) -> None: ...


def _progress(total: int, title: str) -> Any:
    with suppress(ImportError):  # a machine with nothing but torch, NumPy and pandas
        from tqdm import tqdm

        return tqdm(total=total, desc=title, unit="step", mininterval=1, file=sys.stderr)
    return nullcontext(_Silent())
