"""Results on their way between machines that share no folder: as files, by name and content."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qbench import paths
from qbench.files import write_atomically

from .reading import Entry, StoreError, find
from .specification import Spec, key
from .writing import writing

NAME = re.compile(
    r"[a-z]\w*(\.\w+)*/[0-9a-f]{20}(\.json|-[0-9a-f]{12}\.parquet)|networks/[0-9a-f]{20}\.pt"
)


def weights_file(name: str) -> Path:
    """Where a training leaves its weights; they are no result, but what starts from it reads them.

    `name` is the key of its result.
    """
    return paths.local_results() / "networks" / f"{name}.pt"


def packed(specs: Iterable[Spec]) -> dict[str, bytes]:
    """The files of these results and their weights, as far as they are here, by name.

    Each JSON comes after the table that it names.
    Names are relative to a results folder. Raises `StoreError` for what is damaged.
    """
    files = {}
    for spec in specs:
        if entry := find(spec):
            folder = spec["method"]
            files[f"{folder}/{entry.table_file.name}"] = entry.content()
            files[f"{folder}/{entry.file.name}"] = entry.file.read_bytes()
        weights = weights_file(key(spec))
        if weights.exists():
            files[f"networks/{weights.name}"] = weights.read_bytes()
    return files


def put_down(files: Mapping[str, bytes]) -> None:
    """Write what is not here yet, or differs, into the local results; in the order of `packed`.

    Raises `StoreError` for a name that `packed` does not give, and for what cannot be written.
    """
    for name, content in files.items():
        if not NAME.fullmatch(name):
            raise StoreError(f"{name!r} is no file of a result: nothing is written.")
        target = paths.local_results() / name
        if not target.exists() or target.read_bytes() != content:
            with writing(target.parent):
                target.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(target, content)


def unpacked(files: Mapping[str, bytes]) -> list[tuple[dict[str, Any], bytes]]:
    """Record and table of every result among `files`; raises `StoreError` for half of one."""
    found = []
    for name, content in files.items():
        if not name.endswith(".json"):
            continue
        try:
            record = json.loads(content)
            table_file = Entry(Path(name), record).table_file
            named = NAME.fullmatch(name) and key(record["spec"]) == Path(name).stem
            table = files[str(table_file)] if named else None
        except (ValueError, KeyError, TypeError):
            table = None
        if table is None:
            raise StoreError(f"{name!r} came back incomplete: run again.")
        found.append((record, table))
    return found
