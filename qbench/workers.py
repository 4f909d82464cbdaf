"""Run many stored trainings side by side, each in a process of one thread.

Small networks gain little from a second thread, so that two trainings in two processes are done
sooner than one after the other on both cores; and a training's numbers stay the same to the last
bit whether it ran alone or beside others.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import pandas as pd
from tqdm import tqdm

from qbench import store

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
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    if workers > 1:
        with _environment(ALONE):
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
                running = [pool.submit(_run, function, dict(one)) for one in jobs]
                try:
                    for done in tqdm(as_completed(running), title, len(running), unit="training"):
                        store.computed(done.result())
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
    return [store.run(function, **one) for one in asked]


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
