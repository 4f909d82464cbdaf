"""How results are written: table, then JSON, each atomically; one process at a time for a key."""

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from qbench import paths, provenance
from qbench.files import write_atomically

from .reading import Entry, StoreError, find
from .specification import Spec, key, title


def publish(entry: Entry) -> Entry:
    """Copy a local result to `data/results/`, the store that travels with git; leave a copy there.

    Raises `StoreError` when it is damaged or the copy cannot be written.
    """
    content = entry.content()
    with suppress(StoreError):  # of a copy that is damaged
        there = find(entry.spec, paths.PUBLISHED)
        if there and there.record == entry.record and there.content() == content:
            return there
    return put(paths.PUBLISHED / entry.spec["method"], entry.record, content)


def write(
    spec: Spec, table: pd.DataFrame, *, started: str, seconds: float, together: int = 1
) -> Entry:
    """Store a table with where and when it came about; `seconds` is its share of `together`."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{spec['method']} must return a DataFrame, not {type(table).__name__}")
    content = parquet(table)
    record = {
        "spec": spec,
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": len(table),
        "columns": list(table.columns),
        "date": started,
        "seconds": round(seconds, 3),
        "together": together,
        "peak_memory_mib": provenance.peak_memory_mib(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    return put(paths.local_results() / spec["method"], record, content)


def parquet(table: pd.DataFrame) -> bytes:
    """The bytes of the table as they are stored."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def put(folder: Path, record: dict[str, Any], content: bytes) -> Entry:
    """Write the table, then the JSON, each atomically; drop the tables that no JSON names."""
    entry = Entry(folder / f"{key(record['spec'])}.json", record)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        known = entry.table_file.exists()
        write_atomically(entry.table_file, content)
        try:
            write_atomically(entry.file, (json.dumps(record, indent=1) + "\n").encode())
        except BaseException:
            if not known:
                entry.table_file.unlink(missing_ok=True)
            raise
    for name in os.listdir(folder):  # not `glob`, which is slow in a folder of many results
        if name.startswith(f"{entry.key}-") and name.endswith(".parquet"):
            if name != entry.table_file.name:
                (folder / name).unlink(missing_ok=True)
    return entry


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an `OSError` into a `StoreError`, a sentence that names `folder` and a way out."""
    try:
        yield
    except OSError as error:
        local = folder.is_relative_to(paths.local_results())
        raise StoreError(
            f"{paths.shown(folder)} cannot be written: {error.strerror}. Make room there or make "
            f"it writable{', or set QBENCH_RESULTS to another folder' if local else ''}."
        ) from error


@contextmanager
def locked(spec: Spec, name: str) -> Iterator[None]:
    """Only one process at a time for this key; says so when it has to wait."""
    folder = paths.local_results() / "locks"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            print(f"{title(spec)}: another process computes it, waiting", file=sys.stderr)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
