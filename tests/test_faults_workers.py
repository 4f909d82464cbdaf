"""Processes that are killed, here and on a Dask cluster: the right result, or a clear sentence."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import faults_toy
import pandas as pd
import pytest
from evolution_toy import TINY, Evaluator
from faults_toy import LINES, announced, correct, line, noted

from qbench import cluster, paths, store, workers
from qbench.cluster import ClusterError
from qbench.evolution import nsga2

pytest.importorskip("distributed", reason="Dask is not installed")


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A cluster of two processes; tests that kill its workers share it, for they are replaced."""
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QBENCH_WORKER", str(folder / "worker"))
        patch.setenv("QBENCH_ANNOUNCE", str(folder / "announced"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(paths.ROOT), str(faults_toy.HERE)]))
        (folder / "announced").mkdir()
        with cluster.local(2) as address:
            yield address, folder


@pytest.fixture
def on_cluster(scheduler, results, monkeypatch):
    """Jobs go to the cluster, whose workers know of no result; the folder of announcements."""
    address, folder = scheduler
    monkeypatch.setenv(cluster.VARIABLE, address)
    for file in (folder / "announced").iterdir():
        file.unlink()
    for worker in (folder / "worker").glob("*"):
        worker.rename(folder / f"used {time.monotonic_ns()}")
    return folder / "announced"


class Killing(threading.Thread):
    """Kills one of the processes `of()`, `most` times, `seconds` apart; as soon as `ready()` is."""

    def __init__(self, of, most: int = 1, seconds: float = 0.0, ready=lambda killed: True):
        super().__init__(daemon=True)
        self.of, self.most, self.seconds, self.ready = of, most, seconds, ready
        self.killed, self.ended = 0, threading.Event()

    def run(self) -> None:
        wait = 0.2
        while self.killed < self.most and not self.ended.wait(wait):
            wait = 0.02
            if not self.ready(self.killed):
                continue
            for process in self.of():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    self.killed += 1
                    wait = self.seconds
                    break

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.join()


def test_the_cluster_gives_what_this_process_would(on_cluster):
    tables = workers.run_each(line, LINES, title="lines")
    assert correct(tables)
    assert os.getpid() not in announced(on_cluster, len(LINES)), "it was computed over there"
    assert {entry.published for entry in store.entries()} == {False}


def test_a_job_that_fails_over_there_fails_here(on_cluster):
    with pytest.raises(ValueError, match="must be non-negative"):
        workers.run_each(line, [{"slope": 1.0, "seconds": -1.0}], title="lines")
    assert list(store.entries()) == []


def test_a_worker_of_the_cluster_killed_in_the_middle_of_a_job(on_cluster):
    with Killing(lambda: announced(on_cluster)[-1:]) as killing:
        tables = workers.run_each(line, LINES, title="lines")
    assert killing.killed == 1 and correct(tables)
    noted("a worker of a cluster is killed in the middle of a job", "SIGKILL", 1, "right result")


def test_a_process_of_this_machine_killed_in_the_middle_of_a_job(results, tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_ANNOUNCE", str(tmp_path / "announced"))
    (tmp_path / "announced").mkdir()
    with Killing(lambda: announced(tmp_path / "announced")[-1:]) as killing:
        tables = workers.run_each(line, LINES, workers=2, title="lines")
    assert killing.killed == 1 and correct(tables)
    noted(
        "a process of this machine is killed in the middle of a job", "SIGKILL", 1, "right result"
    )


def test_a_job_that_ends_every_process_is_a_sentence(results):
    with pytest.raises(workers.WorkerError, match="3 times in a row .* fewer workers") as caught:
        list(workers.in_processes(faults_toy.deadly, [(1.0,)], workers=1, title="lines"))
    assert "\n" not in str(caught.value)
    noted("a job ends every process that it is given to", "SIGKILL of itself", 3, "clear sentence")


def test_a_driver_killed_and_started_again(on_cluster, results):
    """What had come back is not computed again, and the rest ends as it would have."""
    command = [sys.executable, str(faults_toy.HERE / "faults_toy.py")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (paths.ROOT, faults_toy.HERE))),
    }
    hold = on_cluster.with_name("hold")
    hold.touch()  # so that the driver cannot end before it is killed
    driver = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    folder, patience = results / "faults_toy.line", time.monotonic() + 240
    while len(list(folder.glob("*.json"))) < 2:
        assert driver.poll() is None and time.monotonic() < patience
        time.sleep(0.02)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    hold.unlink()
    stored = {entry.key: entry.record["date"] for entry in store.entries()}
    assert 2 <= len(stored) < len(LINES)
    assert correct(workers.run_each(line, LINES, title="lines"))
    again = {entry.key: entry.record["date"] for entry in store.entries()}
    assert stored.items() <= again.items(), "what was stored stays as it was"
    noted("the driver is killed and started again", "SIGKILL", 1, "right result")


def test_a_scheduler_that_is_killed_is_a_sentence(results, tmp_path, monkeypatch):
    """With all of its workers; what had come back is stored, and the next call says so again."""
    announcing = tmp_path / "announced"
    announcing.mkdir()
    (tmp_path / "hold").touch()  # the last jobs cannot end before it is killed
    over_there = {
        "QBENCH_WORKER": str(tmp_path / "worker"),
        "QBENCH_ANNOUNCE": str(announcing),
        "PYTHONPATH": os.pathsep.join(map(str, (paths.ROOT, faults_toy.HERE))),
    }
    made = subprocess.Popen(
        [sys.executable, str(faults_toy.HERE / "faults_toy.py"), "cluster"],
        env=os.environ | over_there,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    monkeypatch.setattr(cluster, "SECONDS", 2)
    try:
        monkeypatch.setenv(cluster.VARIABLE, made.stdout.readline().strip())
        with Killing(lambda: [made.pid] if len(os.listdir(announcing)) > 3 else []) as killing:
            with pytest.raises(ClusterError, match="is gone, .* run again to compute the rest"):
                workers.run_each(line, LINES, title="lines")
    finally:
        made.kill()
        made.wait()
    assert killing.killed == 1 and 0 < len(list(store.entries())) < len(LINES)
    with pytest.raises(ClusterError, match="^the scheduler tcp://.* does not answer"):
        workers.run_each(line, LINES, title="lines")
    monkeypatch.delenv(cluster.VARIABLE)
    assert correct(workers.run_each(line, LINES, workers=1, title="lines"))
    noted(
        "the scheduler and all its workers are killed",
        "SIGKILL",
        1,
        "clear sentence, and the rest is computed by the next run",
    )


def test_evolution_whose_workers_are_killed_all_the_time(on_cluster):
    """One a second, once something has been evaluated since: the undisturbed search's archive."""
    import psutil

    asked = {"population": 6, "generations": 5, "seed": 4, "noise": 0.05, "error_step": 0.5}
    whole, kept = nsga2(TINY, Evaluator(), **asked, progress=False), []

    def evaluate(new, keep):
        def noting(phenotype, values):
            keep(phenotype, values)
            kept.append(phenotype)

        faults_toy.evaluate_elsewhere(new, noting)

    def processes() -> list[int]:
        below = psutil.Process().children(recursive=True)
        return [one.pid for one in below if "spawn_main" in " ".join(one.cmdline())][-1:]

    since = [0]

    def ready(killed: int) -> bool:
        if len(since) == killed:
            since.append(len(kept))
        return len(kept) > since[killed]

    with Killing(processes, most=6, seconds=1.0, ready=ready) as killing:
        table = nsga2(TINY, evaluate, **asked, progress=False)
    assert killing.killed >= 1
    pd.testing.assert_frame_equal(table, whole)
    noted(
        "workers of an evolution are killed, one a second",
        "SIGKILL",
        killing.killed,
        "the archive of the undisturbed search",
    )


# What cannot be used


@pytest.mark.parametrize("address", ["here", "tcp://host", "http://host:1", "tcp://host:port", ""])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(
        ClusterError, match="--scheduler must be an address such as tcp://host:8786"
    ):
        cluster.check(address)


def test_a_scheduler_that_does_not_answer_is_a_sentence():
    with pytest.raises(
        ClusterError, match="nobody answers at --scheduler tcp://127.0.0.1:9 "
    ) as caught:
        cluster.reachable("tcp://127.0.0.1:9")
    assert str(caught.value).endswith(".")
    noted("no scheduler answers at the address", "a port without one", 1, "clear sentence")


def test_a_worker_with_other_code_computes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_WORKER", str(tmp_path))
    other = cluster.fingerprint() | {"qbench": "0" * 12, "torch": "0.4"}
    with pytest.raises(
        ClusterError, match="a worker has qbench .*, torch .*, and the driver qbench 0000"
    ):
        cluster.alone(other, {}, {}, faults_toy.deadly, (1.0,))
    assert os.listdir(tmp_path) == []
    noted("a worker has other code or packages", "another digest", 1, "clear sentence")


def test_files_that_are_no_results_are_not_written(results):
    for name in ("../outside.json", "/etc/passwd", "toy.m/../../x.json", f"toy.m/{20 * '0'}.py"):
        with pytest.raises(store.StoreError, match="is no file of a result"):
            store.put_down({name: b"content"})
    assert not results.exists()


def test_half_of_a_result_that_comes_back_is_refused(results, tmp_path, monkeypatch):
    asked = store.spec(line, slope=2.0)
    store.run(line, slope=2.0)
    files = store.packed([asked])
    monkeypatch.setenv("QBENCH_RESULTS", str(tmp_path / "driver"))
    table, record = files
    for sent in ({record: files[record]}, files | {table: b"PAR1"}, files | {record: b"{"}):
        with pytest.raises(store.StoreError, match="came back"):
            store.receive(sent)
        assert list(store.entries()) == []
    store.receive(files)
    assert store.find(asked).table().equals(line(slope=2.0))
