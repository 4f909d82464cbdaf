"""The store: a question is computed once, its result is read ever after and can be published."""

import json
import math
import os
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import store_toy
from hypothesis import given, settings
from hypothesis import strategies as st
from store_toy import Counted, failing, files, new_process, no_space, ramp, says

from qbench import paths, store

home = pytest.fixture(store_toy.home, autouse=True)
spec = pytest.fixture(store_toy.spec)
stored = pytest.fixture(store_toy.stored)


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


@settings(deadline=None)
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


@given(whole=st.integers(-(2**53), 2**53))
def test_a_whole_number_asks_the_same_however_it_is_written(whole):
    def key(value):
        nested = {"teacher": {"temperature": value}, "rates": [value, 0.5]}
        return store.key({"method": "m.f", "version": 1, "parameters": nested})

    assert key(whole) == key(float(whole))
    assert key(whole) != key(whole + 0.5) or abs(whole) > 2**51, "where there are halves"
    assert key(1) != key(True)


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


def test_files_in_a_table_are_kept_to_the_byte(spec, monkeypatch):
    """As chapter 07 stores networks: read, published and compared like anything else."""
    large = bytes(range(256)) * 8192  # more than Parquet puts into a page or a statistic
    table = pd.DataFrame({"name": ["a", "b", "c"], "file": [large, b"\x00\xff\n", b""]})
    first = store.get_or_run(spec, lambda: table)
    new_process(monkeypatch)
    for entry in (store.find(spec), store.publish(store.find(spec))):
        assert list(entry.table()["file"]) == list(first["file"]) == list(table["file"])
    other = table.assign(file=[large, b"\x00\xff\r", b""])
    assert store.compare(first, entry.table()) == "identical"
    assert store.compare(first, other) == "differs: column file holds other entries"


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


# Published results


def test_publish_copies_and_find_prefers_local(stored, spec, home, monkeypatch):
    assert not stored.published
    published = store.publish(stored)
    assert published.published and published.record == stored.record
    assert published.file.is_relative_to(home / "published")
    assert published.table().equals(stored.table())
    assert files(home / "published") == files(home / "local")
    assert [entry.published for entry in store.entries()] == [True], "each key once"
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


def test_what_is_published_already_is_left_as_it_is(stored):
    published = store.publish(stored)
    before = [file.stat().st_ino for file in (published.file, published.table_file)]
    store.publish(stored)
    assert [file.stat().st_ino for file in (published.file, published.table_file)] == before
    for file in (published.table_file, published.file):
        file.write_bytes(b"{")
        assert store.publish(stored).table().equals(ramp()), "a damaged copy is replaced"


def test_keys_are_told_without_reading_any_result(stored):
    store.run(ramp, rows=4)
    stored.file.write_text("{")
    assert len(store.keys(paths.local_results())) == 2
    assert store.keys(paths.PUBLISHED) == []


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


def test_results_of_a_method_are_those_of_its_version_each_once(home, monkeypatch):
    for rows in (3, 5):
        store.run(ramp, rows=rows)
    found = list(store.results(ramp))
    assert sorted(one.spec["parameters"]["rows"] for one in found) == [3, 5]
    assert list(store.results(ramp, published=True)) == []
    store.publish(found[0])
    assert [one.key for one in store.results(ramp)] == [one.key for one in found]
    assert not any(one.published for one in store.results(ramp))  # local ones come first
    assert [one.key for one in store.results(ramp, published=True)] == [found[0].key]
    new_process(monkeypatch)
    assert len(store.read(found[0])) in (3, 5)
    assert "runs shown" in store.where_it_ran()["what"].tolist()
    monkeypatch.setattr(ramp, "qbench_version", 2)
    assert list(store.results(ramp)) == []
