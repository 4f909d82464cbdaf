"""What a user waits for: measured small, summed up from known numbers, shown when published."""

import math

import pandas as pd
import pytest

from qbench import book, pages, printing, speed_waits, store
from qbench.speed_waits import ASLEEP, COMPUTING, HELP, WHOLE


def test_a_store_is_filled_and_asked(results):
    found = speed_waits.looked_up(results=12).set_index("what")["seconds"]
    assert (found > 0).all() and {WHOLE, "qbench results list", "publish one"} <= set(found.index)
    assert list(store.entries(results)) == []  # ours is left alone


def test_all_sets_are_timed_in_a_process_of_their_own():
    found = speed_waits.enumerated(architectures=["2-Add"], rounds=2)
    assert found["sets"].tolist() == [1294] * 2 and (found["seconds"] > 0).all()
    assert found["memory_mib"].between(10, 4096).all()


def test_a_generation_on_one_worker_and_on_two():
    found = speed_waits.generations(individuals=2, seconds=0.4)
    ways = found[["individuals", "workers"]].apply(tuple, axis=1).tolist()
    assert ways == [(COMPUTING, 1), (ASLEEP, 2), (COMPUTING, 2)]
    assert found["least"].tolist() == pytest.approx([0.2, 0.4, 0.1])
    assert (found["seconds"] >= 0.9 * found["least"]).all()


def test_commands_are_started(monkeypatch):
    wanted = {name: speed_waits.COMMANDS[name] for name in ("python -c pass", HELP)}
    monkeypatch.setattr(speed_waits, "COMMANDS", wanted)
    found = speed_waits.started(rounds=1)
    assert found["what"].tolist() == list(wanted) and (found["seconds"] > 0).all()
    for what, code in ((HELP, "raise SystemExit(3)"), (speed_waits.REFUSED, "pass")):
        monkeypatch.setattr(speed_waits, "COMMANDS", {what: ("-c", code)})
        with pytest.raises(speed_waits.WaitError, match="it cannot be timed"):
            speed_waits.started(rounds=1)


def test_without_chromium_or_a_book_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(printing, "chromium", lambda: None)
    with pytest.raises(speed_waits.WaitError, match="Chromium is missing"):
        speed_waits.opened()
    monkeypatch.setattr(printing, "chromium", lambda: "chromium")
    monkeypatch.setattr(book, "INDEX", tmp_path / "index.html")
    with pytest.raises(speed_waits.WaitError, match="no page book/intro: `make book`"):
        speed_waits.opened()


def measured() -> dict[str, pd.DataFrame]:
    return {
        "started": pd.DataFrame(
            {"what": [HELP] * 3, "round": [1, 2, 3], "seconds": [0.1, 0.2, 9.0]}
        ),
        "looked_up": pd.DataFrame({"what": [WHOLE, "store one more"], "seconds": [0.006, 0.007]}),
        "enumerated": pd.DataFrame(
            {
                "multiplier": ["2-Add", "4-Add"],
                "round": 1,
                "sets": [1294, 3_949_825],
                "seconds": [2.5, 11.0],
                "memory_mib": [100, 512],
            }
        ),
        "generations": pd.DataFrame(
            {
                "individuals": [COMPUTING, ASLEEP, COMPUTING],
                "workers": [1, 2, 2],
                "round": 1,
                "seconds": [40.0, 83.2, 20.0],
                "least": [40.0, 80.0, 20.0],
            }
        ),
        "opened": pd.DataFrame(
            {
                "page": ["book/intro", "book/how_to"],
                "round": 1,
                "answers": [2.5, 1.5],
                "drawn": [3.5, math.nan],  # a page without figures
                "with_all": [1500.0, 500.0],
            }
        ),
    }


def test_what_was_measured_beside_what_is_aimed_at():
    found = speed_waits.summed_up(measured())
    assert found["took"].tolist() == pytest.approx(
        [0.2, 6, 7, 2.5, 100 / 1024, 11, 0.5, 4, 2, 2.5, 3.5, 1.5, 1.5, 0.5]
    )
    assert found["what"][5] == "all 3,949,825 sets of the 4-Add, compared with weights"
    assert found["met"].tolist()[3:7] == [False, True, True, True]
    assert found["met"].drop(range(3, 7)).tolist() == [
        True,
        False,
        None,
        True,
        True,
        False,
        None,
        None,
        True,
        None,
    ]
    assert found["aim"].tolist() == [
        *("at most 0.3", "at most 5", "", "at most 2", "at most 4", "at most 60", "at most 4"),
        *("at most 5", "at least 1.7"),
        *("at most 2", "", "", "at most 2", ""),
    ]


@pytest.mark.usefixtures("results")
def test_the_page_shows_what_is_published():
    assert pages._waits() == "Not published yet; `make bench` measures it.\n"
    for name, table in measured().items():
        asked = store.spec(getattr(speed_waits, name))
        store.get_or_run(asked, lambda table=table: table)
        store.publish(store.find(asked))
    said = pages._waits()
    assert [
        word for word in ("qbench --help", "at least 1.7", "Measured on") if word not in said
    ] == []
    assert said.count("Measured on") == 1
