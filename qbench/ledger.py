"""Verdicts as data: what a chapter says of the publications while it is executed.

Where the environment names a file in `QBENCH_VERDICTS`, every verdict of `qbench.reference` is
added to it, a JSON object a line, with the claim or the entry that it is about. `qbench.scoreboard`
reads these files; without the variable nothing is written.
"""

import json
import os
from collections.abc import Mapping
from math import isnan
from numbers import Real
from pathlib import Path
from typing import Any

VARIABLE = "QBENCH_VERDICTS"


def claim(source: str, name: str, *, ours: str, verdict: str, why: str = "") -> None:
    """Note the verdict on a claim of `data/paper/SOURCE/claims.csv`."""
    _add({"source": source, "claim": name, "ours": ours, "verdict": verdict, "why": why})


def entry(row: Mapping[str, Any], *, ours: Any, verdict: str, why: str = "") -> None:
    """Note the verdict on one printed number.

    `row` says which one: `source`, `where`, `quantity` and as many of the table's key columns as
    tell it from the others, as in `data/paper/`; or `source` and `entry` (`reference.entries`).
    Other columns are passed over.
    """
    if not os.environ.get(VARIABLE):
        return
    about = {str(name): plain(value) for name, value in row.items()}
    _add({"about": about, "ours": plain(ours), "verdict": verdict, "why": why})


def read(file: Path) -> list[dict[str, Any]]:
    """The verdicts in `file`, oldest first. Raises `FileNotFoundError` where there is none."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def plain(value: Any) -> str | float | None:
    """A number as float, nothing (also NaN, empty text) as None, anything else as text."""
    if isinstance(value, Real):
        number = float(value)
        return None if isnan(number) else number
    text = "" if value is None else str(value)
    try:
        number = float(text)
    except ValueError:
        return text or None
    return None if isnan(number) else number


def _add(record: dict[str, Any]) -> None:
    if file := os.environ.get(VARIABLE):
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
