"""Interruption, full disks, several processes: a result is stored whole or not at all."""

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import store_toy
from faults_toy import noted
from filelock import FileLock
from store_toy import Counted, failing, files, new_process, no_space, ramp, says

from qbench import paths, store
from qbench.files import write_atomically

home = pytest.fixture(store_toy.home, autouse=True)
spec = pytest.fixture(store_toy.spec)
stored = pytest.fixture(store_toy.stored)


# Interruption and full disks


def test_a_table_without_its_json_is_no_result(stored, spec, monkeypatch):
    """What a kill between the two leaves."""
    stored.file.unlink()
    new_process(monkeypatch)
    assert store.find(spec) is None and list(store.entries()) == []
    compute = Counted()
    store.get_or_run(spec, compute)
    entry = store.find(spec)
    assert compute.calls == 1 and entry.table().equals(Counted()())
    assert files(entry.file.parent) == [entry.table_file.name, entry.file.name], "old table dropped"


@pytest.mark.parametrize("write", [1, 2])  # of the table, of the JSON
@pytest.mark.parametrize("error", [no_space(), OSError(errno.EIO, "Input/output error")])
def test_a_failed_write_is_a_sentence_and_leaves_nothing(home, spec, monkeypatch, write, error):
    local = home / "local"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(write, error))
        says(
            lambda: store.get_or_run(spec, Counted()),
            paths.shown(local),
            error.strerror,
            "QBENCH_RESULTS",
        )
    assert files(local) == []
    assert store.find(spec) is None
    assert len(store.get_or_run(spec, Counted())) == 2


@pytest.mark.parametrize("write", [1, 2])
@pytest.mark.parametrize("compute", [Counted(), ramp])  # another table, the same table
def test_a_failed_replacement_keeps_the_old_result(stored, spec, monkeypatch, write, compute):
    before = files(stored.file.parent)
    new_process(monkeypatch)
    monkeypatch.setattr(os, "fsync", failing(write, no_space()))
    says(lambda: store.get_or_run(spec, compute, recompute=True), "No space left")
    assert files(stored.file.parent) == before
    assert store.find(spec).table().equals(ramp())


def read_only(*_, **__):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_read_only_folder_is_named_before_anything_is_computed(home, spec, monkeypatch):
    compute = Counted()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", read_only)
        says(lambda: store.get_or_run(spec, compute), paths.shown(home / "local"), "Read-only")
    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "acquire", read_only)
        says(lambda: store.get_or_run(spec, compute), paths.shown(home / "local"), "Read-only")
    assert compute.calls == 0


def test_a_folder_whose_name_is_a_file_is_named(home, spec):
    (home / "local").write_text("not a folder")
    says(lambda: store.get_or_run(spec, Counted()), paths.shown(home / "local"))


def test_what_is_stored_is_read_from_a_read_only_folder(stored, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr(FileLock, "acquire", read_only)
    assert store.run(ramp).equals(ramp())


def test_write_atomically_writes_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_atomically(file, b"first")
    assert file.read_bytes() == b"first" and file.stat().st_mode & 0o777 == 0o644
    for error in (no_space(), KeyboardInterrupt()):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(1, error))
            with pytest.raises(type(error)):
                write_atomically(file, b"second")
        assert file.read_bytes() == b"first" and os.listdir(tmp_path) == ["file"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", read_only)
        with pytest.raises(OSError, match="Read-only"):
            write_atomically(file, b"second")
    assert file.read_bytes() == b"first" and os.listdir(tmp_path) == ["file"]
    write_atomically(file, b"second")
    assert file.read_bytes() == b"second"


# Several processes


def slowly(folder: str, seconds: float) -> None:
    """In a process of its own: compute `ramp` under the lock, after so many seconds."""
    os.environ["QBENCH_RESULTS"] = folder

    def compute():
        (Path(folder) / "started").touch()
        time.sleep(seconds)
        return Counted()()

    store.get_or_run(store.spec(ramp), compute)


@pytest.fixture
def other_process(home):
    """Start `slowly` in another process and return that once it computes."""
    processes = []

    def start(seconds: float):
        process = multiprocessing.get_context("spawn").Process(
            target=slowly, args=(str(home / "local"), seconds)
        )
        process.start()
        processes.append(process)
        for _ in range(3000):
            if (home / "local" / "started").exists():
                return process
            assert process.is_alive(), "it died before it computed anything"
            time.sleep(0.01)
        raise AssertionError("it never began to compute")

    yield start
    for process in processes:
        process.kill()
        process.join()


def test_two_processes_that_ask_at_the_same_time_compute_once(other_process, spec, capsys):
    process = other_process(1.3)
    mine = Counted(step=7.0)
    table = store.get_or_run(spec, mine)
    assert mine.calls == 0 and table.equals(Counted()())
    assert "another process computes it, waiting" in capsys.readouterr().err
    process.join(30)
    assert process.exitcode == 0
    assert len(list(store.entries())) == 1
    noted(
        "two runs of the same specification at once",
        "two processes",
        1,
        "computed once, right result",
    )


def test_a_killed_process_leaves_neither_a_result_nor_a_lock(other_process, spec):
    process = other_process(600)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    mine = Counted()
    store.get_or_run(spec, mine)
    assert mine.calls == 1
    noted(
        "a process is killed while it computes a result",
        "SIGKILL",
        1,
        "no half of a result, no lock left",
    )


# Checkpoints


@pytest.fixture
def trained():
    """A method that counts in its checkpoint folder and fails until it was called three times."""

    @store.method(version=1)
    def trained(*, checkpoint: Path | None = None) -> pd.DataFrame:
        done = len(list(checkpoint.iterdir())) + 1
        (checkpoint / str(done)).touch()
        if trained.inside:
            trained.inside()
        if done < 3:
            raise KeyboardInterrupt
        return pd.DataFrame({"done": [done]})

    trained.inside = None
    return trained


def test_interrupted_work_is_kept_until_the_result_is_stored(trained, home, monkeypatch):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            store.run(trained)
    unfinished = home / "local" / "unfinished"
    assert len(files(unfinished)) == 2
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(1, no_space()))
        says(lambda: store.run(trained), "No space left")
    assert len(files(unfinished)) == 3, "a full disk costs nothing that was computed"
    assert list(store.run(trained).done) == [4]
    assert list(unfinished.iterdir()) == []


def test_recomputing_starts_anew_and_not_from_what_is_left(trained, home, spec, monkeypatch):
    left = home / "local" / "unfinished" / store.key(store.spec(trained))
    left.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (left / name).touch()
    monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
    with pytest.raises(KeyboardInterrupt):
        store.run(trained)
    assert files(left) == ["1"]


def test_a_reader_leaves_the_work_of_a_recomputation_alone(trained, home, monkeypatch):
    asked = store.spec(trained)
    store.get_or_run(asked, lambda: pd.DataFrame({"done": [1]}))
    new_process(monkeypatch)

    def read_meanwhile():
        with monkeypatch.context() as patch:
            patch.delenv("QBENCH_RECOMPUTE")
            assert list(store.run(trained).done) == [1]

    trained.inside = read_meanwhile
    monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
    with pytest.raises(KeyboardInterrupt):
        store.run(trained)
    assert files(home / "local" / "unfinished" / store.key(asked)) == ["1"]
