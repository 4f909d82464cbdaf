"""Processes side by side: their results, their environment, their end."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import workers_toy
from faults_toy import LINES, line

from qbench import paths, store, workers


def test_each_job_is_done_in_a_process_of_one_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    jobs = [("OMP_NUM_THREADS",), ("TQDM_DISABLE",), ("QBENCH_RECOMPUTE",)]
    environment = {"QBENCH_RECOMPUTE": "once"}
    seen = list(workers.in_processes(os.getenv, jobs, workers=2, environment=environment))
    assert sorted(seen) == ["1", "1", "once"]
    assert os.environ["OMP_NUM_THREADS"] == "7" and "TQDM_DISABLE" not in os.environ


def test_what_a_job_raises_is_raised_here():
    with pytest.raises(ArithmeticError, match="no more than that"):
        list(workers.in_processes(workers_toy.fail, [("no more than that",)], workers=1))


def test_as_many_at_once_as_there_are_cores_or_jobs():
    cores = len(os.sched_getaffinity(0))
    assert workers.at_once(1000) == cores and workers.at_once(1) == 1
    assert workers.at_once(5, 3) == 3 and workers.at_once(2, 3) == 2 and workers.at_once(0) == 0


def state(process: str) -> str:
    """As `ps` tells it: empty for one that is gone, Z for one that has ended."""
    told = subprocess.run(["ps", "-o", "stat=", "-p", process], capture_output=True, text=True)
    return told.stdout.strip()


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path):
    folders = [str(paths.ROOT), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    parent = subprocess.Popen([sys.executable, "-m", "workers_toy", tmp_path], env=environment)
    while parent.poll() is None and len(os.listdir(tmp_path)) < 2:
        time.sleep(0.01)
    started = os.listdir(tmp_path)
    assert all(state(one)[:1] not in ("", "Z") for one in started)
    parent.kill()
    assert parent.wait() == -signal.SIGKILL
    patience = time.monotonic() + 60
    while any(state(one)[:1] not in ("", "Z") for one in started):
        assert time.monotonic() < patience, "they go on without it"
        time.sleep(0.05)


def test_anything_that_offers_an_executor_does_what_this_process_would(
    results, tmp_path, monkeypatch
):
    """Its processes keep results of their own; those of the driver are written by the driver."""
    monkeypatch.setenv("QBENCH_WORKER", str(tmp_path / "worker"))
    asked = LINES[:3]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, workers.use(pool):
        tables = workers.run_each(line, asked, title="lines")
    for table, one in zip(tables, asked, strict=True):
        assert table.equals(line(slope=one["slope"]))
    for where in (results, next((tmp_path / "worker").iterdir())):
        assert len(list(store.entries(where))) == 3
    assert not workers.elsewhere(), "from now on at home again"
