"""How long a device takes for one request, measured so that two networks can be compared.

A measurement is a number of rounds, each of many requests one after another, one at a time; the
result is the median of the rounds' medians, so that a burst of other work in one round does not
count. One process measures at a time on a machine. Other work that lasts as long as the measurement
still slows it: `Latency.waited` tells.

The same network compiled once more is a little quicker or slower. Rounds that share a compilation
cannot show that; with `fresh` each has one of its own.
"""

import gc
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
from filelock import FileLock, Timeout

from qbench import paths

from .errors import RuntimesError, library, whole
from .openvino import Network, load

ROUNDS, PER_ROUND, WARM_UP = 9, 1000, 20
LEAST = 3  # requests in a round, however slow
STEADY = 0.05  # warm when a block of requests is no quicker than the one before by more than this
PATIENCE = 5.0  # seconds after which a process that waits for its turn says so


@dataclass(frozen=True)
class Latency:
    """Milliseconds a request of `batch` images, one request at a time.

    `rounds` are the medians of the rounds in the order in which they were measured, `median_ms`,
    `low_ms` and `high_ms` their median and quartiles, and `samples` is the number of requests in
    all of them. If they are `fresh`, so many compilations are among them, else one. `waited` is the
    share of the time in which a thread of this process that had work stood in the queue for a
    processor: 0 on an idle machine; with more than a few per cent the median is that of a busy
    machine. It is NaN where the system does not tell (all but Linux). `fastest_ms` is the shortest
    of the requests, the one that other work interrupted least: of a busy machine's figures the
    nearest to an idle one's, more so with one thread and with more `seconds`, and still too long
    where no request ran through. `p95_ms` and `p99_ms` are the times within which 95 and 99 of 100
    requests were answered, of all rounds together.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    fastest_ms: float
    rounds: tuple[float, ...]
    samples: int
    waited: float
    device: str
    precision: str
    batch: int
    threads: int | None
    p95_ms: float = math.nan
    p99_ms: float = math.nan

    @property
    def spread(self) -> float:
        """Distance of the quartiles as a share of the median."""
        return (self.high_ms - self.low_ms) / self.median_ms


def distinguishable(a: Latency, b: Latency) -> bool:
    """Whether one is slower than noise explains: the quartiles of their rounds do not overlap.

    Of two equal networks with 9 independent rounds each this is said in 6 of 100 cases (2·1378 of
    the C(18, 9) = 48620 orders); fewer rounds say it too easily. Rounds are independent only if
    what disturbs the machine disturbs both alike, so measure them by turns, `by_turns`, and if each
    has a compilation of its own, `fresh`: else two compilations are told apart, not two networks.
    """
    return a.high_ms < b.low_ms or b.high_ms < a.low_ms


def latency(
    file: Path,
    device: str = "CPU",
    *,
    rounds: int = ROUNDS,
    per_round: int = PER_ROUND,
    warm_up: int = WARM_UP,
    batch: int = 1,
    threads: int | None = None,
    seed: int = 0,
    seconds: float = 1.0,
    fresh: bool = False,
) -> Latency:
    """Measure an ONNX file or an IR on `device`: synchronous requests, one after another.

    A request takes `batch` images of normally distributed pixels drawn from `seed` and gives their
    logits; both stay in memory that is allocated once. `warm_up` requests come first, then more
    until they get no quicker. A round is `per_round` requests, or as many as fit in its share of
    `seconds`, at least 3. With `fresh` the file is loaded and compiled anew for every round, and
    warmed up again; that takes time besides `seconds`. Python's garbage collector rests meanwhile.
    Waits while another process measures. Raises `RuntimesError` as `load` does, for numbers that
    are not positive, and where the lock file cannot be written.
    """
    named = {"": file}
    how = {"rounds": rounds, "per_round": per_round, "warm_up": warm_up, "batch": batch}
    how |= {"threads": threads, "seed": seed, "seconds": seconds, "fresh": fresh}
    return by_turns(named, device, **how)[""]


def by_turns(
    files: Mapping[str, Path],
    device: str = "CPU",
    *,
    rounds: int = ROUNDS,
    per_round: int = PER_ROUND,
    warm_up: int = WARM_UP,
    batch: int = 1,
    threads: int | None = None,
    seed: int = 0,
    seconds: float = 1.0,
    fresh: bool = False,
) -> dict[str, Latency]:
    """`latency` of several networks whose rounds take turns, so that drift strikes all alike.

    `seconds` is the time of each network; errors as `latency`, and for no network.
    """
    if not files:
        raise RuntimesError("files must name at least one network, and names none.")
    rounds, per_round = whole("rounds", rounds, 1), whole("per_round", per_round, 1)
    warm_up, batch = whole("warm_up", warm_up, 0), whole("batch", batch, 1)
    if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise RuntimesError(f"seconds must be a positive finite number, not {seconds!r}.")
    if not isinstance(fresh, bool):
        raise RuntimesError(f"fresh must be True or False, not {fresh!r}.")

    def loaded(file: Path) -> Network:
        network = load(file, device, batch=batch, threads=threads)
        _give_images(network, seed)
        return network

    networks = {name: loaded(file) for name, file in files.items()}  # what cannot be, is said here
    share = seconds / rounds
    medians: dict[str, list[float]] = {name: [] for name in files}
    samples: dict[str, list[int]] = {name: [] for name in files}
    waited = dict.fromkeys(files, 0.0)
    with measuring(), no_garbage_collection():
        if not fresh:
            for network in networks.values():
                _warm(network, warm_up, share)
        for _ in range(rounds):
            for name, file in files.items():
                if fresh:  # the one before lives until now: the new one cannot lie where it lay
                    networks[name] = loaded(file)
                    _warm(networks[name], warm_up, share)
                network = networks[name]
                before, clock = queued(), time.perf_counter_ns()
                times = _requests(network, per_round, LEAST, share)
                waited[name] += longest_wait(before, queued()) / (time.perf_counter_ns() - clock)
                medians[name].append(float(np.median(times)) / 1e6)
                samples[name] += times
    return {
        name: _summary(network, medians[name], samples[name], waited[name] / rounds)
        for name, network in networks.items()
    }


def side_by_side(files: Mapping[str, Path], device: str = "CPU", **how: object) -> pd.DataFrame:
    """`by_turns` as a table, a row a network in the order given.

    Columns: `network`, `median_ms`, `low_ms`, `high_ms`, `fastest_ms`, `spread`, `waited`,
    `samples`, `device`, `precision`, and `like`: the other networks from which noise does not let
    this one be told (`distinguishable`), separated by commas. `how` is as in `by_turns`.
    """
    found = by_turns(files, device, **how)
    rows = []
    for name, one in found.items():
        like = [n for n, other in found.items() if n != name and not distinguishable(one, other)]
        rows.append(
            {
                "network": name,
                "median_ms": one.median_ms,
                "low_ms": one.low_ms,
                "high_ms": one.high_ms,
                "fastest_ms": one.fastest_ms,
                "spread": one.spread,
                "waited": one.waited,
                "samples": one.samples,
                "device": one.device,
                "precision": one.precision,
                "like": ", ".join(like),
            }
        )
    return pd.DataFrame(rows)


def lock_file() -> Path:
    """The file whose lock the process that measures holds; every checkout of a user shares it."""
    return platformdirs.user_cache_path("qbench") / "measuring.lock"


@contextmanager
def measuring() -> Iterator[None]:
    """The only measurement of this user on this machine; waits for another one to end."""
    file = lock_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            print("another process measures a latency, waiting", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        raise RuntimesError(f"{paths.shown(file)} cannot be locked: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Python's garbage collector rests meanwhile."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _give_images(network: Network, seed: int) -> None:
    numbers = np.random.default_rng(whole("seed", seed, 0))
    images = numbers.standard_normal((network.batch, *network.image_shape), dtype=np.float32)
    network.request.set_input_tensor(library("openvino").Tensor(images))


def _requests(network: Network, most: int, least: int, seconds: float) -> list[int]:
    infer = network.request.infer
    return repeat(lambda: infer(share_outputs=True), most, least, seconds)


def repeat(request: Callable[[], object], most: int, least: int, seconds: float) -> list[int]:
    """Nanoseconds of each of `most` requests; of fewer, but `least`, once the time is up."""
    clock = time.perf_counter_ns
    times: list[int] = []
    end = clock() + int(seconds * 1e9)
    while len(times) < most and (len(times) < least or clock() < end):
        begin = clock()
        request()
        times.append(clock() - begin)
    return times


def _warm(network: Network, least: int, seconds: float) -> None:
    infer = network.request.infer
    warm(lambda: infer(share_outputs=True), least, seconds)


def warm(request: Callable[[], object], least: int, seconds: float) -> None:
    """At least so many requests, then blocks of 10 until one is not much quicker than the last."""
    end = time.perf_counter() + seconds
    repeat(request, least, least, 0)
    before = math.inf
    while time.perf_counter() < end:
        now = float(np.median(repeat(request, 10, 1, seconds)))
        if now > (1 - STEADY) * before:
            return
        before = now


def queued() -> dict[str, int]:
    """Nanoseconds that each thread of this process has stood in the queue for a processor."""
    try:
        return {
            task.name: int((task / "schedstat").read_text().split()[1])
            for task in Path("/proc/self/task").iterdir()
        }
    except (OSError, ValueError, IndexError):  # not Linux, or a thread that has just ended
        return {}


def longest_wait(before: dict[str, int], after: dict[str, int]) -> float:
    """How long the thread that waited longest did, between two calls of `queued`."""
    return max((after[task] - before[task] for task in after.keys() & before), default=math.nan)


def _summary(network: Network, medians: list[float], samples: list[int], waited: float) -> Latency:
    low, middle, high = np.quantile(medians, [0.25, 0.5, 0.75])
    p95, p99 = np.quantile(samples, [0.95, 0.99]) / 1e6
    return Latency(
        median_ms=float(middle),
        low_ms=float(low),
        high_ms=float(high),
        fastest_ms=min(samples) / 1e6,
        rounds=tuple(medians),
        samples=len(samples),
        waited=waited,
        device=network.device,
        precision=network.precision,
        batch=network.batch,
        threads=network.threads,
        p95_ms=float(p95),
        p99_ms=float(p99),
    )
