"""Latency and throughput of networks in several runtimes, over batch sizes and threads.

What is compared is measured by turns: in each round every contender has its turn with every number
of images and threads, so that drift and other work strike all alike, and what changes within
minutes is seen as spread between rounds. A turn begins with a request that is not counted, which
brings weights and threads back after the others' turns, and is many requests, one at a time.
"""

import math
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from qbench import provenance
from qbench.threads import same_after

from . import machine
from .backends import Backend, Classifier, Runner, opened
from .energy import Meter, meter
from .errors import RuntimesError, whole
from .timing import longest_wait, measuring, no_garbage_collection, queued, repeat, warm

MOST = 10_000  # requests a turn
SLOW = 2.0  # times the median: a request that takes longer is an outlier
COLUMNS = (
    "network", "runtime", "precision", "device", "batch", "threads", "ms", "low_ms", "high_ms",
    "p95_ms", "p99_ms", "fastest_ms", "images_per_second", "low_rate", "high_rate", "requests",
    "outliers", "waited", "joules", "energy_by", "load", "mhz",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Contender:
    """A network in a backend."""

    classifier: Classifier
    backend: Backend

    @property
    def name(self) -> str:
        return f"{self.classifier.name}: {self.backend.name}"


def contenders(classifiers: Iterable[Classifier], backends: Iterable[Backend]) -> list[Contender]:
    """Every network in every backend that is here and computes it."""
    backends = [one for one in backends if not one.missing]
    return [
        Contender(network, one) for network in classifiers for one in backends if network.fits(one)
    ]


def measured(
    asked: Sequence[Contender],
    *,
    batches: Sequence[int] = (1,),
    threads: Sequence[int] = (1,),
    rounds: int = 5,
    seconds: float = 0.2,
    latency_seconds: float | None = None,
    meters: Mapping[str, Meter] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Each of `asked` with each number of images a batch and threads, by turns: a row each.

    A turn lasts `seconds`, at least one request, or with a batch of 1 `latency_seconds` (None: the
    same). In each of the `rounds` the runtimes open every network anew, for each number of images
    and threads, and warm it up. On a GPU only the most `threads` are used. `meters` says where
    joules come from, by device; what has none gets `energy.meter`.

    Columns: `network`, `runtime`, `precision`, `device`, `batch`, `threads`; `ms` a request, the
    median of the rounds' medians, the lowest and highest of which are `low_ms` and `high_ms`;
    `p95_ms` and `p99_ms` of all requests, `fastest_ms`, the quickest; `images_per_second`, the
    median over rounds of images by time, the lowest and highest `low_rate` and `high_rate`;
    `requests`; `outliers`, the share of requests that took more than twice the median; `waited`,
    the share of the time for which a thread that had work waited for a processor (0 on an idle
    machine, NaN where the system does not tell); `joules` an image and `energy_by`, RAPL, NVML,
    power × time or none; `load` and `mhz` of the machine as the first turn began, with this
    measurement's own work.

    Waits while another process measures. Warns of more threads than there are cores. Raises
    `RuntimesError` for nothing asked and for numbers that are not positive.
    """
    if not asked:
        raise RuntimesError("there must be at least one contender that is here, and is none.")
    rounds = whole("rounds", rounds, 1)
    batches = [whole("batches", one, 1) for one in batches]
    threads = [whole("threads", one, 1) for one in threads]
    if max(threads, default=0) > (cores := provenance.machine()["cores"]):
        warnings.warn(
            f"{max(threads)} threads are more than the {cores} cores of this machine: they wait "
            "for each other.",
            RuntimeWarning,
            stacklevel=2,
        )
    latency_seconds = seconds if latency_seconds is None else latency_seconds
    for name, value in (("seconds", seconds), ("latency_seconds", latency_seconds)):
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise RuntimesError(f"{name} must be a positive finite number, not {value!r}.")
    meters = dict(meters or {})
    for device in {one.backend.device for one in asked} - meters.keys():
        meters[device] = meter(device)
    cells = [(_here(asked, count, threads), batch, count) for count in threads for batch in batches]
    turns = {(one, batch, count): _Turns() for here, batch, count in cells for one in here}
    with measuring(), no_garbage_collection(), same_after():
        for _ in range(rounds):
            for here, batch, count in cells:
                share = latency_seconds if batch == 1 else seconds
                taken = [(one, turns[one, batch, count]) for one in here]
                _round(taken, batch, count, share, meters, seed)
    rows = [
        _row(one, turn, batch, count, meters[one.backend.device].how) | turn.state
        for (one, batch, count), turn in turns.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass
class _Turns:
    """What the turns of one contender gave, and the machine's state as the first of them began."""

    medians: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    waited: float = 0.0
    joules: float = 0.0
    state: dict[str, object] = field(default_factory=dict)


def _round(
    taken: Sequence[tuple[Contender, _Turns]],
    batch: int,
    threads: int,
    seconds: float,
    meters: Mapping[str, Meter],
    seed: int,
) -> None:
    """A turn of each; what was opened for it is gone afterwards."""
    how = {"batch": batch, "threads": threads, "seed": seed}
    runners = [opened(one.backend, one.classifier, **how) for one, _ in taken]
    for runner in runners:
        warm(runner.run, 2, seconds / 4)
    for (one, turn), runner in zip(taken, runners, strict=True):
        turn.state = turn.state or machine.state()
        _take(turn, runner, batch, seconds, meters[one.backend.device])


def _take(turn: _Turns, runner: Runner, batch: int, seconds: float, joules: Meter) -> None:
    runner.run()  # after the others' turns
    clock, waiting, counter = time.perf_counter(), queued(), joules.read()
    times = repeat(runner.run, MOST, 1, seconds)
    took = sum(times) / 1e9
    turn.joules += joules.joules(counter, took)
    turn.waited += longest_wait(waiting, queued()) / (1e9 * (time.perf_counter() - clock))
    turn.medians.append(float(np.median(times)) / 1e6)
    turn.rates.append(batch * len(times) / took)
    turn.samples += times


def _row(
    one: Contender, turn: _Turns, batch: int, threads: int, energy_by: str
) -> dict[str, object]:
    low, middle, high = np.quantile(turn.medians, [0, 0.5, 1])
    slow, rate, fast = np.quantile(turn.rates, [0, 0.5, 1])
    p95, p99 = np.quantile(turn.samples, [0.95, 0.99]) / 1e6
    samples = np.asarray(turn.samples)
    return {
        "network": one.classifier.name,
        "runtime": one.backend.runtime,
        "precision": one.backend.precision,
        "device": one.backend.device,
        "batch": batch,
        "threads": threads,
        "ms": float(middle),
        "low_ms": float(low),
        "high_ms": float(high),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "fastest_ms": float(samples.min()) / 1e6,
        "images_per_second": float(rate),
        "low_rate": float(slow),
        "high_rate": float(fast),
        "requests": len(samples),
        "outliers": float((samples > SLOW * np.median(samples)).mean()),
        "waited": turn.waited / len(turn.medians),
        "joules": turn.joules / (batch * len(samples)),
        "energy_by": energy_by,
    }


def _here(asked: Sequence[Contender], count: int, threads: Sequence[int]) -> list[Contender]:
    """Who is measured on `count` threads: a GPU, on which they do not matter, on the most alone."""
    return [one for one in asked if one.backend.device == "cpu" or count == max(threads)]
