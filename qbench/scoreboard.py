"""Every claim and printed number of the five publications with its verdict, or why it has none.

What there is to judge comes from `data/paper/`, the verdicts from the chapters as they were executed
(`qbench.ledger`), and the reasons of what no chapter judges from `data/paper/SOURCE/scope.yml`.
Nothing is listed twice, and `board` refuses to leave anything out.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from qbench import ledger, paths, reference
from qbench.errors import UserError

#: From the one that an entry gets at best to the one that decides: an entry that is judged several
#: times, on two data sets say, holds only where all of its verdicts do.
VERDICTS = ("exact", "matches", "trend", "needs hardware", "differs", "erratum")
#: Why an entry has no verdict; `data/paper/README.md` explains them.
REASONS = (
    "setting",
    "definition",
    "cited",
    "no number",
    "not tried here",
    "scale",
    "out of reach",
    "needs hardware",
    "chapter to come",
)
SCOPE = "scope.yml"
FIELDS = ("source", "where", "quantity", "value", "unit", "printed", "note")


class ScoreboardError(UserError, ValueError):
    """Something is judged or excused that does not exist, or is neither judged nor excused."""


def works() -> list[str]:
    """The publications that are reproduced: those whose claims are recorded."""
    return [name for name in reference.sources() if (paths.PAPER / name / "claims.csv").exists()]


@cache
def catalogue() -> pd.DataFrame:
    """All there is to judge: `id`, `source`, `table`, `where`, `what`, `published`, `row`.

    `table` is "claims" or a table's name; `what` the claim in a sentence or the entry's keys and
    quantity; `published` the characters as printed, with the unit; `row` the CSV's own fields.
    """
    parts = []
    for source in works():
        for row in reference.claims(source).to_dict("records"):
            about = {"id": f"{source}/claims:{row['claim']}", "table": "claims"}
            parts.append(about | {"what": row["statement"], "row": row})
        for table in reference.tables(source):
            for number, row in enumerate(reference.load(source, table).to_dict("records")):
                about = {"id": f"{source}/{table}:{number}", "table": table}
                parts.append(about | {"what": _named(row), "row": row})
    found = pd.DataFrame(parts)
    found["source"] = [row["source"] for row in found["row"]]
    found["where"] = [row["where"] for row in found["row"]]
    found["published"] = [_printed(row) for row in found["row"]]
    return found.set_index("id")


def chapters_said(folder: Path | None = None) -> dict[str, list[dict[str, Any]]]:
    """The verdicts of every executed chapter, by its number: files of `paths.verdicts`."""
    folder = folder or paths.EXECUTED
    files = sorted(folder.glob("*.verdicts.jsonl"))
    return {file.name[:2]: ledger.read(file) for file in files}


def board(said: Mapping[str, Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """`catalogue` with `verdict` (empty where `reason` says why), `ours`, `why`, `chapter`.

    said: verdicts by chapter, as `chapters_said` has them. Raises `ScoreboardError` naming what is
    neither judged nor excused, and verdicts about nothing that is in `data/paper/`.
    """
    found = catalogue()
    judged = _judged(said)
    excused = excuses()
    lent = _lent(found)
    rows = []
    for name in found.index:
        by = judged.get(name) or judged.get(lent.get(name, ""))
        reason, why = excused.get(name) or excused.get(lent.get(name, ""), ("", ""))
        if by:
            if name not in judged:
                by = by | {"why": f"as {lent[name].replace('/claims:', ', ')}"}
            rows.append(by | {"reason": ""})
        else:
            row = {"verdict": "", "ours": "", "chapter": "", "reason": reason, "why": why}
            rows.append(row)
    whole = pd.concat([found, pd.DataFrame(rows, index=found.index)], axis=1)
    missing = whole[(whole["verdict"] == "") & (whole["reason"] == "")]
    if len(missing):
        raise ScoreboardError(
            f"{len(missing)} claims or entries have neither a verdict nor a reason in {SCOPE}: "
            + ", ".join(missing.index[:20])
            + (", …" if len(missing) > 20 else ".")
        )
    return whole


def counts(whole: pd.DataFrame, by: str = "source") -> pd.DataFrame:
    """How many of each verdict and how many without, a row for each `by`, and `all`."""
    said = whole["verdict"].mask(whole["verdict"] == "", "not judged")
    table = pd.crosstab(whole[by], said)
    order = [*VERDICTS, "not judged"]
    table = table.reindex(columns=order, fill_value=0).rename_axis(columns=None)
    return table.assign(all=table.sum(axis=1))


def excuses() -> dict[str, tuple[str, str]]:
    """Reason and sentence of every entry that `scope.yml` or an empty value excuses.

    The first group of a file that names an entry decides. Raises `ScoreboardError` for an unknown
    reason, and for a name that nothing in `data/paper/` has.
    """
    found = catalogue()
    blank = found[found["published"] == ""]
    blank = blank[blank["table"] != "claims"]
    given = dict.fromkeys(blank.index, ("no number", "The publication prints no number here."))
    for source in works():
        of = found[found["source"] == source]
        for group in _scope(source):
            if group["reason"] not in REASONS:
                raise ScoreboardError(
                    f"{source}/{SCOPE}: reason must be one of {', '.join(REASONS)}, "
                    f"not {group['reason']!r}."
                )
            for name in _chosen(of, group, source):
                given.setdefault(name, (group["reason"], group["why"]))
    return given


def _scope(source: str) -> list[dict[str, Any]]:
    file = paths.PAPER / source / SCOPE
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else []


def _chosen(of: pd.DataFrame, group: Mapping[str, Any], source: str) -> list[str]:
    """Entries of one publication that a group names: claims by name, numbers by table."""
    chosen: list[str] = []
    for pattern in group.get("claims", ()):
        names = of.index[of["table"] == "claims"]
        hits = [name for name in names if fnmatchcase(name.partition(":")[2], pattern)]
        chosen += _some(hits, source, pattern)
    for where in group.get("sections", ()):
        rows = of[of["table"] == "claims"]
        chosen += _some([n for n, w in rows["where"].items() if fnmatchcase(w, where)], source, where)
    for text in group.get("entries", ()):
        table, *wanted = text.split(" ")
        rows = of[[fnmatchcase(name, table) and name != "claims" for name in of["table"]]]
        pairs = [want.partition("=")[::2] for want in wanted]
        hits = [
            name
            for name, row in rows["row"].items()
            if all(_text(row.get(key)) in values.split("|") for key, values in pairs)
        ]
        chosen += _some(hits, source, text)
    return chosen


def _some(hits: list[str], source: str, pattern: str) -> list[str]:
    if not hits:
        raise ScoreboardError(f"{source}/{SCOPE}: nothing in data/paper/ is named {pattern!r}.")
    return hits


def _lent(found: pd.DataFrame) -> dict[str, str]:
    """For what the 2020 preprint prints as the 2021 article does, the article's entry."""
    lent = {}
    for name, row in found[found["source"] == "stewart2020"].iterrows():
        same = str(name).replace("stewart2020", "stewart2021")
        if row["table"] == "claims":
            alike = same in found.index and (
                found.at[same, "row"]["statement"] == row["row"]["statement"]
                and _text(found.at[same, "row"]["value"]) == _text(row["row"]["value"])
            )
            if alike:
                lent[str(name)] = same
    tables = found[(found["source"] == "stewart2020") & (found["table"] != "claims")]
    printed = found[(found["source"] == "stewart2021") & (found["table"] != "claims")]
    by_keys = {_identity(row): name for name, row in printed["row"].items()}
    for name, row in tables["row"].items():
        if _identity(row) in by_keys:
            lent[str(name)] = by_keys[_identity(row)]
    return lent


def _identity(row: Mapping[str, Any]) -> tuple:
    """What an entry is about and its value, without where it stands."""
    passed = ("source", "where", "printed", "note", "figure", "panel")
    return tuple(sorted((k, _text(v)) for k, v in row.items() if k not in passed))


def _judged(said: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The verdict on each entry that a chapter judged, by its identifier."""
    by: dict[str, list[dict[str, Any]]] = {}
    unknown: list[str] = []
    for chapter, records in said.items():
        for record in records:
            name = _subject(record)
            if name is None:
                unknown.append(f"chapter {chapter}: {record.get('about') or record.get('claim')}")
                continue
            by.setdefault(name, []).append({**record, "chapter": chapter})
    if unknown:
        raise ScoreboardError(
            f"{len(unknown)} verdicts are about no single entry of data/paper/: {unknown[0]}"
            + (", and others." if len(unknown) > 1 else ".")
        )
    return {name: _together(records) for name, records in by.items()}


def _together(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One verdict of several: the worst, with what was found in each."""
    distinct = list({(r["verdict"], str(r["ours"]), r["chapter"]): r for r in records}.values())
    worst = max(distinct, key=lambda one: VERDICTS.index(one["verdict"]))
    why = worst["why"]
    better = sum(r["verdict"] != worst["verdict"] for r in distinct)
    if better:
        why = f"in {len(distinct) - better} of {len(distinct)} ways of looking; {why}".rstrip("; ")
    chapters = ", ".join(sorted({r["chapter"] for r in distinct}))
    return {"verdict": worst["verdict"], "ours": _short(worst["ours"]), "why": why} | {
        "chapter": chapters
    }


def _subject(record: Mapping[str, Any]) -> str | None:
    """Which entry of the catalogue a record is about; None where there is not exactly one."""
    if "claim" in record:
        name = f"{record['source']}/claims:{record['claim']}"
        return name if name in catalogue().index else None
    about = record["about"]
    if "entry" in about:
        name = f"{about['source']}/{about['entry']}"
        return name if name in catalogue().index else None
    rows = _by_place().get((about["source"], about["where"], about["quantity"]), [])
    keys = [key for key in about if key not in FIELDS]
    rows = [
        (name, row)
        for name, row in rows
        if all(ledger.plain(row[key]) == about[key] for key in keys if key in row)
    ]
    if len(rows) > 1:
        rows = [(n, row) for n, row in rows if ledger.plain(row["value"]) == about.get("value")]
    return rows[0][0] if len(rows) == 1 else None


@cache
def _by_place() -> dict[tuple[str, str, str], list[tuple[str, dict[str, Any]]]]:
    places: dict[tuple[str, str, str], list[tuple[str, dict[str, Any]]]] = {}
    entries = catalogue()
    for name, row in entries.loc[entries["table"] != "claims", "row"].items():
        place = (row["source"], row["where"], row["quantity"])
        places.setdefault(place, []).append((str(name), row))
    return places


def _named(row: Mapping[str, Any]) -> str:
    keys = [
        f"{name.replace('_', ' ')} {_text(value)}"
        for name, value in row.items()
        if name not in FIELDS and _text(value)
    ]
    return ", ".join([*keys, row["quantity"].replace("_", " ")])


def _printed(row: Mapping[str, Any]) -> str:
    return _text(row["printed"]) if _text(row["value"]) else ""


def _text(value: Any) -> str:
    plain = ledger.plain(value)
    return "" if plain is None else f"{plain:.12g}" if isinstance(plain, float) else plain


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def judged_by(whole: pd.DataFrame, chapters: Iterable[str]) -> pd.DataFrame:
    """The rows that these chapters judged."""
    wanted = set(chapters)
    return whole[[bool(wanted & set(text.split(", "))) for text in whole["chapter"]]]
