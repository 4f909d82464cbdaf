"""How fast perceptrons are trained with rounding in place: stacks beside PyTorch's own modules.

Every figure is a ratio of rates measured side by side, as in `speed`: the contenders take turns,
round after round, in a process that does nothing else. `perceptron_step` measures and returns what
every round gave; `beside` sums that up.

Run as a program, this module is such a process, as `speed` is.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle
from typing import Any

import pandas as pd

from qbench import store
from qbench.speed_distillation import steps_per_second, summed_up
from qbench.speed_processes import rounds_of, serve, worker

# torch and what needs it are imported by the processes that measure, as in `speed`.

OURS = "qbench.qkd"
FUSED = "PyTorch, fused observer"
APART = "PyTorch, observer and rounding apart"
NETWORK, PIXELS, CLASSES, RATE, DECAY = "kl_mlp_student", 784, 10, 0.01, 5e-4
INPUT_BITS, TINY = 8, 2**-23  # of the images; the least scale, as ours


@store.method(version=1, repeatable=False)
def perceptron_step(
    *,
    members: Sequence[int] = (1, 3, 9),
    threads: Sequence[int] = (1, 2),
    bits: int = 4,
    images: int = 10_000,
    batch_size: int = 64,
    rounds: int = 7,
    seconds: float = 1.0,
) -> pd.DataFrame:
    """Time training steps of KL_MLP_Student with weights and activations of `bits` bits.

    A step cuts a batch, rounds with ranges from running averages, and ends with SGD's update
    (Nesterov momentum 0.9, weight decay). Ours trains `members` networks as one stack; PyTorch's
    are its quantisation-aware modules, one network at a time, in the faster form that finds the
    range and rounds in one operator, and in the older one. A turn lasts about `seconds`. Columns:
    `contender`, `students` (at once), `threads`, `round`, `images_per_second` (images that a
    student has learnt from, of all students together). A round that warms everything up is left
    out.
    """
    ways = [(OURS, many) for many in members] + [(FUSED, 1), (APART, 1)]
    rows = []
    with worker(module=__name__) as ask:
        for number in rounds_of(rounds, "perceptrons with rounding, round"):
            for contender, students in ways:
                for how_many in threads:
                    work = {"contender": contender, "students": students, "bits": bits}
                    work |= {"images": images, "batch_size": batch_size}
                    found = ask("turn", work=work, threads=how_many, seconds=seconds)
                    row = (contender, students, how_many, number, found["images_per_second"])
                    rows.append(row)
    columns = ["contender", "students", "threads", "round", "images_per_second"]
    table = pd.DataFrame(rows, columns=columns)
    return table[table["round"] > 0].reset_index(drop=True)


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """Of `perceptron_step`, a row a setting: medians over the rounds, `_low` and `_high` quartiles.

    Columns: `contender`, `students`, `threads`, `images_per_second` and `times` (as a multiple of
    PyTorch's quickest setting in the same round), both with quartiles.
    """
    theirs = table[table["contender"] != OURS]
    keys = ["contender", "threads"]
    contender, threads = theirs.groupby(keys)["images_per_second"].median().idxmax()
    best = theirs[(theirs["contender"] == contender) & (theirs["threads"] == threads)]
    reference = best.set_index("round")["images_per_second"]
    table = table.assign(times=table["images_per_second"] / table["round"].map(reference))
    return summed_up(table, ["contender", "students", "threads"], ["images_per_second", "times"])


# The process that measures


def _turn(work: dict[str, Any], threads: int, seconds: float) -> dict[str, float]:
    """Train for a while: images a second, each counted once for every student."""
    import torch

    torch.set_num_threads(threads)
    steps = steps_per_second(_step(**work), seconds)
    return {"images_per_second": steps * work["batch_size"] * work["students"]}


@cache
def _step(
    contender: str, students: int, bits: int, images: int, batch_size: int
) -> Callable[[], None]:
    """A training step; each call learns from the next batch."""
    import torch

    from qbench.data import epoch_order

    pixels, labels = _samples(images)
    train = _ours(students, bits) if contender == OURS else _theirs(contender, bits)
    places = torch.from_numpy(epoch_order(images, 0, 1))[: images - images % batch_size]
    batches = cycle(places.split(batch_size))

    def step() -> None:
        train(pixels, labels, next(batches))

    return step


def _ours(students: int, bits: int) -> Callable[..., None]:
    """As `qkd.study` trains; every member has its own batch, here the same."""
    from qbench.models.mlp import HIDDEN
    from qbench.qkd import Bits, Stack, studying
    from qbench.qkd.losses import labels_loss

    how = {"inputs": PIXELS, "hidden": HIDDEN[NETWORK], "classes": CLASSES}
    stack = Stack(range(students), bits=Bits(bits, bits), **how).train()
    optimiser = studying.Optimiser(stack, DECAY)

    def train(pixels: Any, labels: Any, places: Any) -> None:
        places = places.expand(students, -1)
        studying.step(optimiser, labels_loss(stack(pixels[places]), labels[places]), RATE)

    return train


def _theirs(contender: str, bits: int) -> Callable[..., None]:
    """One network of `nn.Linear` between PyTorch's quantisation-aware modules."""
    import torch
    from torch.nn import functional as F

    network = peer(contender, bits)
    optimiser = torch.optim.SGD(
        network.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=DECAY, fused=True
    )

    def train(pixels: Any, labels: Any, places: Any) -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(network(pixels[places]), labels[places]).backward()
        optimiser.step()

    return train


def peer(contender: str, bits: int) -> Any:
    """The student with PyTorch's modules: weights in signed, activations in unsigned codes."""
    import torch
    from torch import nn
    from torch.ao import quantization
    from torch.nn import functional as F

    from qbench.models import mlp

    kind = {FUSED: quantization.FusedMovingAvgObsFakeQuantize, APART: quantization.FakeQuantize}

    def rounding(lowest: int, highest: int, dtype: torch.dtype) -> nn.Module:
        observer = quantization.MovingAverageMinMaxObserver
        return kind[contender](
            observer=observer, quant_min=lowest, quant_max=highest, dtype=dtype, eps=TINY
        )

    class Linear(nn.Module):
        def __init__(self, layer: nn.Linear, act_bits: int) -> None:
            super().__init__()
            self.layer = layer
            self.acts = rounding(0, 2**act_bits - 1, torch.quint8)
            self.weights = rounding(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, torch.qint8)

        def forward(self, x: Any) -> Any:
            return F.linear(self.acts(x), self.weights(self.layer.weight), self.layer.bias)

    torch.manual_seed(0)
    layers, rounded = list(mlp.build(NETWORK)), 0
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            layers[place] = Linear(layer, bits if rounded else INPUT_BITS)
            rounded += 1
    return nn.Sequential(*layers).train()


@cache
def _samples(images: int) -> tuple[Any, Any]:
    """Images (N, 784) in [0, 1] and labels: random, since no time depends on what they show."""
    import torch

    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(images, PIXELS, generator=generator)
    return pixels, torch.randint(CLASSES, (images,), generator=generator)


if __name__ == "__main__":
    serve({"turn": _turn})
