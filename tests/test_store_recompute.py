"""Computing a stored result again, and comparing the two tables."""

import math

import numpy as np
import pandas as pd
import pytest
import store_toy
from hypothesis import given, settings
from hypothesis import strategies as st
from store_toy import files, ramp, says

from qbench import store

home = pytest.fixture(store_toy.home, autouse=True)
spec = pytest.fixture(store_toy.spec)
stored = pytest.fixture(store_toy.stored)


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


# Comparing

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


@settings(deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
def test_compare_says_identical_of_equal_numbers_only(pairs):
    ours, theirs = zip(*pairs, strict=True)
    same = all(a == b or (a != a and b != b) for a, b in pairs)
    said = store.compare(pd.DataFrame({"v": ours}), pd.DataFrame({"v": theirs}))
    assert (said == "identical") == same
    assert "nan" not in said and said != "differs: v by up to 0"
