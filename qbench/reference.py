"""Published values (`data/paper/`) and the verdict on ours.

Verdicts: `exact` equal; `matches` within a tolerance that is given with its reason; `trend` a claim
that holds on our numbers; `differs`; `erratum` the publication disagrees with itself; `needs
hardware` only a device that is not here could tell.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isclose, isnan
from typing import Any

import pandas as pd

from qbench import ledger, paths

VERDICTS = ("exact", "matches", "trend", "differs", "erratum", "needs hardware")
FIRST, LAST = ["source", "where"], ["quantity", "value", "unit", "printed", "note"]
CLAIMS = ["source", "where", "claim", "kind", "statement", *LAST]
ERRATA = ["source", "where", "erratum", "printed", "should_be", "arithmetic", "note"]
TITLES = {  # as pages cite them
    "stewart2021": "Stewart et al. 2021",
    "stewart2020": "Stewart et al. 2020 (preprint)",
    "ducasse2021": "Ducasse et al. 2021",
    "faraone2021": "Faraone 2021",
    "vailakis2022": "Vailakis 2022",
    "horowitz2014": "Horowitz 2014",
}


def sources() -> list[str]:
    """Short names of the publications, such as `stewart2021`."""
    return sorted(folder.name for folder in paths.PAPER.iterdir() if folder.is_dir())


def tables(source: str) -> list[str]:
    """Names of the tables of a publication, such as `table_3`, without `claims` and `errata`."""
    return sorted(
        {f.stem for f in (paths.PAPER / _source(source)).glob("*.csv")} - {"claims", "errata"}
    )


def load(source: str, table: str) -> pd.DataFrame:
    """One table, a row a printed number; `data/paper/README.md` explains the columns.

    `value` and the key columns are numbers where all of their entries are, otherwise text; an empty
    `value` is NaN. Raises `ValueError` naming what there is.
    """
    if table not in tables(source):
        raise ValueError(f"{source} has no table {table!r}; it has {', '.join(tables(source))}.")
    frame = _read(source, table)
    for column in frame.columns.difference([*FIRST, "quantity", "unit", "printed", "note"]):
        frame[column] = _numbers_if_all(frame[column])
    return frame


def claims(source: str) -> pd.DataFrame:
    """The claims of a publication, a row a claim; `value` is a number or NaN.

    Raises `ValueError` for a publication whose claims are not recorded.
    """
    if not (paths.PAPER / _source(source) / "claims.csv").exists():
        having = [name for name in sources() if (paths.PAPER / name / "claims.csv").exists()]
        raise ValueError(f"{source} has no claims; {', '.join(having)} have.")
    frame = _read(source, "claims")
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    return frame


def errata(source: str | None = None) -> pd.DataFrame:
    """Where a publication (default: any) disagrees with itself, with the arithmetic."""
    chosen = sources() if source is None else [_source(source)]
    found = [
        _read(name, "errata") for name in chosen if (paths.PAPER / name / "errata.csv").exists()
    ]
    return pd.concat(found, ignore_index=True)


def verdict(
    published: float,
    ours: float,
    *,
    tolerance: float = 0.0,
    why: str = "",
    erratum: str = "",
    of: Mapping[str, Any] | None = None,
) -> str:
    """`exact`, `matches`, `differs` or `erratum` for one pair of numbers in the same unit.

    `tolerance` is the largest absolute difference that counts as agreement; `why` must say where it
    comes from. `erratum` is the arithmetic that shows the published number to be a slip. `of` is
    the row of the published table, for the scoreboard: see `ledger.entry`.
    """
    said = _verdict(published, ours, tolerance, why, erratum)
    if of is not None:
        ledger.entry(of, ours=ours, verdict=said, why=erratum if said == "erratum" else why)
    return said


def _verdict(published: float, ours: float, tolerance: float, why: str, erratum: str) -> str:
    if tolerance < 0 or isnan(tolerance):
        raise ValueError(f"tolerance must be at least 0, not {tolerance!r}.")
    if tolerance > 0 and not why:
        raise ValueError("a tolerance needs its reason: give why.")
    if isclose(published, ours, rel_tol=1e-9, abs_tol=1e-12):
        return "exact"
    if erratum:
        return "erratum"
    return "matches" if abs(published - ours) <= tolerance else "differs"


def compare(
    published: pd.DataFrame,
    ours: pd.DataFrame,
    *,
    on: Sequence[str],
    tolerance: float = 0.0,
    why: str = "",
    erratum: Mapping[tuple, str] | None = None,
    noted: bool = True,
) -> pd.DataFrame:
    """Put ours beside the published values: a row each, with a verdict.

    `published` is a table of `load` (or a part of it), `ours` has the key columns `on` and `value`.
    Returns the keys, `quantity`, `published`, `ours`, `unit`, `verdict`, `why`. Published rows that
    ours lacks, or whose value is not a number (NaN), are left out. `erratum` maps keys, as tuples
    in the order of `on`, to arithmetic. `noted` is false where the verdicts are not about the
    table's entries, and the scoreboard is to pass over them. Raises `ValueError` when a key column
    is missing or the keys do not identify the rows.
    """
    for name, frame in (("published", published), ("ours", ours)):
        if missing := [column for column in [*on, "value"] if column not in frame]:
            raise ValueError(f"{name} has no column {missing[0]!r}; it has {', '.join(frame)}.")
        if frame.duplicated(list(on)).any():
            raise ValueError(f"{name} has several rows for the same {', '.join(on)}.")
    both = published.merge(ours[[*on, "value"]], on=list(on), suffixes=("", "_ours"))
    both = both[both["value"].notna()]
    slips = erratum or {}
    rows = []
    for row in both.to_dict("records"):
        slip = slips.get(tuple(row[column] for column in on), "")
        given = {"tolerance": tolerance, "why": why, "erratum": slip}
        of = row if noted and "source" in row else None
        said = verdict(row["value"], row["value_ours"], **given, of=of)
        reason = {"erratum": slip, "matches": why}.get(said, "")
        rows.append(
            {column: row[column] for column in on}
            | {"quantity": row["quantity"], "published": row["value"], "ours": row["value_ours"]}
            | {"unit": row["unit"], "verdict": said, "why": reason}
        )
    head = [*on, "quantity", "published", "ours", "unit", "verdict", "why"]
    return pd.DataFrame(rows, columns=list(dict.fromkeys(head)))


def claim(
    source: str, name: str, *, holds: bool | None, ours: str, why: str = "", erratum: str = ""
) -> dict[str, Any]:
    """A row for the table of claims: `where`, `claim`, `ours`, `verdict`, `why`.

    `holds` is whether the claim, as a predicate on our numbers, is true; None if only hardware that
    is not here could tell. `ours` says what we measured. A claim that does not hold, or that could
    not be tested, needs `why`; one that holds shows none. `erratum` is the arithmetic that shows
    the printed claim to be a slip: it decides the verdict and stands as its reason. Raises
    `ValueError` for an unknown claim.
    """
    row = _claim(source, name)
    if not holds and not (why or erratum):
        raise ValueError(f"claim {name!r} does not hold or was not tested: give why.")
    said = "needs hardware" if holds is None else "trend" if holds else "differs"
    return _noted(
        source,
        name,
        row
        | {
            "ours": ours,
            "verdict": "erratum" if erratum else said,
            "why": erratum or ("" if holds else why),
        },
    )


def claim_value(
    source: str,
    name: str,
    ours: float,
    *,
    tolerance: float = 0.0,
    why: str = "",
    erratum: str = "",
) -> dict[str, Any]:
    """As `claim`, for a claim that states a number: ours, in the claim's unit, gets `verdict`.

    It is shown with its unit, to one decimal more than the published one needs.
    """
    row, known = _claim(source, name), claims(source).set_index("claim")
    printed = known.loc[name, "value"]
    said = verdict(printed, ours, tolerance=tolerance, why=why, erratum=erratum)
    why = erratum if said == "erratum" else why
    words = written(ours, beside=printed, unit=known.loc[name, "unit"])
    return _noted(source, name, row | {"ours": words, "verdict": said, "why": why})


def written(number: float, *, beside: float, unit: str = "") -> str:
    """`number` for a page, to one decimal more than `beside` has, or two digits if that shows none.

    Whole numbers have no decimals, thousands are separated; the unit "1" is that of a ratio.
    """
    decimals = max(0, -Decimal(f"{beside:.10g}").normalize().as_tuple().exponent) + 1
    text = f"{number:z,.{decimals}f}"
    if number and not text.strip("-0.,"):
        text = f"{number:.2g}"
    elif float(number).is_integer():
        text = f"{number:,.0f}"
    return f"{text} {unit}" if unit not in ("", "1") else text


def _noted(source: str, name: str, row: dict[str, Any]) -> dict[str, Any]:
    ledger.claim(source, name, **{key: row[key] for key in ("ours", "verdict", "why")})
    return row


def _claim(source: str, name: str) -> dict[str, str]:
    known = claims(source)
    row = known[known["claim"] == name]
    if row.empty:
        raise ValueError(f"{source} has no claim {name!r}; it has {', '.join(known['claim'])}.")
    return {"where": f"{TITLES[source]}, {row['where'].iloc[0]}", "claim": row["statement"].iloc[0]}


def _source(source: str) -> str:
    if source not in sources():
        raise ValueError(f"There is no source {source!r}; there are {', '.join(sources())}.")
    return source


def _read(source: str, table: str) -> pd.DataFrame:
    file = paths.PAPER / _source(source) / f"{table}.csv"
    return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")


def _numbers_if_all(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return column if numbers.isna().ne(column.eq("")).any() else numbers
