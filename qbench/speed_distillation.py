"""How fast students are trained: an epoch beside plain PyTorch loops, and several students at once.

Every figure is a ratio of times measured side by side, as in `speed`: the contenders take turns,
round after round, in a process that does nothing else. `student_epoch` and `students_together`
measure and return what every round gave; `beside` and `together` sum that up.

Run as a program, this module is such a process, as `speed` is.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from itertools import count
from typing import Any

import pandas as pd

from qbench import store
from qbench.speed_processes import Ask, rounds_of, serve, worker

# torch and what needs it are imported by the processes that measure, as in `speed`.

OURS = "qbench.distillation"
PLAIN = "plain PyTorch loop"
LOADER = "DataLoader, channels first"
CONTENDERS = (OURS, PLAIN, LOADER)
ALONE, BESIDE, FUSED = "one after another", "side by side", "fused"
CLASSES, RATE, DECAY = 10, 0.05, 5e-4


@store.method(version=1, repeatable=False)
def student_epoch(
    *,
    images: int = 2000,
    batch_size: int = 64,
    threads: Sequence[int] = (1, 2),
    rounds: int = 5,
) -> pd.DataFrame:
    """Time one training epoch of the baseline FlexStudent on `images` of CIFAR-10's shape.

    SGD with Nesterov momentum, weight decay and one cycle of the learning rate, cross entropy with
    the labels, no evaluation and no augmentation; all contenders in one process. Columns:
    `contender` (of `CONTENDERS`), `threads`, `round`, `seconds`. A round that warms everything up
    is left out.
    """
    rows = []
    with worker(module=__name__) as ask:
        for number in rounds_of(rounds, "one epoch, round"):
            for contender in CONTENDERS:
                for how_many in threads:
                    asked = {"contender": contender, "images": images, "batch_size": batch_size}
                    took = ask("epoch", threads=how_many, **asked)["seconds"]
                    rows.append((contender, how_many, number, took))
    table = pd.DataFrame(rows, columns=["contender", "threads", "round", "seconds"])
    return table[table["round"] > 0].reset_index(drop=True)


@store.method(version=1, repeatable=False)
def students_together(
    *,
    members: Sequence[int] = (4, 8),
    processes: int = 2,
    batch_size: int = 64,
    rounds: int = 5,
    seconds: float = 1.5,
) -> pd.DataFrame:
    """Time the training of several baseline FlexStudents of one shape, in three ways.

    One after another, each with `processes` threads; side by side in so many processes of one
    thread each; and `members` of them fused by grouped convolutions into one network with
    `processes` threads, all on the same images. A turn lasts about `seconds`. Columns: `way`,
    `students` (at once), `processes`, `threads` (of each process), `round`, `images_per_second`
    (images that a student has learnt from, of all students together).
    """
    ways = [(ALONE, 1, 1, processes), (BESIDE, processes, processes, 1)]
    ways += [(FUSED, many, 1, processes) for many in members]
    rows = []
    with ExitStack() as stack:
        asks = [stack.enter_context(worker(module=__name__)) for _ in range(processes)]
        pool = stack.enter_context(ThreadPoolExecutor(processes))

        def rate(ask: Ask, students: int, threads: int) -> float:
            asked = {"students": students, "batch_size": batch_size, "threads": threads}
            return ask("turn", seconds=seconds, **asked)["images_per_second"]

        for number in rounds_of(rounds, "several students, round"):
            for way, students, at_once, threads in ways:
                each = students // at_once
                running = [pool.submit(rate, ask, each, threads) for ask in asks[:at_once]]
                found = sum(one.result() for one in running)
                rows.append((way, students, at_once, threads, number, found))
    columns = ["way", "students", "processes", "threads", "round", "images_per_second"]
    table = pd.DataFrame(rows, columns=columns)
    return table[table["round"] > 0].reset_index(drop=True)


# What the measurements say


def beside(epoch: pd.DataFrame) -> pd.DataFrame:
    """Of `student_epoch`, a row a setting: medians over the rounds, `_low` and `_high` quartiles.

    Columns: `contender`, `threads`, `seconds`, `times` (seconds as a multiple of the plain loop's
    best setting in the same round), both with quartiles, and `best`, whether it is the contender's
    fastest setting.
    """
    plain = epoch[epoch["contender"] == PLAIN]
    quickest = plain.groupby("threads")["seconds"].median().idxmin()
    reference = plain[plain["threads"] == quickest].set_index("round")["seconds"]
    epoch = epoch.assign(times=epoch["seconds"] / epoch["round"].map(reference))
    found = summed_up(epoch, ["contender", "threads"], ["seconds", "times"])
    fastest = found.groupby("contender")["seconds"].transform("min")
    return found.assign(best=found["seconds"] == fastest)


def together(table: pd.DataFrame) -> pd.DataFrame:
    """Of `students_together`, a row a way: medians over the rounds, `_low` and `_high` quartiles.

    Columns: `way`, `students`, `processes`, `threads`, `images_per_second` and `times` (as a
    multiple of one after another in the same round), both with quartiles.
    """
    reference = table[table["way"] == ALONE].set_index("round")["images_per_second"]
    table = table.assign(times=table["images_per_second"] / table["round"].map(reference))
    by = ["way", "students", "processes", "threads"]
    return summed_up(table, by, ["images_per_second", "times"])


def summed_up(table: pd.DataFrame, by: list[str], values: list[str]) -> pd.DataFrame:
    """Medians of `values` for each combination of `by`, with quartiles as `_low` and `_high`."""
    grouped = table.groupby(by, sort=False)
    shares = {"": 0.5, "_low": 0.25, "_high": 0.75}
    columns = {
        f"{name}{part}": grouped[name].quantile(share)
        for name in values
        for part, share in shares.items()
    }
    return pd.DataFrame(columns).reset_index()


# The process that measures


def _epoch(contender: str, images: int, batch_size: int, threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    run = _contender(contender, images, batch_size)
    started = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - started}


@cache
def _contender(name: str, images: int, batch_size: int) -> Callable[[], float]:
    """A function that trains one epoch, the next at each call, and returns the mean loss."""
    makers = {OURS: _ours, PLAIN: _plain, LOADER: _loader}
    return makers[name](_student(), *_samples(images), batch_size)


def _ours(model: Any, pixels: Any, labels: Any, batch_size: int) -> Callable[[], float]:
    """As `distillation.fit` trains."""
    import torch

    from qbench.distillation.fitting import Recipe, train_epoch

    epochs = count(1)
    recipe = Recipe(1, batch_size, RATE, DECAY)
    model.to(memory_format=torch.channels_last)
    pixels = pixels.permute(0, 2, 3, 1).contiguous()
    tools = _tools(model, len(labels), batch_size, fused=True)
    return lambda: train_epoch(model, *tools, pixels, labels, recipe, next(epochs))


def _plain(model: Any, pixels: Any, labels: Any, batch_size: int) -> Callable[[], float]:
    """The quickest short loop by hand: the same steps, in the same order, and nothing else."""
    import torch
    from torch.nn import functional as F

    from qbench.data import epoch_order

    epochs = count(1)
    model.to(memory_format=torch.channels_last)
    pixels = pixels.permute(0, 2, 3, 1).contiguous()
    optimiser, schedule = _tools(model, len(labels), batch_size, fused=True)

    def epoch() -> float:
        model.train()
        total = torch.zeros(())
        for places in torch.from_numpy(epoch_order(len(labels), 0, next(epochs))).split(batch_size):
            optimiser.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(pixels[places].permute(0, 3, 1, 2)), labels[places])
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach() * len(places)
        return float(total) / len(labels)

    return epoch


def _loader(model: Any, pixels: Any, labels: Any, batch_size: int) -> Callable[[], float]:
    """The loop of most tutorials: `DataLoader`, channels first, the optimiser as it comes."""
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset

    batches = DataLoader(TensorDataset(pixels, labels), batch_size, shuffle=True)
    optimiser, schedule = _tools(model, len(labels), batch_size)

    def epoch() -> float:
        model.train()
        total = torch.zeros(())
        for batch, truth in batches:
            optimiser.zero_grad()
            loss = F.cross_entropy(model(batch), truth)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach() * len(truth)
        return float(total) / len(labels)

    return epoch


def _tools(model: Any, images: int, batch_size: int, **how: bool) -> tuple[Any, Any]:
    """The optimiser, and a schedule for more epochs than are timed."""
    import torch

    optimiser = torch.optim.SGD(
        model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=DECAY, **how
    )
    steps = 1000 * -(-images // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=steps, pct_start=0.2, cycle_momentum=False
    )
    return optimiser, schedule


def _turn(students: int, batch_size: int, threads: int, seconds: float) -> dict[str, float]:
    """Train for a while: images a second, each counted once for every student."""
    import torch

    torch.set_num_threads(threads)
    steps = steps_per_second(_step(students, batch_size), seconds)
    return {"images_per_second": steps * batch_size * students}


def steps_per_second(step: Callable[[], None], seconds: float) -> float:
    """The rate of a training step over about `seconds`, after one that warms up."""
    step()
    done, took, started = 0, 0.0, time.perf_counter()
    while not done or took < seconds:
        step()
        done += 1
        took = time.perf_counter() - started
    return done / took


@cache
def _step(students: int, batch_size: int) -> Callable[[], None]:
    """A training step of one student, or of several that are fused."""
    import torch
    from torch.nn import functional as F

    model = _student() if students == 1 else fused([_student() for _ in range(students)])
    model.to(memory_format=torch.channels_last)
    pixels, labels = _samples(batch_size)
    pixels = pixels.to(memory_format=torch.channels_last)
    labels = labels.repeat_interleave(students)
    optimiser, _ = _tools(model, batch_size, batch_size, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        # every student's loss is a mean over the images, and these are added
        (students * F.cross_entropy(model(pixels).reshape(len(labels), -1), labels)).backward()
        optimiser.step()

    return step


def fused(students: Sequence[Any]) -> Any:
    """FlexStudents of one shape as one network: images (N, C, 32, 32) → logits (N, students × K).

    Convolutions become grouped ones (the first reads the same images for all), linear layers a
    batched product of matrices. Begins with copies of the students' weights.
    """
    import torch
    from torch import nn

    class Linear(nn.Module):
        def __init__(self, parts: Sequence[nn.Linear]) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.stack([one.weight.detach().T for one in parts]))
            biased = parts[0].bias is not None
            biases = [one.bias.detach() for one in parts] if biased else [torch.zeros(())]
            self.bias = nn.Parameter(torch.cat(biases)) if biased else None

        def forward(self, features: Any) -> Any:
            split = features.reshape(len(features), len(self.weight), -1).transpose(0, 1)
            found = torch.bmm(split, self.weight).transpose(0, 1).flatten(1)
            return found if self.bias is None else found + self.bias

    many, layers = len(students), []
    for parts in zip(*students, strict=True):
        one = parts[0]
        if isinstance(one, nn.Linear):
            layers.append(Linear(parts))
            continue
        if isinstance(one, nn.Conv2d):
            groups = many if layers else 1
            inputs, outputs = one.in_channels * groups, one.out_channels * many
            one = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False, groups=groups)
        elif hasattr(one, "num_features"):
            one = type(one)(one.num_features * many)
        for name, weights in one.named_parameters():
            copies = [part.get_parameter(name).detach() for part in parts]
            weights.data = torch.cat(copies)
        layers.append(one)
    return nn.Sequential(*layers)


def _student() -> Any:
    import torch

    from qbench.models.flex_student import flex_student

    torch.manual_seed(0)
    return flex_student(CLASSES)


@cache
def _samples(images: int) -> tuple[Any, Any]:
    """Images (N, 3, 32, 32) and labels: random, since no time depends on what they show."""
    import torch

    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(images, 3, 32, 32, generator=generator)
    return pixels, torch.randint(CLASSES, (images,), generator=generator)


if __name__ == "__main__":
    serve({"epoch": _epoch, "turn": _turn})
