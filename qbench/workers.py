"""Run many stored trainings side by side, each in a process of one thread: here or elsewhere.

Two trainings in two processes are done no later than one after the other on both cores (the page on
speed has the ratio), and a training's numbers stay the same to the last bit whether it ran alone or
beside others.

Processes here share the folder of results. Elsewhere (`QBENCH_SCHEDULER`, see `cluster`, or any
executor given to `use`) nothing is shared: what a job reads of the results travels with it, and
what it leaves comes back and is stored here. A process that is lost costs what it was computing:
that is computed again.
"""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pandas as pd
from tqdm import tqdm

from qbench import cluster, provenance, store
from qbench.errors import UserError

AT_ONCE = "QBENCH_AT_ONCE"  # processes that a worker of a cluster may start: it is one of many
ALONE = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}  # of a worker: one thread, no bar of its own
LOSSES = 3  # of processes, one after another without any job done between them, until it is said
AHEAD = 64  # jobs handed in at once: each carries what it reads
LOOK = 2.0  # seconds without any job done, after which to see whether there is still a scheduler
_used: Executor | None = None


class WorkerError(UserError, RuntimeError):
    """Processes are lost again and again."""


def run_each(
    function: Callable[..., pd.DataFrame],
    asked: Sequence[Mapping[str, Any]],
    *,
    workers: int | None = None,
    title: str = "trainings",
    here: bool = False,
    needs: Callable[[Mapping[str, Any]], Sequence[store.Spec]] = lambda one: (),
) -> list[pd.DataFrame]:
    """`store.run(function, **one)` for each of `asked`, what is not stored in `workers` processes.

    `workers` (default: the cores there are) is how many run at once; elsewhere there are as many as
    there are. Each result is stored as soon as it is computed, so that an interrupted call loses at
    most what was running. `needs` names the results that a job reads besides, its start or its
    teacher; `here` forbids to send them elsewhere. Raises what a training raises, after those that
    were running are done.
    """
    missing = store.missing([store.spec(function, **one) for one in asked])
    jobs = [one for one in asked if store.key(store.spec(function, **one)) in missing]
    todo = [(function, dict(one)) for one in jobs]
    if todo and not here and elsewhere():
        fetch(_run, todo, title=title, needs=lambda _, one: needs(one))
    elif at_once(len(jobs), workers) > 1:
        for stored in in_processes(_run, todo, workers=workers, title=title):
            store.computed(store.key(*stored))
    return [store.run(function, **one) for one in asked]


def at_once(jobs: int, workers: int | None = None) -> int:
    """How many of so many jobs run at once: `workers`, by default as many as there are cores."""
    most = int(os.environ.get(AT_ONCE) or provenance.machine()["cores"])
    return min(workers or most, jobs)


def elsewhere() -> bool:
    """Whether jobs are sent to a cluster, or to an executor that `use` was given."""
    return _used is not None or cluster.address() is not None


@contextmanager
def use(executor: Executor) -> Iterator[None]:
    """Send jobs to `executor`, whatever offers the interface of `concurrent.futures`.

    Its processes may be on other machines, where this version of qbench must be installed. It is
    left open.
    """
    global _used
    before, _used = _used, executor
    try:
        yield
    finally:
        _used = before


def fetch(
    function: Callable[..., Sequence[store.Spec]],
    jobs: Sequence[tuple[Any, ...]],
    *,
    title: str,
    needs: Callable[..., Sequence[store.Spec]] = lambda *job: (),
) -> None:
    """Have each job computed elsewhere, and store here what it stored there.

    `function(*job)` stores results and returns their specifications; `needs(*job)` names the
    results that it reads.
    """
    packing = [(function, *job) for job in jobs]
    for files in sent(_pack, packing, title=title, needs=lambda _, *job: needs(*job)):
        store.receive(files)


def sent(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    title: str = "trainings",
    leave: bool = True,
    environment: Mapping[str, str] | None = None,
    needs: Callable[..., Sequence[store.Spec]] = lambda *job: (),
) -> Iterator[Any]:
    """What `function(*job)` returns elsewhere for each job; parameters as `in_processes`, `fetch`.

    Raises `ClusterError` besides.
    """
    settings = ALONE | {"QBENCH_RECOMPUTE": os.environ.get("QBENCH_RECOMPUTE", "")}
    settings |= dict(environment or {})
    driver = cluster.fingerprint()

    def call(*job: Any) -> tuple[Any, ...]:
        return cluster.alone, driver, settings, store.packed(needs(*job)), function, job

    yield from _done(_executor_elsewhere, call, jobs, title=title, leave=leave)


def in_processes(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    workers: int | None = None,
    title: str = "trainings",
    leave: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Any]:
    """What `function(*job)` returns for each job, in the order in which they are done.

    `function` is one of a module, and each process runs several jobs. `environment` is what the
    processes see besides. Raises what a job raises, after those that were running are done. The
    processes end when this one is killed; the jobs of one that is killed are done by others.
    """
    with cluster.environment(ALONE | dict(environment or {})):
        start = partial(_executor_here, at_once(len(jobs), workers))
        yield from _done(start, lambda *job: (function, *job), jobs, title=title, leave=leave)


def _done(
    start: Callable[[], AbstractContextManager[tuple[Executor, Callable[[], bool]]]],
    call: Callable[..., tuple[Any, ...]],
    jobs: Sequence[tuple[Any, ...]],
    *,
    title: str,
    leave: bool,
) -> Iterator[Any]:
    """The results of the calls of `jobs` in the order in which they are done.

    A call whose process is lost is made once more; raises `WorkerError` when that leads nowhere.
    `start` gives an executor, and what tells whether those who compute are still there.
    """
    waiting, losses = deque(jobs), 0
    with tqdm(desc=title, total=len(jobs), leave=leave, unit="training") as bar:
        while waiting:
            running: dict[Future, tuple[Any, ...]] = {}
            with start() as (pool, there):
                try:
                    while waiting or running:
                        while waiting and len(running) < AHEAD:
                            future = pool.submit(*call(*waiting[0]))
                            running[future] = waiting.popleft()
                        done = wait(running, LOOK, return_when=FIRST_COMPLETED).done
                        if not done and not there():
                            raise CancelledError
                        for future in done:
                            try:
                                result = future.result()
                            except cluster.lost() as error:  # this job's; the others go on
                                waiting.append(running.pop(future))
                                if not there():
                                    raise CancelledError from None
                                losses = _another(losses, title, error)
                                continue
                            del running[future]
                            losses = 0
                            bar.update()
                            yield result
                except BrokenExecutor as error:  # one process is gone, and all of a pool end
                    waiting.extendleft(reversed(running.values()))
                    losses = _another(losses, title, error)
                except CancelledError:
                    raise cluster.gone() from None
                except BaseException:
                    for future in running:
                        future.cancel()
                    raise


def _another(losses: int, title: str, error: BaseException) -> int:
    """One more process lost; raises `WorkerError` when that leads nowhere."""
    if losses + 1 < LOSSES:
        return losses + 1
    raise WorkerError(
        f"{title}: {LOSSES} times in a row a process ended abruptly before any job was done. "
        "Often memory does not suffice: ask for fewer workers. What was done is stored."
    ) from error


@contextmanager
def _executor_here(count: int) -> Iterator[tuple[Executor, Callable[[], bool]]]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_end_with_parent) as pool:
        yield pool, lambda: True  # a pool tells of itself when it is broken


@contextmanager
def _executor_elsewhere() -> Iterator[tuple[Executor, Callable[[], bool]]]:
    if _used:
        yield _used, lambda: True
    else:
        mine = cluster.executor()
        yield mine, mine.connected


def _end_with_parent() -> None:
    """In a worker: end at once when the process that started it is gone."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(function: Callable[..., pd.DataFrame], parameters: dict[str, Any]) -> list[store.Spec]:
    store.run(function, **parameters)
    return [store.spec(function, **parameters)]


def _pack(function: Callable[..., Sequence[store.Spec]], *job: Any) -> dict[str, bytes]:
    return store.packed(function(*job))
