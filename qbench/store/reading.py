"""Stored results as they are read: checked against what was stored, and never half of one."""

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from qbench import paths
from qbench.errors import UserError

from . import listing
from .specification import Spec, key, name_of

MOST_CELLS = 100_000_000
IN_RECORD = {"spec": dict, "sha256": str, "date": str, "seconds": float | int, "commit": str}


class StoreError(UserError, RuntimeError):
    """A stored result is missing, damaged or cannot be written."""


@dataclass(frozen=True)
class Entry:
    """One stored result: its JSON and where it lies."""

    file: Path
    record: dict[str, Any]

    @property
    def key(self) -> str:
        return self.file.stem

    @property
    def spec(self) -> dict[str, Any]:
        return self.record["spec"]

    @property
    def published(self) -> bool:
        return self.file.is_relative_to(paths.PUBLISHED)

    @property
    def table_file(self) -> Path:
        return self.file.with_name(f"{self.key}-{self.record['sha256'][:12]}.parquet")

    def content(self) -> bytes:
        """The table's bytes; raises `StoreError` when they are not the ones that were stored."""
        try:
            content = self.table_file.read_bytes()
        except OSError as error:
            raise self.damaged(f"its table cannot be read ({error.strerror})") from None
        if hashlib.sha256(content).hexdigest() != self.record["sha256"]:
            raise self.damaged("its table has been altered or cut short")
        return content

    def table(self) -> pd.DataFrame:
        """Read the table; raises `StoreError` as `content` does, and for what somebody else put in
        its place with a digest that is right: no table, or one of more than `MOST_CELLS`."""
        from pyarrow import ArrowException, parquet

        content = io.BytesIO(self.content())
        try:
            about = parquet.read_metadata(content)
            if about.num_rows * about.num_columns > MOST_CELLS:
                raise self.damaged(
                    f"its table has {about.num_rows:,} rows of {about.num_columns:,} columns, more "
                    "than any result has"
                )
            return pd.read_parquet(content)
        except (ArrowException, OSError, ValueError, KeyError):
            raise self.damaged("its table is not one that was stored") from None

    def damaged(self, why: str) -> StoreError:
        return StoreError(
            f"The stored result {paths.shown(self.file)} is damaged: {why}. "
            "Delete that file, or run again with --recompute."
        )


def find(spec: Spec, *roots: Path) -> Entry | None:
    """The stored entry of `spec` in the first of `roots` (default: local, published) that has it.

    None if there is none.
    """
    name = f"{key(spec)}.json"
    for root in roots or (paths.local_results(), paths.PUBLISHED):
        file = root / spec["method"] / name
        if file.exists():
            return _read(file)
    return None


def entries(
    *roots: Path, method: str = "", damaged: Callable[[StoreError], None] | None = None
) -> Iterator[Entry]:
    """Every stored result once, from the first of `roots` (default: published, local) that has it.

    Only of methods whose names contain `method`. One JSON is read at a time, as they are asked for;
    at a damaged one calls `damaged` and goes on, without it raises `StoreError`.
    """
    seen = set()
    for root in roots or (paths.PUBLISHED, paths.local_results()):
        for folder in listing.folders(root):
            if method not in folder.name:
                continue
            for name in listing.keys(folder):
                try:
                    entry = _read(folder / f"{name}.json")
                except StoreError as error:
                    if damaged is None:
                        raise
                    damaged(error)
                    continue
                if name not in seen:
                    seen.add(name)
                    yield entry


def results(function: Callable, *, published: bool = False) -> Iterator[Entry]:
    """Every stored result of a `method` at its present version, local ones before published ones.

    For who compares whatever there is. `published` leaves local ones out. Raises `StoreError` at a
    damaged JSON.
    """
    roots = (paths.PUBLISHED,) if published else (paths.local_results(), paths.PUBLISHED)
    for entry in entries(*roots, method=name_of(function)):
        same = entry.spec["method"] == name_of(function)
        if same and entry.spec["version"] == function.qbench_version:
            yield entry


def lookup(prefix: str) -> Entry:
    """The one entry whose key begins with `prefix`, the local one where it is published as well.

    Reads that one JSON and no other. Raises `StoreError` if none or several keys do.
    """
    found: dict[str, Path] = {}
    for file in listing.beginning(prefix, paths.local_results(), paths.PUBLISHED):
        found.setdefault(file.stem, file)
    if len(found) != 1:
        many = f"{len(found)} results begin" if found else "no stored result begins"
        raise StoreError(f"{many} with {prefix!r}; `qbench results list` shows all keys.")
    return _read(*found.values())


def _read(file: Path) -> Entry:
    entry = Entry(file, {})
    try:
        with open(file, "rb") as content:
            record = json.loads(content.read())
        complete = all(isinstance(record[name], kind) for name, kind in IN_RECORD.items())
        complete = complete and {"processor", "cores"} <= record["machine"].keys()
        complete = complete and bool(re.fullmatch("[0-9a-f]{64}", record["sha256"]))
        spec = record["spec"]
        folder, name = os.path.split(file)
        named = complete and f"{key(spec)}.json" == name
        named = named and spec["method"] == os.path.basename(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        complete = named = False
    if not complete:
        raise entry.damaged("it is not the JSON that was stored")
    if not named:
        raise entry.damaged("its specification is not the one that its name was made from")
    return Entry(file, record)
