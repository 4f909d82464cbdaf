"""One phase of training: the loop, to be read from top to bottom."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from qbench import checkpoints, curves, data
from qbench.training import error_rate

from .errors import SparsityError
from .networks import Ternary, copied
from .phases import Phase

EVALUATED = 500  # images at once
CHECKPOINT_SECONDS = 60  # between two at least


def study(
    network: Ternary,
    images: "data.Dataset",
    phase: Phase,
    *,
    seed: int = 0,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    checkpoint: Path | None = None,
    title: str = "training",
    progress: bool = True,
) -> pd.DataFrame:
    """Train `network` in place, leave it as its best epoch left it, and return one row an epoch.

    Columns: `epoch` (1, 2, …), `train_loss` (mean cross entropy over the epoch, nats, without the
    penalty), `train_error` (%, of the epoch's images as they were trained on), `valid_error` (%,
    whole split, after the epoch), `zeros` and `pruned` (% of all weights), `nonzeros_<layer>` for
    each layer, and `test_error` (%), which only the best epoch has: the first with the least
    validation error. Batch norm uses its running averages for validation and test. Images are seen
    in the order of `seed`. `loss` takes logits, labels and the images' places and gives what is
    made small, and `train_loss`, in place of the cross entropy.
    If `checkpoint` exists, training goes on from it to the same numbers; it is replaced atomically,
    at most once a minute. Where the loss is no longer finite, the table ends with that epoch, has
    no test error, and a warning says so; the network is left as it is then.
    Raises `SparsityError` for too few images, and `store.StoreError` when the checkpoint cannot be
    written.
    """
    pixels, labels = images.train.images, images.train.labels
    if len(labels) < 2:
        raise SparsityError("a phase needs at least 2 training images, and there is 1.")
    optimiser = torch.optim.Adam(network.parameters(), lr=phase.learning_rate, fused=True)
    log: list[dict[str, Any]] = []
    best: dict[str, dict[str, Tensor]] = {}
    if before := checkpoints.load(checkpoint):
        network.load(before["network"])
        optimiser.load_state_dict(before["optimiser"])
        log, best = before["log"], before["best"]
    steps = sum(1 for _ in _batches(len(labels), seed, 1, phase.batch_size))
    saved = time.monotonic()
    bar = tqdm(total=phase.epochs * steps, initial=len(log) * steps, desc=title, unit="step",
               mininterval=1, **({} if progress else {"disable": True}))  # fmt: skip
    with bar, curves.of(title, checkpoint) as curve:
        for epoch in range(len(log) + 1, phase.epochs + 1):
            network.model.train()
            loss_sum, wrong, seen = torch.zeros(()), torch.zeros((), dtype=torch.int64), 0
            batches = _batches(len(labels), seed, epoch, phase.batch_size)
            for number, places in enumerate(batches, (epoch - 1) * steps):
                truth = labels[places]
                said = network.model(pixels[places])
                cost = loss(said, truth, places) if loss else F.cross_entropy(said, truth)
                cost.backward()
                network.gradients(phase.strength)
                _step(network, optimiser, phase.rate(number, phase.epochs * steps))
                loss_sum += cost.detach() * len(places)
                wrong += (said.detach().argmax(1) != truth).sum()
                seen += len(places)
                bar.update()
            log.append(_row(network, epoch, float(loss_sum) / seen, 100 * int(wrong) / seen))
            if not math.isfinite(log[-1]["train_loss"]):
                warnings.warn(
                    f"{title}: the loss was no longer finite in epoch {epoch}; it has no errors.",
                    stacklevel=2,
                )
                return pd.DataFrame(log)
            log[-1]["valid_error"] = error_rate(network.model, images.valid, EVALUATED)
            curve(log[-1])
            if log[-1]["valid_error"] < min((row["valid_error"] for row in log[:-1]), default=101):
                best = copied(network.state())
            if checkpoint and time.monotonic() - saved >= CHECKPOINT_SECONDS:
                state = {"network": network.state(), "optimiser": optimiser.state_dict()}
                checkpoints.save(checkpoint, state | {"log": log, "best": best})
                saved = time.monotonic()
    network.load(best)
    first = min(log, key=lambda row: row["valid_error"])
    first["test_error"] = error_rate(network.model, images.test, EVALUATED)
    return pd.DataFrame(log)


def _step(network: Ternary, optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Adam on w_r and batch norm, with the gradients that they have; then w_q anew."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad()
    network.clip()
    network.quantise()


def _batches(count: int, seed: int, epoch: int, size: int) -> Iterator[Tensor]:
    """The places of every batch of an epoch; a last batch of one image is left out."""
    for places in torch.from_numpy(data.epoch_order(count, seed, epoch)).split(size):
        if len(places) > 1:
            yield places


def _row(network: Ternary, epoch: int, loss: float, wrong: float) -> dict[str, Any]:
    counts, total = network.nonzeros(), network.count
    return {
        "epoch": epoch,
        "train_loss": loss,
        "train_error": wrong,
        "valid_error": math.nan,
        "zeros": 100 * (1 - sum(counts.values()) / total),
        "pruned": 100 * network.pruned() / total,
        **{f"nonzeros_{name}": count for name, count in counts.items()},
        "test_error": math.nan,
    }
