"""The table of faults: what tests noted, those that were skipped, and those that failed."""

import pytest

from qbench import faults, paths

TEST = """
import json, os
import pytest

def test_a_disk_that_is_full():
    row = {"fault": "a full disk", "injected": "for real", "times": 3, "outcome": "a sentence"}
    with open(os.environ["QBENCH_FAULTS"], "a") as out:
        out.write(json.dumps(row) + chr(10))

def test_a_moon_that_falls():
    pytest.skip("there is no moon here")

def test_that_may_fail():
    assert not os.environ.get("MAY_FAIL")
"""


@pytest.fixture(autouse=True)
def tests(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(faults, "TESTS", ("test_toy.py",))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_toy.py").write_text(TEST)
    other = "import pytest\npytest.importorskip('no_such_library')\n"
    (tmp_path / "tests" / "test_other_things.py").write_text(other)


def test_what_was_noted_and_what_was_skipped_are_rows():
    first, last = faults.suite().to_dict("records")
    assert first == {
        **{"fault": "a full disk", "injected": "for real", "times": 3, "outcome": "a sentence"}
    }
    assert last["fault"] == "a moon that falls" and last["times"] == 0
    assert last["injected"] == faults.NOT_HERE and last["outcome"] == "there is no moon here"


def test_a_file_that_is_skipped_is_a_row(monkeypatch):
    monkeypatch.setattr(faults, "TESTS", ("test_toy.py", "test_other_things.py"))
    rows = faults.suite().set_index("fault")["outcome"]
    assert "could not import 'no_such_library'" in rows["other things"]


def test_one_that_fails_leaves_no_table(monkeypatch):
    monkeypatch.setenv("MAY_FAIL", "1")
    with pytest.raises(faults.FaultsError, match="a test of faults failed"):
        faults.suite()


def test_tests_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(faults, "TESTS", ("test_gone.py",))
    with pytest.raises(faults.FaultsError, match="test_gone.py is missing: run this in a checkout"):
        faults.suite()
