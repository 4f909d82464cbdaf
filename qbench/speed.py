"""How fast the fused sweep is: beside sequential training, against its size, against the peak.

Every figure is a ratio of times measured side by side: the contenders take turns, round after
round, each in a process of its own that rests while another one works, so that what disturbs the
machine disturbs all alike. `sweep_step`, `sweep_scaling` and `sweep_epoch` measure and return what
every round gave; `speed_tables` sums that up.

Run as a program, this module is such a process: a line of JSON asks, a line of JSON answers.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import count, islice, product
from pathlib import Path
from typing import Any

import pandas as pd

from qbench import provenance, store
from qbench.speed_processes import rounds_of, serve, worker

# torch and what needs it are imported by the processes that measure, each with its own environment.

BREVITAS = "Brevitas, one after another"
PYTORCH = "PyTorch float32, one after another"
FUSED = "fused sweep"
BITS = (1, 2, 3, 4, 5, 6, 7, 8)
INPUTS, CLASSES = 32 * 32, 10  # MNIST resized to 32×32
DROPOUT, LEARNING_RATE = 0.2, 0.01
SIDES = (512, 1024, 2048)  # of the square matrices whose products show the peak

Unit = Callable[[], object]


@store.method(version=1, repeatable=False)
def sweep_step(
    *,
    weight_bits: Sequence[int] = BITS,
    act_bits: Sequence[int] = BITS,
    hidden: int = 64,
    batch_size: int = 100,
    images: int = 50_000,
    jit: Sequence[bool] = (True, False),
    threads: Sequence[int] = (1, 2),
    rounds: int = 9,
    seconds: float = 0.3,
) -> pd.DataFrame:
    """Time one training step of every configuration, fused and one model after another.

    A step is: pick the batch from the images in memory, forward with dropout, cross entropy,
    backward, Adam; the images, labels and their order are the same for all contenders. Sequential
    models are timed one at a time, each after an untimed step that brings its weights into the
    cache, and their times are added. Brevitas runs with each of `jit`, everything with each of
    `threads`. A turn lasts about `seconds`, at least one step of each model.

    Columns: `contender`, `jit` (of Brevitas: on, off), `threads`, `round`, `ms` (of one step of
    all configurations). A round that warms everything up is left out.
    """
    same = {"hidden": hidden, "batch_size": batch_size, "images": images}
    members = [[w, a, 0] for w, a in product(weight_bits, act_bits)]
    floats = [[32, 32, 0]] * len(members)
    work = {
        BREVITAS: {"what": "sequential", "members": members, **same},
        PYTORCH: {"what": "sequential", "members": floats, **same},
        FUSED: {"what": "fused", "members": members, **same},
    }
    settings = [(BREVITAS, on) for on in jit] + [(PYTORCH, False), (FUSED, False)]
    rows = []
    with ExitStack() as stack:
        asks = [stack.enter_context(worker(jit=on, module=__name__)) for _, on in settings]
        for number in rounds_of(rounds, "one step, round"):
            for (contender, on), ask in zip(settings, asks, strict=True):
                for how_many in threads:
                    turn = ask("turn", work=work[contender], threads=how_many, seconds=seconds)
                    state = _jit(on, turn["compiled"]) if contender == BREVITAS else None
                    rows.append((contender, state, how_many, number, turn["ms"]))
    table = pd.DataFrame(rows, columns=["contender", "jit", "threads", "round", "ms"])
    return table[table["round"] > 0].reset_index(drop=True)


@store.method(version=1, repeatable=False)
def sweep_scaling(
    *,
    members: Sequence[int] = (1, 4, 16, 64, 256),
    hidden: Sequence[int] = (64, 256, 1024),
    members_wide: int = 4,
    batch_size: int = 100,
    images: int = 50_000,
    threads: int = 2,
    rounds: int = 9,
    seconds: float = 0.3,
) -> pd.DataFrame:
    """Time one step of the fused sweep against its members, its width, and the machine's peak.

    The `members` counts have the first width of `hidden`, the other widths `members_wide` members.
    Up to 64 members share a seed, and so their batches; every 64 more bring another seed. The peak
    is that of float32 products of square matrices in the same process and round, the best of
    `SIDES`.

    Columns: `members`, `hidden`, `threads`, `round`, `gflop` (10⁹ floating-point operations in the
    matrix products of a step), `ms` (of a step), `peak_gflops` (10⁹ operations a second).
    """
    sizes = [(many, hidden[0]) for many in members]
    sizes += [(members_wide, width) for width in hidden if (members_wide, width) not in sizes]
    same = {"batch_size": batch_size, "images": images}
    rows = []
    with worker(module=__name__) as ask:

        def ms(**work: Any) -> float:
            return ask("turn", work=work, threads=threads, seconds=seconds)["ms"]

        for number in rounds_of(rounds, "scaling, round"):
            peak = max(2e-6 * side**3 / ms(what="square", side=side) for side in SIDES)
            for many, width in sizes:
                took = ms(what="fused", members=_first(many), hidden=width, **same)
                work = gflop(many, hidden=width, batch_size=batch_size)
                rows.append((many, width, threads, number, work, took, peak))
    columns = ["members", "hidden", "threads", "round", "gflop", "ms", "peak_gflops"]
    table = pd.DataFrame(rows, columns=columns)
    return table[table["round"] > 0].reset_index(drop=True)


@store.method(version=1, repeatable=False)
def sweep_epoch(
    *,
    dataset: str = "mnist",
    weight_bits: Sequence[int] = BITS,
    act_bits: Sequence[int] = BITS,
    hidden: int = 64,
    batch_size: int = 100,
    epochs: int = 2,
    threads: int = 2,
) -> pd.DataFrame:
    """Train every configuration for whole epochs with `sweep.train`, in a process of its own.

    One row: `dataset`, `members`, `steps` (of an epoch), `train_seconds` (an epoch, with batches,
    checkpoint and set-up), `evaluate_seconds` (validation and test images, once) and `peak_mib`,
    the process's largest resident size, loading the data included.
    """
    members = [[w, a, 0] for w, a in product(weight_bits, act_bits)]
    with worker(module=__name__) as ask, tempfile.TemporaryDirectory() as folder:
        row = ask(
            "epoch", dataset=dataset, members=members, hidden=hidden, batch_size=batch_size,
            epochs=epochs, threads=threads, checkpoint=folder,
        )  # fmt: skip
    return pd.DataFrame([{"dataset": dataset, "members": len(members), **row}])


def gflop(members: int, *, hidden: int, batch_size: int) -> float:
    """10⁹ floating-point operations in the matrix products of one step: forward, backward.

    Every layer has a product forward and one for its weights' gradient; all but the first have one
    more, for the gradient of their inputs.
    """
    first, rest = INPUTS * hidden, 2 * hidden**2 + hidden * CLASSES
    return 2e-9 * batch_size * members * (2 * first + 3 * rest)


# What the process that asks adds up


def _jit(on: bool, compiled: bool) -> str:
    """Without a C++ compiler and ninja Brevitas falls back, silently, to operators in Python."""
    return ("on" if compiled else "on, without its C++ operators") if on else "off"


def _first(many: int) -> list[list[int]]:
    """So many members, [weight bits, activation bits, seed]: wide ones first, seed after seed."""
    each = ([w, a, seed] for seed in count() for w, a in product(BITS[::-1], BITS[::-1]))
    return list(islice(each, many))


# The process that measures


def _turn(work: dict[str, Any], threads: int, seconds: float) -> dict[str, Any]:
    """Time some work: the sum over its units of the mean time of each, in ms."""
    import torch

    torch.set_num_threads(threads)
    units, total = _units(json.dumps(work)), 0.0
    for unit in units:
        unit()  # what it needs is in the cache again, as it is in the middle of training
        done, took, started = 0, 0.0, time.perf_counter()
        while not done or took < seconds / len(units):
            unit()
            done += 1
            took = time.perf_counter() - started
        total += 1e3 * took / done
    native = getattr(sys.modules.get("brevitas"), "NATIVE_STE_BACKEND_LOADED", False)
    return {"ms": total, "compiled": native}


@cache
def _units(work: str) -> list[Unit]:
    arguments = json.loads(work)
    makers = {"sequential": _sequential, "fused": _fused, "square": _square}
    return makers[arguments.pop("what")](**arguments)


def _sequential(members: list[list[int]], hidden: int, batch_size: int, images: int) -> list[Unit]:
    """A step of each model by itself, as `training` trains it; 32 bits are plain PyTorch."""
    import torch
    from torch.nn import functional as F

    from qbench.data import epoch_order
    from qbench.models.tfc import quant_tfc

    codes, labels = _samples(images)
    pixels = codes.float().div_(255)
    batches = (
        batch
        for epoch in count(1)
        for batch in torch.from_numpy(epoch_order(images, 0, epoch)).split(batch_size)
    )

    def unit(weight_bits: int, act_bits: int, _seed: int) -> Unit:
        model = quant_tfc(
            inputs=INPUTS, classes=CLASSES, hidden=hidden, weight_bits=weight_bits,
            act_bits=act_bits, dropout=DROPOUT,
        )  # fmt: skip
        optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
        total = torch.zeros(())

        def step() -> None:
            batch = next(batches)
            optimiser.zero_grad()
            loss = F.cross_entropy(model(pixels[batch]), labels[batch])
            loss.backward()
            optimiser.step()
            total.add_(loss.detach() * len(batch))

        return step

    return [unit(*member) for member in members]


def _fused(members: list[list[int]], hidden: int, batch_size: int, images: int) -> list[Unit]:
    """A step of all members together, as `sweep.train` trains them."""
    import torch

    from qbench.sweep import Member
    from qbench.sweep.fitting import _batches
    from qbench.sweep.network import Network, order

    codes, labels = _samples(images)
    group = order([Member(*member, LEARNING_RATE, DROPOUT) for member in members])
    network = Network(group, inputs=INPUTS, classes=CLASSES, hidden=hidden)
    batches = (
        batch for epoch in count(1) for batch in _batches(network, codes, labels, epoch, batch_size)
    )
    total = torch.zeros(len(group))

    def step() -> None:
        batch, keep, target = next(batches)
        total.add_(network.train_step(batch, keep, target) * target.shape[1])

    return [step]


def _square(side: int) -> list[Unit]:
    """A float32 product of square matrices."""
    import torch

    a, b = torch.rand(side, side), torch.rand(side, side)
    out = torch.empty(side, side)
    return [lambda: torch.mm(a, b, out=out)]


@cache
def _samples(images: int) -> tuple[Any, Any]:
    """8-bit pixels (images, 1024) and labels: random, since no time depends on what they show."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shape = (images, INPUTS)
    codes = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return codes, torch.randint(CLASSES, (images,), generator=generator)


def _epoch(
    dataset: str, members: list[list[int]], hidden: int, batch_size: int, epochs: int,
    threads: int, checkpoint: str,
) -> dict[str, Any]:  # fmt: skip
    import torch

    from qbench import data
    from qbench.sweep import Member, train
    from qbench.sweep.fitting import codes, error_rates

    torch.set_num_threads(threads)
    images = data.load(dataset, size=32, flatten=True, normalise="unit")
    started = time.perf_counter()
    outcome = train(
        [Member(*member, LEARNING_RATE, DROPOUT) for member in members], images, epochs=epochs,
        hidden=hidden, batch_size=batch_size, evaluate_at=[epochs], checkpoint=Path(checkpoint),
        title=f"{dataset}, {epochs} epochs",
    )  # fmt: skip
    whole = time.perf_counter() - started
    held_out = [codes(split, "cpu") for split in (images.valid, images.test)]
    started = time.perf_counter()
    for network in outcome.networks:
        for split in held_out:
            error_rates(network, *split)
    evaluation = time.perf_counter() - started
    return {
        "steps": math.ceil(len(images.train) / batch_size),
        "train_seconds": (whole - evaluation) / epochs,
        "evaluate_seconds": evaluation,
        "peak_mib": provenance.peak_memory_mib(),
    }


if __name__ == "__main__":
    serve({"turn": _turn, "epoch": _epoch})
