"""The store: a question is computed once, and its result is stored whole or not at all.

`ramp` stands for a method of qbench; `compute` counts how often it is really called.
"""

import errno
import getpass
import json
import math
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qbench import paths, provenance, store
from qbench.store import StoreError

FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example restores the file
)


@store.method(version=1)
def ramp(*, rows: int = 3, slope: float = 0.5, names: tuple = ("a", "b")) -> pd.DataFrame:
    return pd.DataFrame({"x": range(rows), "y": [slope * row for row in range(rows)]})


ramp.__module__ = "qbench.toy"


class Counted:
    """A computation that counts its calls; each gives a table of its own, `y` grows by `step`."""

    def __init__(self, step: float = 0.0):
        self.step, self.calls = step, 0

    def __call__(self) -> pd.DataFrame:
        self.calls += 1
        return pd.DataFrame({"x": [1, 2], "y": [0.5, 0.25 + self.step * self.calls]})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Two empty stores, and a process that has used no result yet."""
    monkeypatch.setenv("QBENCH_RESULTS", str(tmp_path / "local"))
    monkeypatch.delenv("QBENCH_RECOMPUTE", raising=False)
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(store, "_used", {})
    monkeypatch.setattr(store, "_computed", set())
    toy = types.ModuleType("qbench.toy")
    toy.ramp = ramp
    monkeypatch.setitem(sys.modules, "qbench.toy", toy)
    return tmp_path


@pytest.fixture
def spec():
    return store.spec(ramp)


@pytest.fixture
def stored(spec) -> store.Entry:
    """One stored result of `ramp()`."""
    store.run(ramp)
    return store.find(spec)


def new_process(monkeypatch) -> None:
    """Forget what this process has used and computed."""
    monkeypatch.setattr(store, "_used", {})
    monkeypatch.setattr(store, "_computed", set())


def says(call, *words) -> str:
    """The `StoreError` of `call()`: one line, ending in a full stop, that has all `words` in it."""
    with pytest.raises(StoreError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    for word in words:
        assert str(word) in said
    return said


def files(folder: Path) -> list[str]:
    """Every file below `folder` but the locks, sorted."""
    found = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")
    return sorted(str(file.relative_to(folder)) for file in found)


def failing(number: int, error: BaseException):
    """A stand-in for `os.fsync` whose call of this number raises `error`."""
    calls = iter(range(1, 1000))

    def fsync(descriptor: int) -> None:
        if next(calls) == number:
            raise error

    return fsync


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Specification and key


def test_the_specification_has_method_version_and_all_parameters():
    assert store.spec(ramp, slope=2.0) == {
        "method": "toy.ramp",
        "version": 1,
        "parameters": {"rows": 3, "slope": 2.0, "names": ("a", "b")},
    }
    with pytest.raises(TypeError, match="slop"):
        store.spec(ramp, slop=2.0)


def test_a_checkpoint_is_no_part_of_the_question():
    def trained(*, epochs, checkpoint=None): ...

    asked = store.spec(store.method(3)(trained), epochs=2, checkpoint=Path("/somewhere"))
    assert asked["parameters"] == {"epochs": 2}


def test_the_key_of_published_results_stays_what_it_is():
    """Another key would orphan every result in data/results/."""
    asked = {
        "method": "training.quant_mlp",
        "version": 1,
        "parameters": {
            "dataset": "fashion-mnist",
            "weight_bits": 2,
            "act_bits": 4,
            "epochs": 20,
            "hidden": 64,
            "seed": 0,
            "learning_rate": 0.01,
            "dropout": 0.2,
            "batch_size": 100,
        },
    }
    assert store.key(asked) == "0d7ddfda29404dd22a7f"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    parameters=st.dictionaries(st.text(min_size=1, max_size=8), json_values, min_size=1),
    random=st.randoms(),
)
def test_the_key_depends_on_every_value_and_on_no_order(parameters, random):
    asked = {"method": "m.f", "version": 1, "parameters": parameters}
    key = store.key(asked)
    assert re.fullmatch("[0-9a-f]{20}", key)
    shuffled = random.sample(list(parameters.items()), len(parameters))
    assert store.key({"parameters": dict(shuffled), "version": 1, "method": "m.f"}) == key
    name = random.choice(list(parameters))
    others = [
        {**asked, "version": 2},
        {**asked, "method": "m.g"},
        {**asked, "parameters": {**parameters, name: "another value"}},
        {**asked, "parameters": {k: v for k, v in parameters.items() if k != name}},
    ]
    assert len({key, *map(store.key, others)}) == 5
    assert store.key(json.loads(json.dumps(asked))) == key, "as it is read from the JSON again"


def test_a_value_that_json_cannot_hold_has_no_key():
    with pytest.raises(ValueError):
        store.key({"method": "m.f", "version": 1, "parameters": {"rate": math.nan}})


# Asking


def test_the_same_question_is_computed_once(spec, monkeypatch):
    compute = Counted()
    first = store.get_or_run(spec, compute)
    new_process(monkeypatch)
    pd.testing.assert_frame_equal(store.get_or_run(dict(reversed(spec.items())), compute), first)
    assert compute.calls == 1
    store.get_or_run({**spec, "version": 2}, compute)
    store.get_or_run(store.spec(ramp, rows=4), compute)
    assert compute.calls == 3


def test_defaults_said_or_left_out_are_one_question():
    store.run(ramp)
    store.run(ramp, slope=0.5)
    store.run(ramp, names=["a", "b"], rows=3)
    assert len(list(store.entries())) == 1
    assert len(store.run(ramp, rows=5)) == 5
    assert len(list(store.entries())) == 2


def test_what_is_returned_first_is_what_is_read_later(spec):
    table = pd.DataFrame(
        {
            "text": ["ü", None, ""],
            "number": [0.1, math.nan, -math.inf],
            "count": pd.array([1, 2, 3], "int32"),
            "flag": [True, False, True],
        },
        index=[5, 6, 7],
    )
    first = store.get_or_run(spec, lambda: table)
    pd.testing.assert_frame_equal(first, store.get_or_run(spec, Counted()))
    assert list(first.index) == [0, 1, 2]
    assert first["count"].dtype == "int32" and first["number"].equals(pd.Series(table.number.array))


def test_a_method_that_fails_stores_nothing(spec):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.get_or_run(spec, fail)
    with pytest.raises(TypeError, match="toy.ramp must return a DataFrame, not dict"):
        store.get_or_run(spec, dict)
    assert store.find(spec) is None
    assert len(store.get_or_run(spec, Counted())) == 2, "the lock is free again"


def test_recomputing_compares_and_replaces(stored, spec, monkeypatch, capsys):
    store.get_or_run(spec, Counted(step=1.0), recompute=True)
    assert store.find(spec).record["sha256"] == stored.record["sha256"], "computed here just now"

    new_process(monkeypatch)
    longer = stored.table().assign(y=stored.table().y + 2)
    said = store.get_or_run(spec, lambda: longer, recompute=True)
    assert (
        f"toy.ramp {stored.key[:8]}: recomputed, differs: y by up to 2" in capsys.readouterr().err
    )
    assert list(said.y) == [2.0, 2.5, 3.0]
    entry = store.find(spec)
    assert entry.record["sha256"] != stored.record["sha256"]
    assert files(entry.file.parent) == [entry.table_file.name, entry.file.name]

    new_process(monkeypatch)
    monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
    compute = Counted()
    for _ in range(3):
        store.get_or_run(spec, compute)
    assert compute.calls == 1, "once a process"


def test_a_result_that_was_only_read_can_still_be_recomputed(stored, spec, monkeypatch):
    new_process(monkeypatch)
    store.run(ramp)
    compute = Counted()
    store.get_or_run(spec, compute, recompute=True)
    assert compute.calls == 1


def test_recomputing_an_equal_table_says_identical_and_keeps_the_file(stored, monkeypatch, capsys):
    new_process(monkeypatch)
    monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
    store.run(ramp)
    assert "recomputed, identical" in capsys.readouterr().err
    assert stored.table().equals(ramp())


def test_missing_text_is_no_difference(spec, monkeypatch, capsys):
    """Parquet gives None back as NaN: that is the store's doing, not a new number."""

    @store.method(version=1)
    def noted():
        return pd.DataFrame({"note": pd.Series(["x", None], dtype=object), "n": [1, 2]})

    noted.__module__ = "qbench.toy"
    sys.modules["qbench.toy"].noted = noted
    store.run(noted)
    (entry,) = store.entries()
    assert store.recompute(entry) == "identical"
    new_process(monkeypatch)
    monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
    store.run(noted)
    assert "recomputed, identical" in capsys.readouterr().err


# Damage


def test_a_damaged_table_is_named_until_it_is_recomputed(stored, spec, monkeypatch, capsys):
    stored.table_file.unlink()
    new_process(monkeypatch)
    says(lambda: store.run(ramp), paths.shown(stored.file), "No such file", "--recompute")
    stored.table_file.write_bytes(b"PAR1")
    says(lambda: store.run(ramp), paths.shown(stored.file), "altered or cut short")
    says(stored.table, paths.shown(stored.file))
    monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
    assert store.run(ramp).equals(ramp())
    assert "is damaged" in capsys.readouterr().err
    assert store.find(spec).table().equals(ramp())


@FEW
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_table_with_one_byte_changed_or_cut_short_is_refused(stored, at, flip):
    """`flip` 0 cuts the file off there."""
    whole = stored.table_file.read_bytes()
    place = int(at * len(whole))
    tail = bytes([whole[place] ^ flip]) + whole[place + 1 :] if flip else b""
    stored.table_file.write_bytes(whole[:place] + tail)
    try:
        says(stored.table, paths.shown(stored.file))
    finally:
        stored.table_file.write_bytes(whole)
    assert stored.table().equals(ramp())


@FEW
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_json_with_one_byte_changed_is_refused_or_harmless(stored, spec, at, flip):
    """Nobody can tell that a date was altered; but no wrong table and no other exception."""
    whole = stored.file.read_bytes()
    place = int(at * (len(whole) - 2))
    tail = bytes([whole[place] ^ flip]) + whole[place + 1 :] if flip else b""
    stored.file.write_bytes(whole[:place] + tail)
    store._used.clear()
    try:
        table = store.run(ramp)
        assert flip and table.equals(ramp())
        assert len(store.where_it_ran()) == 5
        assert store.find(spec).spec == stored.spec
    except StoreError as error:
        assert paths.shown(stored.file) in str(error)
    finally:
        stored.file.write_bytes(whole)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "1", "null", "{}", '{"spec": {}}', '{"spec": NaN, "sha256": ""}']
)
def test_a_json_that_is_something_else_is_refused(stored, content):
    stored.file.write_text(content)
    says(lambda: store.run(ramp), paths.shown(stored.file), "is damaged")
    says(lambda: list(store.entries()), paths.shown(stored.file))
    says(lambda: store.lookup("0"), paths.shown(stored.file))


@pytest.mark.parametrize("name", ["spec", "sha256", "date", "seconds", "machine", "commit"])
@pytest.mark.parametrize("value", [None, "absent", []])
def test_a_json_that_lacks_something_is_refused(stored, name, value):
    record = {**stored.record, name: value}
    if value == "absent":
        del record[name]
    stored.file.write_text(json.dumps(record))
    says(lambda: store.run(ramp), paths.shown(stored.file), "is damaged")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"method": "toy.other"},
        {"parameters": {"rows": 4, "slope": 0.5, "names": ["a", "b"]}},
        {"parameters": {}},
        {"further": 1},
    ],
)
def test_a_json_with_another_specification_is_refused(stored, change):
    stored.file.write_text(json.dumps({**stored.record, "spec": {**stored.spec, **change}}))
    says(lambda: store.run(ramp), paths.shown(stored.file), "specification")


def test_a_result_in_the_folder_of_another_method_is_refused(stored):
    elsewhere = stored.file.parent.with_name("toy.other")
    stored.file.parent.rename(elsewhere)
    says(lambda: list(store.entries()), paths.shown(elsewhere / stored.file.name), "is damaged")


def test_a_damaged_published_result_is_healed_by_a_local_one(stored, spec, monkeypatch):
    published = store.publish(stored)
    for file in (stored.file, stored.table_file):
        file.unlink()
    published.file.write_text("{")
    says(lambda: store.run(ramp), paths.shown(published.file))
    monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
    new_process(monkeypatch)
    store.run(ramp)
    assert store.find(spec).table().equals(ramp())


# Interruption, full disks, several processes


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
    store.write_atomically(file, b"first")
    assert file.read_bytes() == b"first" and file.stat().st_mode & 0o777 == 0o644
    for error in (no_space(), KeyboardInterrupt()):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(1, error))
            with pytest.raises(type(error)):
                store.write_atomically(file, b"second")
        assert file.read_bytes() == b"first" and os.listdir(tmp_path) == ["file"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", read_only)
        with pytest.raises(OSError, match="Read-only"):
            store.write_atomically(file, b"second")
    assert file.read_bytes() == b"first" and os.listdir(tmp_path) == ["file"]
    store.write_atomically(file, b"second")
    assert file.read_bytes() == b"second"


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


def test_a_killed_process_leaves_neither_a_result_nor_a_lock(other_process, spec):
    process = other_process(600)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    mine = Counted()
    store.get_or_run(spec, mine)
    assert mine.calls == 1


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


# Published results


def test_publish_copies_and_find_prefers_local(stored, spec, home, monkeypatch):
    assert not stored.published
    published = store.publish(stored)
    assert published.published and published.record == stored.record
    assert published.file.is_relative_to(home / "published")
    assert published.table().equals(stored.table())
    assert files(home / "published") == files(home / "local")
    assert [entry.published for entry in store.entries()] == [True, False]
    assert not store.find(spec).published and not store.lookup(stored.key).published
    for file in (stored.file, stored.table_file):
        file.unlink()
    new_process(monkeypatch)
    assert store.find(spec).published
    assert store.run(ramp).equals(ramp()) and files(home / "local") == [], "nothing computed"


def test_publishing_again_replaces(stored, spec, home, monkeypatch):
    store.publish(stored)
    new_process(monkeypatch)
    store.get_or_run(spec, Counted(), recompute=True)
    published = store.publish(store.find(spec))
    assert published.table().equals(Counted()())
    assert files(home / "published") == files(home / "local")
    assert store.publish(published) == published, "publishing what is published does no harm"


@pytest.mark.parametrize("content", [None, b"", b"PAR1PAR1"])
def test_a_damaged_table_is_not_published(stored, home, content):
    stored.table_file.unlink()
    if content is not None:
        stored.table_file.write_bytes(content)
    says(lambda: store.publish(stored), paths.shown(stored.file), "is damaged")
    assert files(home / "published") == []


def test_a_failed_publication_is_a_sentence(stored, home, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(2, no_space()))
    says(lambda: store.publish(stored), paths.shown(home / "published"), "No space left")
    assert files(home / "published") == []


def test_lookup(stored):
    assert store.lookup(stored.key).file == stored.file
    assert store.lookup(stored.key[:6]).file == stored.file
    says(lambda: store.lookup("xyz"), "no stored result begins with 'xyz'")
    store.run(ramp, rows=4)
    says(lambda: store.lookup(""), "2 results begin with ''", "qbench results list")


# Computing again


def test_recompute_stores_nothing(stored, home):
    before = {name: (home / "local" / name).stat().st_mtime_ns for name in files(home / "local")}
    assert store.recompute(stored) == "identical"
    after = {name: (home / "local" / name).stat().st_mtime_ns for name in files(home / "local")}
    assert after == before


def test_recompute_finds_a_number_that_no_run_gives(spec, monkeypatch):
    store.get_or_run(spec, lambda: ramp().assign(y=[0.0, 0.5, 1.25]))
    assert store.recompute(store.find(spec)) == "differs: y by up to 0.25"


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "no.such",
        "toy.absent",
        "toy",
        "store.os.getcwd",
        "data.load",
        "store.get_or_run",
        "__main__.main",
        ".ramp",
        "../toy.ramp",
        "toy ramp",
        "",
    ],
)
def test_recompute_calls_nothing_but_methods_of_qbench(name, home):
    """Nothing that is not marked `@method` is called, whatever a JSON says."""
    asked = {"method": name, "version": 1, "parameters": {}}
    record = {"spec": asked, "sha256": ""}
    entry = store.Entry(home / f"{store.key(asked)}.json", record)
    says(lambda: store.recompute(entry), repr(name))


def test_recompute_of_another_version_is_refused(monkeypatch, stored):
    monkeypatch.setattr(ramp, "qbench_version", 2)
    says(lambda: store.recompute(stored), stored.key, "version 1 of toy.ramp", "version 2 now")


def test_a_method_whose_packages_are_missing_is_not_called_damaged(stored, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'brevitas'", name="brevitas")

    monkeypatch.setattr(store.importlib, "import_module", missing)
    said = says(lambda: store.recompute(stored), stored.key, "brevitas")
    assert "damaged" not in said and "Delete" not in said


NUMBERS = pd.DataFrame({"x": [1, 2, 3], "y": [0.5, math.nan, math.inf], "name": ["a", "b", "c"]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "identical"),
        ({"y": [0.5, math.nan, math.inf]}, "identical"),
        ({"x": [1.0, 2.0, 3.0]}, "identical"),
        ({"x": [1, 2, 7]}, "differs: x by up to 4"),
        ({"x": [3, 2, 1]}, "differs: x by up to 2"),
        ({"x": np.array([0, 2, 3], "uint8")}, "differs: x by up to 1"),
        ({"x": [1, 2, 3 + 2**-40]}, "differs: x by up to 9.09e-13"),
        ({"x": [0, 2, 3], "y": [3.0, math.nan, math.inf]}, "differs: y by up to 2.5"),
        ({"x": [9, 2, 3], "y": [3.0, math.nan, math.inf]}, "differs: x by up to 8"),
        ({"y": [0.5, 0.5, math.inf]}, "differs: column y holds other entries"),
        ({"y": [math.nan, math.nan, math.inf]}, "differs: column y holds other entries"),
        ({"y": [0.5, math.nan, -math.inf]}, "differs: y by up to inf"),
        ({"y": [0.5, math.nan, 1.0]}, "differs: y by up to inf"),
        ({"name": ["a", "b", "d"]}, "differs: column name holds other entries"),
        ({"name": ["a", "b", None]}, "differs: column name holds other entries"),
        ({"x": ["1", "2", "3"]}, "differs: column x holds other entries"),
    ],
)
def test_compare(change, said):
    assert store.compare(NUMBERS, NUMBERS.assign(**change)) == said
    assert store.compare(NUMBERS.assign(**change), NUMBERS) == said
    assert store.compare(NUMBERS, NUMBERS.assign(**change).set_axis([7, 8, 9])) == said


def test_compare_tables_of_other_shapes():
    assert store.compare(NUMBERS, NUMBERS[:2]).startswith("differs: (3, 3) stored, (2, 3) computed")
    assert store.compare(NUMBERS, NUMBERS[["x", "y"]]).startswith("differs: (3, 3) stored, (3, 2)")
    assert store.compare(NUMBERS, NUMBERS.rename(columns={"x": "z"})).startswith("differs")
    assert store.compare(NUMBERS, NUMBERS[["y", "x", "name"]]).startswith("differs")
    assert store.compare(NUMBERS[:0], NUMBERS[:0]) == "identical"


def test_compare_columns_of_booleans_and_of_large_numbers():
    flags = pd.DataFrame({"f": [True, False]})
    assert store.compare(flags, ~flags) == "differs: f by up to 1"
    counts = pd.DataFrame({"n": [2**60]})
    assert store.compare(counts, counts + 1).startswith("differs: n")


numbers = st.floats() | st.sampled_from([math.nan, 0.0, 1.0])


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
def test_compare_says_identical_of_equal_numbers_only(pairs):
    ours, theirs = zip(*pairs, strict=True)
    same = all(a == b or (a != a and b != b) for a, b in pairs)
    said = store.compare(pd.DataFrame({"v": ours}), pd.DataFrame({"v": theirs}))
    assert (said == "identical") == same
    assert "nan" not in said and said != "differs: v by up to 0"


# Provenance


def test_where_it_ran_of_a_page_that_shows_no_run():
    table = store.where_it_ran()
    assert list(table.columns) == ["what", "value"]
    assert list(table.what) == ["software", "computed on"]
    assert re.search(r"python 3\.\d+", table.value[0]) and "torch 2." in table.value[0]
    assert re.search(r"\S, \d+ cores", table.value[1])


def test_where_it_ran_of_a_page_that_shows_runs(monkeypatch):
    for rows in (1, 2, 3):
        store.run(ramp, rows=rows)
    entries = list(store.entries())
    store.publish(entries[0])
    days = ["2026-01-31", "2026-02-01", "2025-12-31"]
    for entry, day in zip(entries, days, strict=True):
        machine = {**entry.record["machine"], "processor": "Z80", "cores": int(day[-1])}
        record = {**entry.record, "seconds": 50, "date": f"{day}T01:02:03", "machine": machine}
        entry.file.write_text(json.dumps(record))
    entries[0].file.unlink()  # leaves the published one, made here and now
    new_process(monkeypatch)
    for rows in (1, 2, 3, 3, 3):
        store.run(ramp, rows=rows)
    table = store.where_it_ran().set_index("what").value
    assert table["runs shown"] == "3, 1 published"
    assert table["computed"].startswith("2025-12-31 to ")
    assert table["computing time"].startswith("1 min 40")
    here = provenance.machine()
    machines = {"Z80, 1 cores", f"{here['processor']}, {here['cores']} cores"}
    assert set(table["computed on"].split("; ")) == machines


def test_a_record_says_where_a_result_comes_from(stored):
    record = stored.record
    assert record["spec"] == json.loads(json.dumps(store.spec(ramp)))
    assert (record["rows"], record["columns"]) == (3, ["x", "y"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["date"])
    assert 0 <= record["seconds"] < 60 and record["peak_memory_mib"] > 10
    assert record["machine"] == provenance.machine()
    assert record["versions"] == provenance.versions()
    assert re.fullmatch(r"([0-9a-f]{12}\+?)?", record["commit"])


def test_a_record_holds_no_path_and_no_name(stored, home):
    text = stored.file.read_text()
    secrets = [getpass.getuser(), socket.gethostname(), Path.home(), paths.ROOT, home, sys.prefix]
    for secret in secrets:
        assert not re.search(rf"(?<!\w){re.escape(str(secret))}(?!\w)", text), secret
    assert not re.search(r'"[^"]*/(home|root|work|tmp|usr)\b', text)


def test_the_machine_is_described_with_and_without_proc(monkeypatch):
    for machine in (provenance.machine(), without_proc(monkeypatch)):
        assert set(machine) == {"processor", "cores", "memory_gib", "system"}
        assert machine["processor"] and machine["system"]
        assert 1 <= machine["cores"] <= os.cpu_count()
        assert 0 <= machine["memory_gib"] < 100_000
        json.dumps(machine)


def without_proc(monkeypatch) -> dict:
    def absent(*_, **__):
        raise FileNotFoundError

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", absent)
        patch.delattr(os, "sched_getaffinity", raising=False)
        patch.delattr(os, "sysconf", raising=False)
        return provenance.machine.__wrapped__()


def test_the_commit_is_named_and_marked_when_files_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    commit = provenance.commit.__wrapped__
    assert commit() == "", "outside git"

    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    assert commit() == "", "no commit yet"
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")[:12]
    (tmp_path / "untracked").write_text("")
    assert commit() == head
    (tmp_path / "file").write_text("2")
    assert commit() == head + "+"
    monkeypatch.setenv("PATH", "")
    assert commit() == "", "no git at all"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (0.84, "0.8 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.4, "59 min 59 s"),
        (3599.7, "1 h 0 min"),
        (3725, "1 h 2 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_duration(seconds, said):
    assert store.duration(seconds) == said
