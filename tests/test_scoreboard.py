"""What is judged, what is excused, and that nothing else is left."""

import json
import re

import pandas as pd
import pytest
import scoreboard_toy as toy

from qbench import ledger, paths, reference, scoreboard, scoreboard_page

CLAIM = "stewart2021/claims:two_bit_catches_up"


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """Notes verdicts in a file; what is called gives what is in it."""
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / "05.verdicts.jsonl"))
    return lambda: scoreboard.chapters_said(tmp_path).get("05", [])


def test_every_claim_and_number_is_in_the_catalogue_once():
    found = scoreboard.catalogue()
    assert found.index.is_unique
    for source in scoreboard.works():
        rows = found[found["source"] == source]
        entries = sum(len(reference.load(source, name)) for name in reference.tables(source))
        assert len(rows) == entries + len(reference.claims(source))


def test_scope_names_only_what_there_is_and_every_reason_has_a_sentence():
    for name, (reason, why) in scoreboard.excuses().items():
        assert name in scoreboard.catalogue().index
        assert reason in (*scoreboard.REASONS, "erratum") and len(why) > 10
    assert set(scoreboard_page.REASONS) | {"needs hardware"} == set(scoreboard.REASONS)
    assert set(scoreboard_page.MEANINGS) == set(scoreboard.VERDICTS) == set(reference.VERDICTS)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"reason": "dull", "why": "It is.", "claims": ["*"]}, "reason must be one of setting"),
        ({"reason": "cited", "why": "It is.", "claims": ["nothing"]}, "is named 'nothing'"),
        (
            {"reason": "cited", "why": "It is.", "entries": ["table_1 x=7"]},
            "is named 'table_1 x=7'",
        ),
        ({"erratum": "nothing", "claims": ["*"]}, "there is no erratum 'nothing'"),
        ({"same": {"nothing": "networks"}}, "there is no 'stewart2021/claims:nothing'"),
    ],
)
def test_a_scope_that_names_nothing_is_refused(monkeypatch, group, said):
    real = scoreboard._scope
    given = lambda source: [group] if source == "stewart2021" else real(source)  # noqa: E731
    monkeypatch.setattr(scoreboard, "_scope", given)
    with pytest.raises(scoreboard.ScoreboardError, match=re.escape(said)):
        scoreboard.excuses()
        scoreboard._lent(scoreboard.catalogue())


def test_what_is_neither_judged_nor_excused_fails_and_is_named():
    said = toy.whole()
    name = "ducasse2021/table_2:3"
    said["05"] = [one for one in said["05"] if one != toy.record(name)]
    with pytest.raises(scoreboard.ScoreboardError, match=f"^1 claims .*{name}"):
        scoreboard.board(said)
    with pytest.raises(scoreboard.ScoreboardError, match="no single entry .*nothing"):
        scoreboard.board(toy.whole() | {"06": [toy.record("nobody/claims:nothing")]})


def test_several_verdicts_are_the_worst_of_them():
    said = {
        "02": [toy.record(CLAIM, "trend", "a")],
        "05": [toy.record(CLAIM, "differs", "b", "No.")],
    }
    row = scoreboard.board(toy.whole() | {"02": said["02"]}).loc[CLAIM]
    assert row["verdict"] == "trend" and row["chapter"] == "02, 05"
    row = scoreboard.board({"01": toy.whole()["05"]} | said).loc[CLAIM]
    assert row["verdict"] == "differs" and row["ours"] == "b"
    assert row["why"] == "in 1 of 3 ways of looking; No."


def test_the_preprint_takes_the_verdict_of_the_article():
    board = scoreboard.board({"05": toy.whole()["05"], "02": [toy.record(CLAIM, "differs")]})
    old = CLAIM.replace("2021", "2020")
    assert board.loc[old, "verdict"] == "differs" and "Stewart et al. 2021" in board.loc[old, "why"]


def test_a_verdict_goes_before_a_reason():
    name = "stewart2021/claims:networks"
    assert scoreboard.board(toy.whole()).loc[name, "reason"] == "setting"
    row = scoreboard.board(toy.whole() | {"02": [toy.record(name, "differs")]}).loc[name]
    assert row["verdict"] == "differs" and row["reason"] == ""


def test_verdicts_are_noted_as_they_are_reached(noted):
    reference.claim("stewart2021", "two_bit_catches_up", holds=True, ours="it does")
    reference.claim_value("stewart2021", "tanh_of_two", 0.964)
    table = reference.load("stewart2021", "table_1")
    first = table[(table["x"] == 2) & (table["bits"] == 8)]
    reference.compare(first, first, on=["x", "bits"])
    reference.compare(first, first, on=["x", "bits"], noted=False)
    reference.verdict(1.0, 2.0)  # about no entry
    row = reference.load("ducasse2021", "table_2").iloc[0]
    reference.verdict(row["value"], 0.0, of=row)
    subjects = [scoreboard._subject(record) for record in noted()]
    assert subjects == [
        CLAIM,
        "stewart2021/claims:tanh_of_two",
        f"stewart2021/table_1:{first.index[0]}",
        "ducasse2021/table_2:0",
    ]
    assert [r["verdict"] for r in noted()] == ["trend", "exact", "exact", "differs"]


def test_nothing_is_noted_without_a_file(monkeypatch, tmp_path):
    monkeypatch.delenv(ledger.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    reference.claim("stewart2021", "two_bit_catches_up", holds=True, ours="it does")
    assert not list(tmp_path.iterdir())


def test_every_entry_can_be_told_from_the_others_by_its_row():
    """Else a chapter that compares whole tables could not say which entry it means."""
    found = scoreboard.catalogue()
    for name, row in found.loc[found["table"] != "claims", "row"].items():
        about = {key: ledger.plain(value) for key, value in row.items()}
        assert scoreboard._subject({"about": json.loads(json.dumps(about))}) == name


def test_the_front_page_counts_what_the_board_has():
    board = scoreboard.board(toy.whole())
    text = scoreboard_page.front(board, reference.TITLES)
    lines = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]
    head, *rows = [[re.sub("<[^>]*>", "", cell) for cell in line] for line in cells]
    numbers = {row[0]: [int(cell.replace(",", "")) for cell in row[1:]] for row in rows}
    counted = pd.DataFrame(numbers, index=head[1:]).T
    assert counted.loc["All", "all"] == len(board)
    for source in scoreboard.works():
        rows, shown = board[board["source"] == source], counted.loc[reference.TITLES[source]]
        assert shown["all"] == len(rows)
        assert shown["not judged"] == (rows["verdict"] == "").sum()
        for verdict in scoreboard.VERDICTS:
            assert shown[verdict] == (rows["verdict"] == verdict).sum()
    assert f"**{len(board):,} claims" in text


def test_the_page_has_every_entry_and_stays_small():
    board = scoreboard.board(toy.whole())
    text = scoreboard_page.page(board, reference.TITLES)
    assert text.count("<tr data-v=") == len(board) and len(text.encode()) < 1.5e6
    assert str(paths.ROOT) not in text
