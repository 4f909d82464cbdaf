"""Train one network: epochs, schedule, evaluation, checkpoints, progress.

`fit` is the loop, to be read from top to bottom; `quant_mlp` is the experiment that chapters store.
"""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from qbench import checkpoints, curves, data, store, threads

MILESTONES = (0.90, 0.95)  # epochs 90 and 95 of 100: Ducasse et al. 2021, Table I


@store.method(version=2)
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
    from qbench.models.tfc import quant_tfc  # brings Brevitas, which `fit` does not need

    images = data.load(dataset, size=32, flatten=True, normalise="unit")
    with torch.random.fork_rng(devices=[]), threads.at_most(1):
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
    factor: float = 0.1,
    weight_decay: float = 0.0,
    evaluate_at: Collection[int] | None = None,
    at_once: int = 2500,
    checkpoint: Path | None = None,
    title: str = "training",
) -> pd.DataFrame:
    """Train `model` in place with Adam and return one row an epoch.

    Columns: `epoch` (1, 2, …), `learning_rate`, `train_loss` (mean cross entropy over the epoch, in
    nats, dropout on), `valid_error` and `test_error` (%, whole split, dropout off). The learning
    rate is multiplied by `factor` at each of `milestones`, given as shares of all epochs. The two
    errors are missing but at the epochs `evaluate_at` (None: all) and the last; `at_once` images
    are evaluated together. If `checkpoint` exists, training goes on from it to the same numbers; it
    is replaced atomically after every epoch.
    Raises `FloatingPointError` when the loss is no longer finite and `store.StoreError` when the
    checkpoint cannot be written.
    """
    before = checkpoints.load(checkpoint)
    if before:  # ahead of the optimiser: Brevitas makes new parameters when it loads a state
        model.load_state_dict(before["model"])
    optimiser = torch.optim.Adam(
        model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimiser, [round(share * epochs) for share in milestones], gamma=factor
    )
    if before:
        optimiser.load_state_dict(before["optimiser"])
        schedule.load_state_dict(before["schedule"])
        torch.set_rng_state(before["rng"])
    log = before["log"] if before else []

    progress = tqdm(total=epochs, initial=len(log), desc=title, unit="epoch", mininterval=1)
    with progress, curves.of(title, checkpoint) as curve:
        for epoch in range(len(log) + 1, epochs + 1):
            rate = schedule.get_last_lr()[0]
            loss = _train_epoch(model, optimiser, images.train, batch_size, seed, epoch)
            if not math.isfinite(loss):
                raise FloatingPointError(f"{title}: the loss is {loss} in epoch {epoch}.")
            schedule.step()
            told = evaluate_at is None or epoch == epochs or epoch in evaluate_at
            row = {"epoch": epoch, "learning_rate": rate, "train_loss": loss}
            for name in ("valid", "test"):
                split = getattr(images, name)
                row[f"{name}_error"] = error_rate(model, split, at_once) if told else math.nan
            log.append(row)
            curve(row)
            if checkpoint:
                parts = {"model": model, "optimiser": optimiser, "schedule": schedule}
                state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
                checkpoints.save(checkpoint, state | {"log": log, "rng": torch.get_rng_state()})
            progress.set_postfix_str(
                f"validation error {log[-1]['valid_error']:.2f} %", refresh=False
            )
            progress.update()
    return pd.DataFrame(log)


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
