"""Where a result comes from: its record, the machine, the commit, and what a page says of it."""

import getpass
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import store_toy
from store_toy import new_process, ramp

from qbench import paths, provenance, store

home = pytest.fixture(store_toy.home, autouse=True)
spec = pytest.fixture(store_toy.spec)
stored = pytest.fixture(store_toy.stored)


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
    assert table["runs shown"] == "3"
    assert table["computed"].startswith("2025-12-31 to ")
    assert table["computing time, summed over runs"].startswith("1 min 40")
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
    assert provenance.duration(seconds) == said
