"""A damaged result in the store is named, and never read as if it were whole."""

import hashlib
import json
from dataclasses import replace

import pandas as pd
import pytest
import store_toy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_toy import new_process, ramp, says

from qbench import paths, store
from qbench.store import StoreError, reading
from qbench.store.writing import parquet

FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example restores the file
)
home = pytest.fixture(store_toy.home, autouse=True)
spec = pytest.fixture(store_toy.spec)
stored = pytest.fixture(store_toy.stored)


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


def changed(whole, at, flip):
    """The bytes with one of them changed, at a share of their length; `flip` 0 cuts them off."""
    place = int(at * len(whole))
    return whole[:place] + (bytes([whole[place] ^ flip]) + whole[place + 1 :] if flip else b"")


@FEW
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_table_with_one_byte_changed_or_cut_short_is_refused(stored, at, flip):
    whole = stored.table_file.read_bytes()
    stored.table_file.write_bytes(changed(whole, at, flip))
    try:
        says(stored.table, paths.shown(stored.file))
    finally:
        stored.table_file.write_bytes(whole)
    assert stored.table().equals(ramp())


def forged(stored, content):
    """The entry with a table that somebody else wrote, whose digest is right."""
    entry = replace(stored, record=stored.record | {"sha256": hashlib.sha256(content).hexdigest()})
    entry.table_file.write_bytes(content)
    return entry


@FEW
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_table_with_a_digest_of_its_own_is_a_table_or_refused(stored, at, flip):
    whole = stored.table_file.read_bytes()
    entry = forged(stored, changed(whole, at, flip))
    try:
        assert isinstance(entry.table(), pd.DataFrame)
    except StoreError as error:
        assert "its table" in str(error)
    finally:
        if entry.table_file != stored.table_file:
            entry.table_file.unlink()


def test_a_table_larger_than_any_result_is_not_unpacked(stored, monkeypatch):
    monkeypatch.setattr(reading, "MOST_CELLS", 10)
    entry = forged(stored, parquet(pd.DataFrame({"x": [1.0] * 11})))
    says(entry.table, "11 rows of 1 columns, more than any result has")
    entry = forged(stored, b"PAR1")
    says(entry.table, "its table is not one that was stored")


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
    says(lambda: store.lookup(stored.key[:4]), paths.shown(stored.file))


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
