"""Train many same-shaped quantised perceptrons as one fused model.

`grid(...)` makes the members, `train(members, images, ...)` trains them; `quant_mlps` is what
chapters ask for, stored member by member. Training needs torch, NumPy and pandas only, storing
pyarrow as well, and `quant_mlps` the data sets.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from qbench import store

from .export import export_qonnx, to_brevitas
from .fitting import Outcome, train
from .group import CHUNK
from .members import Bits, Member, SweepError, check, grid, named

__all__ = [
    "Member",
    "Outcome",
    "SweepError",
    "evaluation_epochs",
    "export_qonnx",
    "grid",
    "named",
    "quant_mlp",
    "quant_mlps",
    "to_brevitas",
    "train",
]


def evaluation_epochs(epochs: int) -> list[int]:
    """The epochs that a stored run is evaluated after: 1 to 10, every fifth and the last."""
    return sorted({*range(1, min(10, epochs) + 1), *range(5, epochs + 1, 5), epochs})


@store.method(version=1)
def quant_mlp(
    *,
    dataset: str,
    weight_bits: Bits,
    act_bits: Bits,
    epochs: int = 100,
    hidden: int = 64,
    seed: int = 0,
    learning_rate: float = 0.01,
    dropout: float = 0.2,
    batch_size: int = 100,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train one QuantTFC as a sweep of one member; the same numbers as in any larger sweep.

    Bits are one number, or one for each layer, as in `Member`. Images resized to 32×32; the recipe
    of Ducasse et al. 2021, Table I. Returns the table that
    `Outcome` describes at `evaluation_epochs`. Raises `FloatingPointError` when the loss is no
    longer finite.
    """
    member = Member(weight_bits, act_bits, seed, learning_rate, dropout)
    outcome = _train(dataset, [member], epochs, hidden, batch_size, checkpoint)
    if member in outcome.diverged:
        raise FloatingPointError(outcome.diverged[member])
    return outcome.tables[member]


def quant_mlps(
    dataset: str,
    members: Sequence[Member],
    *,
    epochs: int = 100,
    hidden: int = 64,
    batch_size: int = 100,
) -> dict[Member, pd.DataFrame]:
    """`quant_mlp` for many members, from the store where it has them, the others in one sweep.

    A member whose loss was no longer finite is named on standard error and left out. Raises
    `SweepError` for what cannot be trained, before any work.
    """
    same: dict[str, Any] = {"epochs": epochs, "hidden": hidden, "batch_size": batch_size}
    check(members, **same)
    same = {name: int(value) for name, value in same.items()}  # NumPy's numbers have no JSON

    def together(asked: list[dict[str, Any]], checkpoint: Path) -> list[pd.DataFrame | None]:
        names = Member.__dataclass_fields__
        wanted = [Member(**{name: one[name] for name in names}) for one in asked]
        outcome = _train(dataset, wanted, checkpoint=checkpoint, **same)
        for sentence in outcome.diverged.values():
            print(sentence, file=sys.stderr)
        return [outcome.tables.get(member) for member in wanted]

    asked = [{"dataset": dataset, **asdict(member), **same} for member in members]
    _elsewhere(asked)
    tables = store.run_together(quant_mlp, asked, together)
    pairs = zip(members, tables, strict=True)
    return {member: table for member, table in pairs if table is not None}


def _elsewhere(asked: Sequence[dict[str, Any]]) -> None:
    """Have what is not stored trained by other machines, where there are any: group by group."""
    with suppress(ImportError):  # a machine with nothing but torch, NumPy and pandas
        from qbench import workers

        if workers.elsewhere():
            names = store.missing([store.spec(quant_mlp, **one) for one in asked])
            left = [one for one in asked if store.key(store.spec(quant_mlp, **one)) in names]
            left.sort(key=lambda one: (one["weight_bits"] == 32, one["act_bits"] == 32))
            jobs = [(left[at : at + CHUNK],) for at in range(0, len(left), CHUNK)]
            workers.fetch(_group, jobs, title="groups of the sweep")


def _group(asked: list[dict[str, Any]]) -> list[store.Spec]:
    """Train and store these together; the specifications of those that stayed finite."""
    names = Member.__dataclass_fields__
    members = [Member(**{name: one[name] for name in names}) for one in asked]
    same = {name: one for name, one in asked[0].items() if name not in names}
    found = quant_mlps(members=members, **same)
    pairs = zip(members, asked, strict=True)
    return [store.spec(quant_mlp, **one) for member, one in pairs if member in found]


def _train(
    dataset: str,
    members: Sequence[Member],
    epochs: int,
    hidden: int,
    batch_size: int,
    checkpoint: Path | None,
) -> Outcome:
    from qbench import data  # its catalogue needs more packages than training does

    check(members, epochs=epochs, hidden=hidden, batch_size=batch_size)  # before data are fetched
    return train(
        members,
        data.load(dataset, size=32, flatten=True, normalise="unit"),
        epochs=epochs,
        hidden=hidden,
        batch_size=batch_size,
        evaluate_at=evaluation_epochs(epochs),
        checkpoint=checkpoint,
        title=f"{dataset}, {len(members)} network{'s' * (len(members) > 1)}",
    )
