"""Disks that are full, read-only or damaged, for real: the right result, or a clear sentence."""

import os
import resource
import subprocess
from contextlib import contextmanager

import data_home
import pandas as pd
import pytest
import torch
from data_home import PACKED, digests
from evolution_toy import TINY, Evaluator
from faults_toy import line, noted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_toy import files

from qbench import checkpoints, data, paths, store
from qbench.data import DataError
from qbench.evolution import EvolutionError, nsga2

SENTENCE = "clear sentence, and the right result once there is room"
HEALED = "said to be damaged, and computed again to the right result"
some = settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SEARCH = {"population": 4, "generations": 2, "seed": 4, "noise": 0.05, "error_step": 0.5}


@contextmanager
def no_file_beyond(size: int):
    """The system refuses to make any file of this process larger: what a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def sentence(error: BaseException) -> None:
    said = str(error)
    assert "\n" not in said and said.endswith(".") and "File too large" in said, said


# Full


def test_results_on_a_disk_that_is_full_anywhere(results):
    outcomes = []

    @some
    @given(size=st.integers(0, 5000))
    def once(size):
        slope = float(len(outcomes))
        asked = store.spec(line, slope=slope)
        try:
            with no_file_beyond(size):
                store.run(line, slope=slope)
            outcomes.append("stored")
        except store.StoreError as error:
            sentence(error)
            assert store.find(asked) is None
            assert not [name for name in files(results) if store.key(asked) in name]
            outcomes.append("refused")
        assert store.run(line, slope=slope).equals(line(slope=slope))

    once()
    assert set(outcomes) == {"stored", "refused"}
    noted("the disk is full when a result is written", "RLIMIT_FSIZE of 0 to 5,000 bytes",
          len(outcomes), SENTENCE)  # fmt: skip


def test_checkpoints_on_a_disk_that_is_full_anywhere(tmp_path):
    """The one before stays: at worst the last minute is lost, never the training."""
    outcomes, file = [], tmp_path / "state.pt"
    checkpoints.save(file, {"epoch": 0, "weights": torch.zeros(300)})

    @some
    @given(size=st.integers(0, 5000))
    def once(size):
        before = checkpoints.load(file)["epoch"]
        try:
            with no_file_beyond(size):
                checkpoints.save(file, {"epoch": before + 1, "weights": torch.ones(300)})
            outcomes.append(1)
        except store.StoreError as error:
            sentence(error)
            outcomes.append(0)
        assert checkpoints.load(file)["epoch"] == before + outcomes[-1]
        assert os.listdir(tmp_path) == ["state.pt"]

    once()
    assert set(outcomes) == {0, 1}
    noted("the disk is full when a checkpoint is written", "RLIMIT_FSIZE of 0 to 5,000 bytes",
          len(outcomes), "clear sentence, and the checkpoint before is kept")  # fmt: skip


def test_a_search_on_a_disk_that_is_full(tmp_path):
    whole, outcomes = nsga2(TINY, Evaluator(), **SEARCH, progress=False), []

    @settings(some, max_examples=12)
    @given(size=st.integers(0, 5000))
    def once(size):
        file = tmp_path / f"{len(outcomes)}.jsonl"
        try:
            with no_file_beyond(size):
                nsga2(TINY, Evaluator(), archive=file, **SEARCH, progress=False)
            outcomes.append("ended")
        except store.StoreError as error:
            sentence(error)
            outcomes.append("refused")
        again = nsga2(TINY, Evaluator(), archive=file, **SEARCH, progress=False)
        pd.testing.assert_frame_equal(again, whole)

    once()
    assert "refused" in outcomes
    noted("the disk is full when a search writes its archive", "RLIMIT_FSIZE of 0 to 5,000 bytes",
          len(outcomes), SENTENCE)  # fmt: skip


home = pytest.fixture(data_home.home)


def test_a_data_set_on_a_disk_that_is_full(home):
    home.put(home.system, PACKED)
    outcomes = []

    @settings(some, max_examples=12)
    @given(size=st.integers(0, 9000))
    def once(size):
        try:
            with no_file_beyond(size):
                data.get("toy", progress=False, force=True)
            outcomes.append("filled")
        except DataError as error:
            sentence(error)
            outcomes.append("refused")
        data.get("toy", progress=False)
        assert digests("toy") == home.toy["sha256"]

    once()
    assert "refused" in outcomes
    noted("the disk is full when a data set is cached", "RLIMIT_FSIZE of 0 to 9,000 bytes",
          len(outcomes), SENTENCE)  # fmt: skip


# A disk of its own: full as a whole, read-only also for root


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """The folder of results is a file system of 64 kB; returns how to mount it otherwise."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*how: str) -> None:
        done = subprocess.run(["mount", *how, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    try:
        mount("-t", "tmpfs", "-o", "size=64k", "tmpfs")
    except FileNotFoundError:
        pytest.skip("there is no command to mount a file system")
    monkeypatch.setenv("QBENCH_RESULTS", str(folder))
    monkeypatch.setenv("QBENCH_RECOMPUTE", "")
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "published")
    yield lambda options: mount("-o", f"remount,{options}")
    subprocess.run(["umount", str(folder)], check=True)


def test_results_until_the_disk_is_full(disk):
    stored = 0
    with pytest.raises(store.StoreError, match="No space left on device") as caught:
        for stored in range(100):
            store.run(line, slope=float(stored))
    assert 1 <= stored < 99 and str(caught.value).endswith("QBENCH_RESULTS to another folder.")
    whole = [entry.table() for entry in store.entries()]
    assert len(whole) == stored
    disk("size=256k")
    assert store.run(line, slope=float(stored)).equals(line(slope=float(stored)))
    noted(
        "results are stored until the disk is full", "a file system of 64 kB", stored + 1, SENTENCE
    )


def test_a_read_only_disk(disk):
    store.run(line, slope=1.0)
    disk("ro")
    assert store.run(line, slope=1.0).equals(line(slope=1.0)), "what is stored is read"
    with pytest.raises(store.StoreError, match="Read-only file system"):
        store.run(line, slope=2.0)
    with pytest.raises(store.StoreError, match="Read-only file system"):
        checkpoints.save(paths.local_results() / "networks" / "x.pt", {})
    disk("rw")
    assert store.run(line, slope=2.0).equals(line(slope=2.0))
    noted("the folder of results is read-only", "a file system mounted read-only", 2,
          "what is stored is read; a clear sentence for the rest")  # fmt: skip


# Damaged


def damaged(content: bytes, at: float, flip: int) -> bytes:
    """`content` cut off at a share of its length, or with one byte changed there."""
    place = int(at * len(content))
    changed = bytes([content[place] ^ flip]) + content[place + 1 :] if flip else b""
    return content[:place] + changed


anywhere = given(at=st.floats(0, 1, exclude_max=True), flip=st.just(0) | st.integers(1, 255))


def test_a_result_damaged_anywhere(results, monkeypatch, capsys):
    """Never another table: it is refused, or what was changed tells nothing of the numbers."""
    store.run(line, slope=3.0)
    entry, outcomes = store.find(store.spec(line, slope=3.0)), []

    @some
    @anywhere
    def once(at, flip):
        file = (entry.file, entry.table_file)[len(outcomes) % 2]
        whole = file.read_bytes()
        file.write_bytes(damaged(whole, at, flip))
        try:
            assert store.run(line, slope=3.0).equals(line(slope=3.0))
            outcomes.append("harmless")
        except store.StoreError as error:
            assert "is damaged" in str(error) and str(error).endswith("--recompute.")
            outcomes.append("refused")
            monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
            store._computed.clear()
            assert store.run(line, slope=3.0).equals(line(slope=3.0)), "healed"
            monkeypatch.setenv("QBENCH_RECOMPUTE", "")
        entry.file.write_bytes(entry_bytes)
        entry.table_file.write_bytes(table_bytes)

    entry_bytes, table_bytes = entry.file.read_bytes(), entry.table_file.read_bytes()
    once()
    assert "refused" in outcomes
    noted("a stored result is cut short or a byte of it is changed", "at random bytes",
          len(outcomes), "clear sentence, and --recompute gives the right result")  # fmt: skip


def test_a_checkpoint_damaged_anywhere(tmp_path, capsys):
    file, tried = tmp_path / "state.pt", []
    checkpoints.save(file, {"epoch": 3, "weights": torch.arange(300)})
    whole = file.read_bytes()

    @some
    @anywhere
    def once(at, flip):
        file.write_bytes(damaged(whole, at, flip))
        assert checkpoints.load(file) is None
        tried.append(at)

    once()
    assert "is damaged: training begins again" in capsys.readouterr().err
    noted("a checkpoint is cut short or a byte of it is changed", "at random bytes",
          len(tried), HEALED)  # fmt: skip


def test_an_archive_damaged_anywhere(tmp_path, capsys):
    file, tried = tmp_path / "search.jsonl", []
    table = nsga2(TINY, Evaluator(), archive=file, **SEARCH, progress=False)
    whole = file.read_bytes()

    @settings(some, max_examples=12)
    @anywhere
    def once(at, flip):
        file.write_bytes(damaged(whole, at, flip))
        again = nsga2(TINY, Evaluator(), archive=file, **SEARCH, progress=False)
        pd.testing.assert_frame_equal(again, table)
        tried.append(at)

    once()
    assert "is damaged: it is now search.jsonl.damaged" in capsys.readouterr().err
    noted("a search's archive is cut short or a byte of it is changed", "at random bytes",
          len(tried), HEALED)  # fmt: skip


def test_a_cached_data_set_damaged_anywhere(home):
    home.put(home.system, PACKED)
    arrays, tried = sorted(data.get("toy", progress=False).glob("*.npy")), []

    @some
    @anywhere
    def once(at, flip):
        file = arrays[len(tried) % len(arrays)]
        whole = file.read_bytes()
        file.write_bytes(damaged(whole, at, flip))
        tried.append(at)
        try:
            data.verify("toy")
            raise AssertionError("nothing was noticed")
        except DataError as error:
            assert str(error).startswith(f"{file} is damaged (")
            assert str(error).endswith("): run `qbench data get toy --force`.")
        finally:
            file.write_bytes(whole)

    once()
    assert digests("toy") == home.toy["sha256"]
    noted("a cached data set is cut short or a byte of it is changed", "at random bytes",
          len(tried), "clear sentence with the command that heals it")  # fmt: skip


def test_an_archive_that_is_none_is_a_sentence(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(os.urandom(500))
    with pytest.raises(EvolutionError, match="is damaged: search again"):
        from qbench.evolution import read_archive

        read_archive(tmp_path / "a.jsonl")
