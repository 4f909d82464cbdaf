"""Run many stored trainings side by side, each in a process of one thread.

Two trainings in two processes are done no later than one after the other on both cores (the page on
speed has the ratio), and a training's numbers stay the same to the last bit whether it ran alone or
beside others.
"""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import pandas as pd
from tqdm import tqdm

from qbench import provenance, store

ALONE = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}  # of a worker: one thread, no bar of its own


def run_each(
    function: Callable[..., pd.DataFrame],
    asked: Sequence[Mapping[str, Any]],
    *,
    workers: int | None = None,
    title: str = "trainings",
) -> list[pd.DataFrame]:
    """`store.run(function, **one)` for each of `asked`, what is not stored in `workers` processes.

    `workers` (default: the cores there are) is how many run at once. Each result is stored as soon
    as it is computed, so that an interrupted call loses at most what was running. Raises what a
    training raises, after those that were running are done.
    """
    missing = store.missing([store.spec(function, **one) for one in asked])
    jobs = [one for one in asked if store.key(store.spec(function, **one)) in missing]
    if at_once(len(jobs), workers) > 1:
        for done in in_processes(
            _run, [(function, dict(one)) for one in jobs], workers=workers, title=title
        ):
            store.computed(done)
    return [store.run(function, **one) for one in asked]


def at_once(jobs: int, workers: int | None = None) -> int:
    """How many of so many jobs run at once: `workers`, by default as many as there are cores."""
    return min(workers or int(provenance.machine()["cores"]), jobs)


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
    processes end when this one is killed.
    """
    with _environment(ALONE | dict(environment or {})):
        spawn = multiprocessing.get_context("spawn")
        count = at_once(len(jobs), workers)
        with ProcessPoolExecutor(count, mp_context=spawn, initializer=_end_with_parent) as pool:
            running = [pool.submit(function, *job) for job in jobs]
            try:
                for done in tqdm(
                    as_completed(running), title, len(running), leave, unit="training"
                ):
                    yield done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _end_with_parent() -> None:
    """In a worker: end at once when the process that started it is gone."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(function: Callable[..., pd.DataFrame], parameters: dict[str, Any]) -> str:
    store.run(function, **parameters)
    return store.key(store.spec(function, **parameters))


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
