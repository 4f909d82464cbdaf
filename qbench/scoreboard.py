"""Every claim and printed number of the five publications with its verdict, or why it has none.

What there is to judge comes from `data/paper/`, the verdicts from the chapters as they were
executed (`qbench.ledger`), and the reasons of what no chapter judges from
`data/paper/SOURCE/scope.yml`.
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
    "arithmetic",
    "not tried here",
    "scale",
    "out of reach",
    "needs hardware",
    "chapter to come",
)
SCOPE = "scope.yml"
Row = Mapping[str, Any]
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
        by, reason, why = judged.get(name), *excused.get(name, ("", ""))
        if by is None and name in lent:
            by = judged.get(lent[name])
            by = by and by | {"why": f"as {_shown(lent[name])}"}
            reason, why = excused.get(name) or excused.get(lent[name], ("", ""))
        if by is None and reason in VERDICTS:
            by, reason = {"verdict": reason, "ours": "", "chapter": "", "why": why}, ""
        none = {"verdict": "", "ours": "", "chapter": "", "why": why}
        rows.append((by or none) | {"reason": "" if by else reason})
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
        rows = found[found["source"] == source]
        of = list(zip(rows.index, rows["table"], rows["row"], strict=True))
        for group in _scope(source):
            if "same" in group:
                continue
            reason = _reason(group, source)
            for name in _chosen(of, group, source):
                given.setdefault(name, reason)
    return given


def _reason(group: Row, source: str) -> tuple[str, str]:
    """Reason and sentence of a group; with the arithmetic where it names an erratum."""
    if "erratum" in group:
        known = reference.errata(source).set_index("erratum")["arithmetic"]
        if group["erratum"] not in known:
            raise ScoreboardError(f"{source}/{SCOPE}: there is no erratum {group['erratum']!r}.")
        return "erratum", known[group["erratum"]]
    if group["reason"] not in REASONS:
        raise ScoreboardError(
            f"{source}/{SCOPE}: reason must be one of {', '.join(REASONS)}, "
            f"not {group['reason']!r}."
        )
    return group["reason"], group["why"]


def _scope(source: str) -> list[dict[str, Any]]:
    file = paths.PAPER / source / SCOPE
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else []


def _chosen(of: Sequence[tuple[str, str, Row]], group: Row, source: str) -> list[str]:
    """Entries of one publication that a group names: claims by name or place, numbers by table.

    of: identifier, table and row of each entry of the publication.
    """
    chosen: list[str] = []
    claims = [(name, row) for name, table, row in of if table == "claims"]
    for pattern in group.get("claims", ()):
        chosen += _some([n for n, r in claims if fnmatchcase(r["claim"], pattern)], source, pattern)
    for where in group.get("sections", ()):
        chosen += _some([n for n, r in claims if fnmatchcase(r["where"], where)], source, where)
    for text in group.get("entries", ()):
        table, *wanted = text.split(" ")
        pairs = [want.partition("=")[::2] for want in wanted]
        named = {t for t in {t for _, t, _ in of} if t != "claims" and fnmatchcase(t, table)}
        hits = [
            name
            for name, at, row in of
            if at in named and all(_text(row.get(key)) in v.split("|") for key, v in pairs)
        ]
        chosen += _some(hits, source, text)
    return chosen


def _some(hits: list[str], source: str, pattern: str) -> list[str]:
    if not hits:
        raise ScoreboardError(f"{source}/{SCOPE}: nothing in data/paper/ is named {pattern!r}.")
    return hits


def _lent(found: pd.DataFrame) -> dict[str, str]:
    """Whose verdict an entry takes that none is about: what says the same somewhere else.

    That is the 2021 article for the 2020 preprint, and what `same` of a `scope.yml` names.
    """
    lent = _preprint(found)
    for source in works():
        for group in _scope(source):
            for name, other in group.get("same", {}).items():
                pair = [
                    f"{source}/{one if ':' in one else f'claims:{one}'}" for one in (name, other)
                ]
                if unknown := [one for one in pair if one not in found.index]:
                    raise ScoreboardError(f"{SCOPE}: there is no {unknown[0]!r}.")
                lent[pair[0]] = pair[1]
    for name, other in lent.items():
        lent[name] = lent.get(other, other)
    return lent


def _preprint(found: pd.DataFrame) -> dict[str, str]:
    """For what the 2020 preprint prints as the 2021 article does, the article's entry."""
    lent = {}
    rows = {str(name): row for name, row in found["row"].items()}
    article = {n: row for n, row in rows.items() if row["source"] == "stewart2021"}
    by_keys = {_identity(row): name for name, row in article.items() if "/claims:" not in name}
    for name, row in rows.items():
        if row["source"] != "stewart2020":
            continue
        if "/claims:" in name:
            same = name.replace("stewart2020", "stewart2021")
            other = article.get(same)
            said = [(r["statement"], _text(r["value"])) for r in (row, other) if r is not None]
            if len(said) == 2 and said[0] == said[1]:
                lent[name] = same
        elif _identity(row) in by_keys:
            lent[name] = by_keys[_identity(row)]
    return lent


def _identity(row: Row) -> tuple:
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


def _shown(name: str) -> str:
    """An entry's identifier in words."""
    source, _, entry = name.partition("/")
    table, _, which = entry.partition(":")
    what = which if table == "claims" else table
    return f"{reference.TITLES[source]}, {what.replace('_', ' ')}"


def _named(row: Row) -> str:
    keys = [
        f"{name.replace('_', ' ')} {_text(value)}"
        for name, value in row.items()
        if name not in FIELDS and _text(value)
    ]
    return ", ".join([*keys, row["quantity"].replace("_", " ")])


def _printed(row: Row) -> str:
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
