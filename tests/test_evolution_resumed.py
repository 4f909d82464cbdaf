"""Interrupted searches end as uninterrupted ones would have; damage and mix-ups are noticed."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from evolution_toy import TINY, Evaluator
from faults_toy import noted

from qbench.evolution import EvolutionError, Rates, nsga2, random_search, read_archive

SAME = {"noise": 0.05, "error_step": 0.5, "progress": False}
KILLED = """
import os, signal, sys
from pathlib import Path
from evolution_toy import TINY, Evaluator
from test_evolution_resumed import search

def stop(kept):
    if kept == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

search(Evaluator(stop=stop), Path(sys.argv[1]))
"""


def search(evaluate, archive=None, **options):
    asked = {"population": 6, "generations": 5, "seed": 4, **SAME} | options
    return nsga2(TINY, evaluate, archive=archive, **asked)


def chance(evaluate, archive=None, **options):
    asked = {"evaluations": 23, "batch": 6, "seed": 4, "progress": False} | options
    return random_search(TINY, evaluate, archive=archive, **asked)


def rows(file: Path) -> list[str]:
    """The individuals in an archive: all but its digest, its settings and its time."""
    return file.read_text().splitlines()[2:]


class Stopped(Exception):
    pass


def stopping(after: int):
    def stop(kept):
        if kept == after:
            raise Stopped

    return stop


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted search: its table, the networks it trained and its archive's rows."""
    file = tmp_path_factory.mktemp("whole") / "archive.jsonl"
    evaluate = Evaluator()
    return search(evaluate, file), evaluate.kept, rows(file)


def test_the_archive_is_the_table(whole, tmp_path):
    table, _, written = whole
    file = tmp_path / "a.jsonl"
    pd.testing.assert_frame_equal(search(Evaluator(), file), table)
    pd.testing.assert_frame_equal(read_archive(file), table)
    assert rows(file) == written
    pd.testing.assert_frame_equal(search(Evaluator()), table)


def test_a_search_killed_twice_ends_as_one_that_was_not(whole, tmp_path):
    """SIGKILL between two networks of the second generation, then of the fourth."""
    table, trained, written = whole
    file = tmp_path / "a.jsonl"
    here = Path(__file__).parent
    kept = 0
    for after in (6, 9):  # networks, in each process
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
        command = [sys.executable, "-c", KILLED, str(file), str(after)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        kept += after
        part = read_archive(file)
        assert part.phenotype.nunique() == kept < len(trained)
        assert 1 < part.generation.max() < 5
    evaluate = Evaluator()
    pd.testing.assert_frame_equal(search(evaluate, file), table)
    assert rows(file) == written and len(evaluate.kept) == len(trained) - kept
    noted(
        "a search is killed", "SIGKILL between two networks", 2, "the undisturbed search's archive"
    )


def test_an_interruption_before_any_network_costs_only_that(tmp_path):
    small, uninterrupted = {"population": 3, "generations": 4}, tmp_path / "whole.jsonl"
    table = search(Evaluator(), uninterrupted, **small)
    for after in range(table.trained.sum()):
        file = tmp_path / f"{after}.jsonl"
        with pytest.raises(Stopped):
            search(Evaluator(stop=stopping(after)), file, **small)
        evaluate = Evaluator()
        pd.testing.assert_frame_equal(search(evaluate, file, **small), table)
        assert rows(file) == rows(uninterrupted)
        assert len(evaluate.kept) == table.trained.sum() - after


def test_a_finished_search_is_read_and_more_generations_continue_it(whole, tmp_path):
    table, trained, _ = whole
    file = tmp_path / "a.jsonl"
    search(Evaluator(), file, generations=3)
    evaluate = Evaluator()
    pd.testing.assert_frame_equal(search(evaluate, file), table)
    before, idle = file.read_bytes(), Evaluator()
    assert len(evaluate.kept) < len(trained)
    pd.testing.assert_frame_equal(search(idle, file), table)
    assert len(search(idle, file, generations=2)) == 12
    assert idle.calls == 0 and file.read_bytes() == before, "fewer generations discard nothing"


def test_random_search_continues_too(tmp_path):
    table = chance(Evaluator())
    for after in (0, 1, 7, 12, 22):
        file = tmp_path / f"{after}.jsonl"
        with pytest.raises(Stopped):
            chance(Evaluator(stop=stopping(after)), file)
        evaluate = Evaluator()
        pd.testing.assert_frame_equal(chance(evaluate, file), table)
        assert len(evaluate.kept) == 23 - after
        pd.testing.assert_frame_equal(read_archive(file), table)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "no digest"])
def test_a_damaged_archive_is_said_to_be_one_and_set_aside(whole, tmp_path, capsys, damage):
    table, trained, _ = whole
    file = tmp_path / "a.jsonl"
    search(Evaluator(), file)
    good = file.read_bytes()
    bad = {
        "cut": good[:-50],
        "changed": good.replace(b'"error": 2', b'"error": 1', 1),
        "empty": b"",
        "no digest": good.partition(b"\n")[2],
    }[damage]
    assert bad != good
    file.write_bytes(bad)
    with pytest.raises(EvolutionError, match=r"a\.jsonl is damaged: search again\.$"):
        read_archive(file)
    evaluate = Evaluator()
    pd.testing.assert_frame_equal(search(evaluate, file), table)
    assert "a.jsonl is damaged: it is now a.jsonl.damaged, and" in capsys.readouterr().err
    assert len(evaluate.kept) == len(trained)
    assert (tmp_path / "a.jsonl.damaged").read_bytes() == bad


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda e, f: search(e, f, seed=5), "a search with seed 4, not 5: "),
        (lambda e, f: search(e, f, population=7), "a search with population 6, not 7: "),
        (lambda e, f: search(e, f, noise=0), "a search with noise 0.05, not 0.0: "),
        (lambda e, f: search(e, f, rates=Rates(coarse=0.5)), "a search with other rates: "),
        (lambda e, f: chance(e, f), "a search with search 'nsga2', not 'random': "),
        (
            lambda e, f: nsga2(
                replace(TINY, baseline=(1, 1, 6, 6, 6, 20)),
                e,
                population=6,
                generations=5,
                seed=4,
                archive=f,
                **SAME,
            ),
            "a search with other baseline: ",
        ),
    ],
)
def test_an_archive_of_another_search_is_refused(tmp_path, ask, said):
    file = tmp_path / "a.jsonl"
    search(Evaluator(), file, generations=1)
    before, idle = file.read_bytes(), Evaluator()
    with pytest.raises(EvolutionError) as caught:
        ask(idle, file)
    assert said in str(caught.value)
    assert str(caught.value).endswith("name another file, or delete that one.")
    assert idle.calls == 0 and file.read_bytes() == before


def test_a_search_that_takes_another_way_is_noticed(tmp_path, monkeypatch):
    """As another version of pymoo might."""
    from qbench.evolution import operators

    file = tmp_path / "a.jsonl"
    search(Evaluator(), file, generations=3)
    original = operators.mutate
    monkeypatch.setattr(operators, "mutate", lambda *a: original(a[0], original(*a), *a[2:]))
    before = file.read_bytes()
    with pytest.raises(EvolutionError, match=r"took another way from the same seed \(generation 2"):
        search(Evaluator(), file)
    assert file.read_bytes() == before


def test_reading_an_archive_that_is_not_there(tmp_path):
    with pytest.raises(EvolutionError, match=r"no\.jsonl cannot be read: No such file"):
        read_archive(tmp_path / "no.jsonl")
