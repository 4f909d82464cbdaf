"""`store.run_together`: many results of one method, of which only what is missing is computed."""

import multiprocessing
import os
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from store_toy import empty_stores, failing, files, new_process, no_space, says

from qbench import paths, store


@store.method(version=1)
def line(*, slope: float, rows: int = 3, checkpoint: Path | None = None) -> pd.DataFrame:
    return pd.DataFrame({"x": range(rows), "y": [slope * row for row in range(rows)]})


line.__module__ = "qbench.toy"
FAILS = 13.0  # this slope gives no table


class Together:
    """Computes many lines at once and notes what it was called with; `shift` is added to `y`."""

    def __init__(self, shift: float = 0.0, shifted: float | None = None):
        self.shift, self.shifted = shift, shifted
        self.calls: list[list[float]] = []
        self.folder: Path | None = None

    def __call__(self, asked: list[dict], checkpoint: Path) -> list[pd.DataFrame | None]:
        self.calls.append([one["slope"] for one in asked])
        self.folder = checkpoint
        assert checkpoint.is_dir() and checkpoint.is_relative_to(paths.local_results())
        assert all(one.keys() == {"slope", "rows"} for one in asked), "defaults, no checkpoint"
        return [self.table(**one) for one in asked]

    def table(self, slope: float, rows: int) -> pd.DataFrame | None:
        if slope == FAILS:
            return None
        moved = self.shifted in (None, slope)
        return line(slope=slope, rows=rows).assign(y=lambda t: t.y + (self.shift if moved else 0))


def asked(*slopes: float, **more) -> list[dict]:
    return [{"slope": slope, **more} for slope in slopes]


def entry(slope: float) -> store.Entry | None:
    return store.find(store.spec(line, slope=slope))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    empty_stores(tmp_path, monkeypatch)
    return tmp_path


# What is computed


def test_each_is_stored_on_its_own_as_run_would_store_it(home, monkeypatch):
    together = Together()
    tables = store.run_together(line, asked(1.0, 2.0, 0.5), together)
    assert together.calls == [[1.0, 2.0, 0.5]], "once, in the order in which they were asked for"
    for slope, table in zip((1.0, 2.0, 0.5), tables, strict=True):
        assert table.equals(line(slope=slope))
        assert entry(slope).table().equals(table)
        assert entry(slope).record["together"] == 3
        assert entry(slope).record["spec"] == store.spec(line, slope=slope)
    mine = {slope: entry(slope) for slope in (1.0, 2.0, 0.5)}
    monkeypatch.setenv("QBENCH_RESULTS", str(home / "elsewhere"))
    for slope, before in mine.items():
        store.run(line, slope=slope)
        alone = entry(slope)
        assert alone.key == before.key and alone.content() == before.content()
        assert alone.record.keys() == before.record.keys() and alone.record["together"] == 1


def test_a_subset_of_what_is_stored_computes_nothing(home):
    store.run_together(line, asked(1.0, 2.0, 3.0), Together())
    before = files(home)
    together = Together()
    tables = store.run_together(line, asked(3.0, 1.0), together)
    assert together.calls == [] and files(home) == before
    assert tables[0].equals(line(slope=3.0)) and tables[1].equals(line(slope=1.0))


def test_a_superset_computes_what_is_missing(home):
    store.run_together(line, asked(1.0), Together())
    store.run(line, slope=3.0)
    together = Together(shift=100.0)
    tables = store.run_together(line, asked(1.0, 2.0, 3.0, 4.0), together)
    assert together.calls == [[2.0, 4.0]]
    starts = [table.y.iloc[0] for table in tables]
    assert starts == [0.0, 100.0, 0.0, 100.0], "what was stored is what is returned"
    assert entry(4.0).record["together"] == 2


def test_other_parameters_are_other_results():
    together = Together()
    store.run_together(line, asked(1.0, rows=3), together)
    store.run_together(line, [*asked(1.0, rows=5), *asked(1.0)], together)
    assert together.calls == [[1.0], [1.0]]


def test_published_results_are_used(home):
    store.run_together(line, asked(1.0, 2.0), Together())
    for slope in (1.0, 2.0):
        store.publish(entry(slope))
        entry(slope).file.unlink()
    together = Together()
    store.run_together(line, asked(1.0, 2.0), together)
    assert together.calls == [] and entry(1.0).published


def test_what_is_asked_for_twice_is_computed_once_and_given_twice():
    together = Together()
    tables = store.run_together(line, [*asked(1.0, 2.0, 1.0), *asked(2.0, rows=3)], together)
    assert together.calls == [[1.0, 2.0]]
    assert [table.y.iloc[1] for table in tables] == [1.0, 2.0, 1.0, 2.0]
    tables[0].loc[0, "y"] = 99.0
    assert tables[2].y.iloc[0] == 0.0, "a table of its own"


def test_nothing_asked_for_is_nothing(home):
    together = Together()
    assert store.run_together(line, [], together) == []
    assert together.calls == [] and files(home) == []


def test_the_runs_are_among_those_that_a_page_shows():
    store.run_together(line, asked(1.0, 2.0), Together())
    shown = store.where_it_ran().set_index("what")["value"]
    assert shown["runs shown"] == "2"


# Failures


def test_one_that_fails_is_not_stored_and_the_others_are():
    together = Together()
    tables = store.run_together(line, asked(1.0, FAILS, 2.0, FAILS), together)
    assert tables[1] is None and tables[3] is None
    assert tables[0].equals(line(slope=1.0)) and tables[2].equals(line(slope=2.0))
    assert entry(FAILS) is None and entry(1.0) and entry(2.0)
    store.run_together(line, asked(1.0, FAILS, 2.0), together)
    assert together.calls == [[1.0, FAILS, 2.0], [FAILS]], "it is tried again, alone"


def test_all_that_fail_leave_nothing(home):
    assert store.run_together(line, asked(FAILS), Together()) == [None]
    assert files(home / "local") == []


@pytest.mark.parametrize("given", [1, 3])
def test_as_many_tables_as_were_asked_for_must_come(given):
    with pytest.raises(ValueError, match="zip"):
        store.run_together(
            line, asked(1.0, 2.0), lambda *_: [line(slope=1.0) for _ in range(given)]
        )


def test_a_damaged_result_is_said_before_anything_is_computed(monkeypatch):
    store.run_together(line, asked(1.0), Together())
    entry(1.0).file.write_text("{")
    new_process(monkeypatch)
    together = Together()
    says(lambda: store.run_together(line, asked(1.0, 2.0), together), "damaged", "--recompute")
    assert together.calls == []
    tables = store.run_together(line, asked(1.0, 2.0), together, recompute=True)
    assert together.calls == [[1.0, 2.0]] and tables[0].equals(line(slope=1.0))


# Recomputing


def said_of(text: str) -> dict[str, str]:
    """What was said of each recomputed result, by the beginning of its key."""
    lines = [line for line in text.splitlines() if store.RECOMPUTED in line]
    return {part.split(store.RECOMPUTED)[0].split()[-1]: part.split(", ", 1)[1] for part in lines}


@pytest.mark.parametrize("by_environment", [True, False])
def test_recomputing_says_of_each_how_it_compares(monkeypatch, capsys, by_environment):
    store.run_together(line, asked(1.0, 2.0, 3.0), Together())
    new_process(monkeypatch)
    capsys.readouterr()
    together = Together(shift=0.25, shifted=2.0)
    if by_environment:
        monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
    again = {} if by_environment else {"recompute": True}
    tables = store.run_together(line, asked(1.0, 2.0, 4.0), together, **again)
    keys = [store.key(store.spec(line, slope=slope))[:8] for slope in (1.0, 2.0)]
    assert said_of(capsys.readouterr().err) == {
        keys[0]: "identical",
        keys[1]: "differs: y by up to 0.25",
    }
    assert together.calls == [[1.0, 2.0, 4.0]]
    assert entry(2.0).table().equals(tables[1]) and tables[1].y.iloc[0] == 0.25
    store.run_together(line, asked(1.0, 2.0, 5.0), together, **again)
    assert together.calls[1:] == [[5.0]], "once a process"


def test_one_that_fails_when_recomputed_keeps_what_was_stored(monkeypatch):
    store.run_together(line, asked(1.0, 2.0), Together())
    new_process(monkeypatch)
    tables = store.run_together(
        line, asked(1.0, 2.0), lambda asked, _: [None, line(**asked[1])], recompute=True
    )
    assert tables[0] is None and entry(1.0).table().equals(line(slope=1.0))


def test_recomputing_begins_without_what_an_interrupted_call_left(monkeypatch):
    left = []

    def interrupted(asked, checkpoint):
        left.append(sorted(file.name for file in checkpoint.iterdir()))
        (checkpoint / f"state {len(left)}").touch()
        raise KeyboardInterrupt

    for recompute in (False, False, True, False):
        with pytest.raises(KeyboardInterrupt):
            store.run_together(line, asked(1.0, 2.0), interrupted, recompute=recompute)
    assert left == [[], ["state 1"], [], ["state 3"]]


# Interruptions


def test_an_interruption_keeps_the_checkpoints_and_stores_nothing(home):
    def interrupted(asked, checkpoint):
        (checkpoint / "state").write_text("half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.run_together(line, asked(1.0, 2.0), interrupted)
    assert [Path(name).name for name in files(home)] == ["state"]
    assert list(store.entries()) == []

    together = Together()
    real = together.__call__

    def resumed(asked, checkpoint):
        assert (checkpoint / "state").read_text() == "half of it"
        return real(asked, checkpoint)

    store.run_together(line, asked(2.0, 1.0), resumed)  # in whatever order
    assert len(list(store.entries())) == 2
    assert not together.folder.exists()
    assert files(home / "local" / "unfinished") == []


@pytest.mark.parametrize("write", range(1, 5))  # table and JSON of the one, of the other
@pytest.mark.parametrize("error", [no_space(), KeyboardInterrupt()])
def test_an_interruption_while_results_are_written_leaves_whole_ones(
    home, monkeypatch, write, error
):
    together = Together()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(write, error))
        with pytest.raises(store.StoreError if isinstance(error, OSError) else type(error)):
            store.run_together(line, asked(1.0, 2.0), together)
    whole = [one.table() for one in store.entries()]
    assert len(whole) == (write - 1) // 2
    assert len(files(home / "local" / "toy.line")) == 2 * len(whole)
    assert together.folder.is_dir(), "what was computed is not thrown away"
    tables = store.run_together(line, asked(1.0, 2.0), together)
    assert together.calls == [[1.0, 2.0], [1.0, 2.0][len(whole) :]]
    assert [table.y.iloc[1] for table in tables] == [1.0, 2.0]


def test_the_locks_are_free_again_after_a_failure():
    def broken(asked, checkpoint):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        store.run_together(line, asked(1.0, 2.0), broken)
    table = store.run(line, slope=1.0)  # would wait for ever
    assert table.equals(line(slope=1.0))


# Several processes


def ask_in_a_process(folder: str, slopes: list[float]) -> None:
    """Asks with a pause after each lock, and notes what it computes."""
    os.environ["QBENCH_RESULTS"] = folder
    paths.PUBLISHED = Path(folder) / "published"
    real = store._lock

    @contextmanager
    def slow_lock(spec, name):
        with real(spec, name):
            time.sleep(0.3)
            yield

    store._lock = slow_lock
    together = Together()
    (Path(folder) / f"ready {slopes[0]}").touch()
    while len(list(Path(folder).glob("ready *"))) < 2:
        time.sleep(0.01)
    tables = store.run_together(line, asked(*slopes), together)
    assert [table.y.iloc[1] for table in tables] == slopes
    with open(Path(folder) / "computed", "a") as computed:
        computed.write("".join(f"{slope}\n" for call in together.calls for slope in call))


def by_key(slopes: list[float]) -> list[float]:
    return sorted(slopes, key=lambda slope: store.key(store.spec(line, slope=slope)))


def test_two_processes_with_overlapping_questions_compute_each_once_and_never_block(home):
    """In opposite orders: each holding a lock that the other waits for would be the end."""
    folder = home / "local"
    folder.mkdir()
    first = by_key([1.0, 2.0, 3.0, 4.0])
    mine, yours = first[:3], first[:0:-1]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=ask_in_a_process, args=(str(folder), slopes))
        for slopes in (mine, yours)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    stuck = [process for process in processes if process.is_alive()]
    for process in stuck:
        process.kill()
    assert not stuck, "they wait for each other"
    assert [process.exitcode for process in processes] == [0, 0]
    computed = (folder / "computed").read_text().split()
    assert sorted(computed) == ["1.0", "2.0", "3.0", "4.0"]
    assert sorted(one.table().y.iloc[1] for one in store.entries()) == [1.0, 2.0, 3.0, 4.0]
    assert files(folder / "unfinished") == []
