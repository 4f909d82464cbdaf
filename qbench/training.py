"""Train one network: epochs, schedule, evaluation, checkpoints, progress.

`fit` is the loop, to be read from top to bottom; `quant_mlp` is the experiment that chapters store.
"""

import hashlib
import io
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from qbench import data, paths, store
from qbench.files import write_atomically
from qbench.models.tfc import quant_tfc

MILESTONES = (0.90, 0.95)  # epochs 90 and 95 of 100: Ducasse et al. 2021, Table I


@store.method(version=1)
def quant_mlp(
    *,
    dataset: str,
    weight_bits: int,
    act_bits: int,
    epochs: int = 100,
    hidden: int = 64,
    seed: int = 0,
    learning_rate: float = 0.01,
    dropout: float = 0.2,
    batch_size: int = 100,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train QuantTFC on images resized to 32×32, with the recipe of Ducasse et al. 2021, Table I.

    Adam, cross entropy, learning rate × 0.1 after 90 % and after 95 % of the epochs. The seed sets
    the initial weights, the dropout and the order of the images. Returns one row an epoch (`fit`).
    `checkpoint` is a folder to resume from and to leave the state of every epoch in. Runs on one
    thread: layers this small are slower on two, and the sums are then the same on any machine size.
    """
    images = data.load(dataset, size=32, flatten=True, normalise="unit")
    with torch.random.fork_rng(devices=[]), _threads(1):
        torch.manual_seed(seed)
        model = quant_tfc(
            inputs=images.train.images.shape[1],
            classes=len(images.classes),
            hidden=hidden,
            weight_bits=weight_bits,
            act_bits=act_bits,
            dropout=dropout,
        )
        return fit(
            model,
            images,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            seed=seed,
            checkpoint=checkpoint and checkpoint / "state.pt",
            title=f"{dataset} W{weight_bits}A{act_bits} seed {seed}",
        )


def fit(
    model: nn.Module,
    images: "data.Dataset",
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
    milestones: Sequence[float] = MILESTONES,
    checkpoint: Path | None = None,
    title: str = "training",
) -> pd.DataFrame:
    """Train `model` in place with Adam and return one row an epoch.

    Columns: `epoch` (1, 2, …), `learning_rate`, `train_loss` (mean cross entropy over the epoch, in
    nats, dropout on), `valid_error` and `test_error` (%, whole split, dropout off). The learning
    rate falls by 10 at each of `milestones`, given as shares of all epochs. If `checkpoint` exists,
    training goes on from it to the same numbers; it is replaced atomically after every epoch.
    Raises `FloatingPointError` when the loss is no longer finite and `store.StoreError` when the
    checkpoint cannot be written.
    """
    before = _load(checkpoint)
    if before:  # ahead of the optimiser: Brevitas makes new parameters when it loads a state
        model.load_state_dict(before["model"])
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimiser, [round(share * epochs) for share in milestones], gamma=0.1
    )
    if before:
        optimiser.load_state_dict(before["optimiser"])
        schedule.load_state_dict(before["schedule"])
        torch.set_rng_state(before["rng"])
    log = before["log"] if before else []

    progress = tqdm(total=epochs, initial=len(log), desc=title, unit="epoch", mininterval=1)
    for epoch in range(len(log) + 1, epochs + 1):
        rate = schedule.get_last_lr()[0]
        loss = _train_epoch(model, optimiser, images.train, batch_size, seed, epoch)
        if not math.isfinite(loss):
            raise FloatingPointError(f"{title}: the loss is {loss} in epoch {epoch}.")
        schedule.step()
        log.append(
            {
                "epoch": epoch,
                "learning_rate": rate,
                "train_loss": loss,
                "valid_error": error_rate(model, images.valid),
                "test_error": error_rate(model, images.test),
            }
        )
        _save(checkpoint, log, model=model, optimiser=optimiser, schedule=schedule)
        progress.set_postfix_str(f"validation error {log[-1]['valid_error']:.2f} %", refresh=False)
        progress.update()
    progress.close()
    return pd.DataFrame(log)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    split: "data.Split",
    batch_size: int,
    seed: int,
    epoch: int,
) -> float:
    """One pass over the images in the order that (seed, epoch) gives; returns the mean loss."""
    model.train()
    order = torch.from_numpy(data.epoch_order(len(split.labels), seed, epoch))
    total, seen = torch.zeros(()), 0
    for batch in order.split(batch_size):
        if len(batch) < 2:  # batch norm needs two images
            continue
        optimiser.zero_grad()
        loss = F.cross_entropy(model(split.images[batch]), split.labels[batch])
        loss.backward()
        optimiser.step()
        total += loss.detach() * len(batch)
        seen += len(batch)
    return float(total) / seen


@torch.no_grad()
def error_rate(model: nn.Module, split: "data.Split", batch_size: int = 2500) -> float:
    """Share of `split` that the model, in evaluation mode, gets wrong: %, 0 to 100."""
    model.eval()
    pairs = zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True)
    wrong = sum(int((model(images).argmax(1) != labels).sum()) for images, labels in pairs)
    return 100 * wrong / len(split.labels)


def _save(checkpoint: Path | None, log: list[dict], **parts: Any) -> None:
    """Write the state of everything that training changes, behind its own SHA-256 digest."""
    if checkpoint is None:
        return
    state = {name: part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save({**state, "log": log, "rng": torch.get_rng_state()}, buffer)
    content = buffer.getvalue()
    with store.writing(checkpoint.parent):
        write_atomically(checkpoint, hashlib.sha256(content).digest() + content)


def _load(checkpoint: Path | None) -> dict[str, Any] | None:
    """The state that `_save` left; None where there is none, or where it has been damaged."""
    if checkpoint is None or not checkpoint.exists():
        return None
    written = checkpoint.read_bytes()
    digest, content = written[:32], written[32:]
    if hashlib.sha256(content).digest() != digest:
        print(f"{paths.shown(checkpoint)} is damaged: training begins again", file=sys.stderr)
        return None
    buffer = io.BytesIO(content)
    return torch.load(buffer, weights_only=True)
