"""Chapters 08 and 09: what their trainings have in common, and their errors as one table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from qbench.parameters import DenseNetQkd, PerceptronQkd
from qbench.qkd import runs
from qbench.studies import words

#: Methods as `data/paper` names them, and on the page.
METHODS = {
    "baseline": "float32",
    "kd": "KD, float32",
    "ptq": "PTQ",
    "qat": "QAT (SS)",
    "long qat": "QAT, as long as QKD",
    "qat+kd": "SS+TS",
    "qkd": "QKD (SS+CS+TS)",
}
#: Those of them whose networks are rounded, in the order of their effort.
QUANTISED = ("ptq", "qat", "qat+kd", "qkd", "long qat")

#: How quantisers find their ranges, in a sentence.
NAMED = {"minmax": "running averages", "learnt": "learnt intervals"}


@dataclass(frozen=True)
class Cell:
    """One entry of a table: a network, how it was trained, and its last phase's parameters."""

    network: str
    method: str
    seed: int
    spec: dict[str, Any] = field(repr=False)
    bits: int = 32
    quantiser: str = ""
    per_channel: bool = False
    alpha: float | None = None


def table(cells: Sequence[Cell], *, at_once: int | None = None, title: str) -> pd.DataFrame:
    """Train all of it, or look it up: one row a cell.

    Columns: `network`, `method`, `weight_bits` = `act_bits`, `quantiser`, `per_channel`, `alpha`,
    `seed`, `train_error` (of the last epoch), `valid_error` and `test_error` (%).
    """
    found = runs.studies([cell.spec for cell in cells], at_once=at_once, title=title)
    rows = []
    for cell, log in zip(cells, found, strict=True):
        last = log.iloc[-1]
        rows.append(
            {
                "network": cell.network,
                "method": cell.method,
                "weight_bits": cell.bits,
                "act_bits": cell.bits,
                "quantiser": cell.quantiser,
                "per_channel": cell.per_channel,
                "alpha": cell.alpha,
                "seed": cell.seed,
                "train_error": last["train_error"],
                "valid_error": last["valid_error"],
                "test_error": last["test_error"],
            }
        )
    return pd.DataFrame(rows)


def described(p: PerceptronQkd | DenseNetQkd) -> str:
    """The scale of the trainings, for a caption."""
    many = "one seed" if len(p.seeds) == 1 else f"{len(p.seeds)} seeds"
    images = f"all images of {words.dataset(p.dataset)} but those for validation"
    if p.images is not None:
        images = f"{p.images:,} images of {words.dataset(p.dataset)}"
    return f"{many}, {images}, {p.share:.3g} of the thesis' epochs"


def rounded(
    float32: dict[str, Any], bits: int, quantiser: str, per_channel: bool = False
) -> dict[str, Any]:
    """PTQ of the network that `float32`, parameters of `runs.study`, trains."""
    same = ("dataset", "network", "images", "seed")
    spec = {name: float32[name] for name in same}
    spec |= {"start": float32, "weight_bits": bits, "act_bits": bits, "quantiser": quantiser}
    return spec | {"phase": "ptq", "epochs": 0, "per_channel": per_channel}


def phase(
    kind: str,
    epochs: int,
    learning_rate: float,
    drops: Sequence[int] = (),
    factor: float = 0.2,
    *,
    share: float,
    warm_up: float = 0,
    batch_size: int = 64,
    weight_decay: float = 5e-4,
) -> dict[str, Any]:
    """A phase of `runs.study`; `share` scales its epochs, one at least, and when rates fall."""
    return {
        "phase": kind,
        "epochs": max(1, round(epochs * share)),
        "learning_rate": learning_rate,
        "drops": [max(1, round(drop * share)) for drop in drops],
        "factor": factor,
        "warm_up": warm_up * share,
        "batch_size": batch_size,
        "weight_decay": weight_decay,
    }
