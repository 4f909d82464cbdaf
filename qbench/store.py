"""Results by content: the same question is computed once.

A result is asked for by its specification: the method (a function of qbench marked `@method`), the
version of that method and all its parameters. The specification's digest names a pair of files,
`<method>/<key>.json` (specification, provenance, digest of the table) and
`<method>/<key>-<digest>.parquet` (the table). Results computed here go to `results/`
(`QBENCH_RESULTS`); `publish` copies them to `data/results/`, which travels with git. Both are read.

The JSON is renamed into place last, so a result exists completely or not at all; each key has a
lock, so that several processes that ask the same question compute it once.
"""

import hashlib
import importlib
import inspect
import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from qbench import paths, provenance
from qbench.errors import UserError
from qbench.files import write_atomically

Spec = Mapping[str, Any]
NOT_IN_SPEC = ("checkpoint",)  # how a result is reached, not what it is
IN_RECORD = {"spec": dict, "sha256": str, "date": str, "seconds": float | int, "commit": str}
RECOMPUTED = ": recomputed, "  # in what `get_or_run` says of a result and the one before
_used: dict[str, "Entry"] = {}  # by this process, for `where_it_ran`
_computed: set[str] = set()  # by this process: these are not recomputed


class StoreError(UserError, RuntimeError):
    """A stored result is missing, damaged or cannot be written."""


def method(version: int, *, repeatable: bool = True) -> Callable[[Callable], Callable]:
    """Mark a function `(**parameters) -> DataFrame` whose results may be stored.

    Raise `version` whenever a change alters the numbers: results of other versions are not used.
    `repeatable` is False for what measures times: no second run gives the same.
    """

    def mark(function: Callable) -> Callable:
        function.qbench_version = version
        function.qbench_repeatable = repeatable
        return function

    return mark


def spec(function: Callable, /, **parameters: Any) -> dict[str, Any]:
    """The specification of `function(**parameters)`, defaults filled in."""
    bound = inspect.signature(function).bind(**parameters)
    bound.apply_defaults()
    values = {name: value for name, value in bound.arguments.items() if name not in NOT_IN_SPEC}
    name = f"{function.__module__.removeprefix('qbench.')}.{function.__name__}"
    return {"method": name, "version": function.qbench_version, "parameters": values}


def key(spec: Spec) -> str:
    """20 hexadecimal digits of the SHA-256 of the specification's canonical JSON.

    A number is what it is worth: 4 and 4.0 ask the same question.
    """
    text = json.dumps(_plain(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


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
        """Read the table; raises `StoreError` as `content` does."""
        return pd.read_parquet(io.BytesIO(self.content()))

    def damaged(self, why: str) -> StoreError:
        return StoreError(
            f"The stored result {paths.shown(self.file)} is damaged: {why}. "
            "Delete that file, or run again with --recompute."
        )


def get_or_run(
    spec: Spec, fn: Callable[[], pd.DataFrame], *, recompute: bool | None = None
) -> pd.DataFrame:
    """Return the stored result of `spec`, else call `fn`, store what it returns and return that.

    `recompute` (default: whether `QBENCH_RECOMPUTE` is set) computes anew once a process even if a
    result is stored, says on standard error how the two compare, and replaces it. Raises
    `StoreError` when the stored result is damaged or the new one cannot be written.
    """
    name = key(spec)
    if recompute is None:
        recompute = bool(os.environ.get("QBENCH_RECOMPUTE"))
    recompute = recompute and name not in _computed
    if not recompute and (entry := find(spec)):
        return _use(entry).table()
    with _lock(spec, name):
        if not recompute and (entry := find(spec)):  # another process was quicker
            return _use(entry).table()
        if recompute:  # from nothing: what an interrupted run left is no proof
            shutil.rmtree(_unfinished(name), ignore_errors=True)
        started, clock = provenance.now(), time.perf_counter()
        table = fn()
        seconds = time.perf_counter() - clock
        before = _stored_before(spec) if recompute else None
        entry = _write(spec, table, started=started, seconds=seconds)
        _computed.add(name)
        shutil.rmtree(_unfinished(name), ignore_errors=True)
        table = _use(entry).table()
        if before is not None:
            print(f"{_title(spec)}{RECOMPUTED}{compare(before, table)}", file=sys.stderr)
        return table


def run(function: Callable[..., pd.DataFrame], /, **parameters: Any) -> pd.DataFrame:
    """`get_or_run` for a function marked `@method`.

    A function that has a parameter `checkpoint` gets a folder that survives interruptions and is
    removed once the result is stored.
    """
    asked = spec(function, **parameters)

    def call() -> pd.DataFrame:
        if "checkpoint" not in inspect.signature(function).parameters:
            return function(**parameters)
        work = _unfinished(key(asked))
        with writing(work):
            work.mkdir(parents=True, exist_ok=True)
        return function(**parameters, checkpoint=work)

    return get_or_run(asked, call)


def run_together(
    function: Callable[..., pd.DataFrame],
    asked: Sequence[Mapping[str, Any]],
    together: Callable[[list[dict[str, Any]], Path], Iterable[pd.DataFrame | None]],
    *,
    recompute: bool | None = None,
) -> list[pd.DataFrame | None]:
    """`run` for many sets of parameters of one function, of which a group is quicker than each.

    What is stored is returned; for the rest `together` is called once with their parameters and a
    folder for checkpoints, and returns a table for each, or None for one that failed: that one is
    not stored. Every table must be what `function` alone would return. `recompute` as in
    `get_or_run`. Raises `StoreError` as that does.
    """
    if recompute is None:
        recompute = bool(os.environ.get("QBENCH_RECOMPUTE"))
    every = [spec(function, **values) for values in asked]
    specs = {key(one): one for one in every}
    failed = set()
    if names := missing(every, recompute):
        with ExitStack() as locks:
            for name in sorted(names):  # in one order everywhere: no two processes block each other
                locks.enter_context(_lock(specs[name], name))
            still = set(missing(every, recompute))
            if names := [name for name in names if name in still]:  # else another was quicker
                failed = _compute_together([specs[name] for name in names], together, recompute)
    return [None if key(one) in failed else _use(find(one)).table() for one in every]


def missing(specs: Iterable[Spec], recompute: bool | None = None) -> list[str]:
    """Keys of what is still to be computed: not stored, or with `recompute` not by this process."""
    if recompute is None:
        recompute = bool(os.environ.get("QBENCH_RECOMPUTE"))
    named = {key(one): one for one in specs}
    if recompute:
        return [name for name in named if name not in _computed]
    return [name for name, one in named.items() if not find(one)]


def computed(name: str) -> None:
    """Another process computed this result for this one: `missing` leaves it out from now on."""
    _computed.add(name)


def _compute_together(
    specs: list[Spec],
    together: Callable[[list[dict[str, Any]], Path], Iterable[pd.DataFrame | None]],
    recompute: bool,
) -> set[str]:
    """Compute and store these; returns the keys of those that failed."""
    names = [key(one) for one in specs]
    work = _unfinished(hashlib.sha256("".join(sorted(names)).encode()).hexdigest()[:20])
    if recompute:  # from nothing: what an interrupted run left is no proof
        shutil.rmtree(work, ignore_errors=True)
    with writing(work):
        work.mkdir(parents=True, exist_ok=True)
    started, clock = provenance.now(), time.perf_counter()
    tables = list(together([dict(one["parameters"]) for one in specs], work))
    seconds = (time.perf_counter() - clock) / len(specs)
    failed = set()
    for name, one, table in zip(names, specs, tables, strict=True):
        if table is None:
            failed.add(name)
            continue
        before = _stored_before(one) if recompute else None
        entry = _write(one, table, started=started, seconds=seconds, together=len(specs))
        _computed.add(name)
        if before is not None:
            print(f"{_title(one)}{RECOMPUTED}{compare(before, entry.table())}", file=sys.stderr)
    shutil.rmtree(work, ignore_errors=True)
    return failed


def find(spec: Spec) -> Entry | None:
    """The stored entry of `spec`, local results before published ones; None if there is none."""
    for root in (paths.local_results(), paths.PUBLISHED):
        file = root / spec["method"] / f"{key(spec)}.json"
        if file.exists():
            return _read(file)
    return None


def entries(*roots: Path, damaged: Callable[[StoreError], None] | None = None) -> Iterator[Entry]:
    """Every stored result once, from the first of `roots` (default: published, local) that has it.

    At a damaged JSON calls `damaged` and goes on; without it raises `StoreError`.
    """
    seen = set()
    for root in roots or (paths.PUBLISHED, paths.local_results()):
        for file in sorted(root.glob("*/*.json")):
            try:
                entry = _read(file)
            except StoreError as error:
                if damaged is None:
                    raise
                damaged(error)
                continue
            if entry.key not in seen:
                seen.add(entry.key)
                yield entry


def results(function: Callable, *, published: bool = False) -> Iterator[Entry]:
    """Every stored result of a `method` at its present version, local ones before published ones.

    For who compares whatever there is; `read` gives a result's table. `published` leaves local
    ones out. Raises `StoreError` at a damaged JSON.
    """
    name = f"{function.__module__.removeprefix('qbench.')}.{function.__name__}"
    seen = set()
    for root in (paths.PUBLISHED,) if published else (paths.local_results(), paths.PUBLISHED):
        for file in sorted((root / name).glob("*.json")):
            entry = _read(file)
            if entry.spec["version"] == function.qbench_version and entry.key not in seen:
                seen.add(entry.key)
                yield entry


def read(entry: Entry) -> pd.DataFrame:
    """The table of a result that this page shows, for `where_it_ran`; errors as `Entry.table`."""
    return _use(entry).table()


def lookup(prefix: str) -> Entry:
    """The one entry whose key begins with `prefix`, the local one where it is published as well.

    Raises `StoreError` if none or several do.
    """
    every = entries(paths.local_results(), paths.PUBLISHED)
    found = [entry for entry in every if entry.key.startswith(prefix)]
    if len(found) != 1:
        many = f"{len(found)} results begin" if found else "no stored result begins"
        raise StoreError(f"{many} with {prefix!r}; `qbench results list` shows all keys.")
    return found[0]


def publish(entry: Entry) -> Entry:
    """Copy a local result to `data/results/`, the store that travels with git.

    Raises `StoreError` when it is damaged or the copy cannot be written.
    """
    return _put(paths.PUBLISHED / entry.spec["method"], entry.record, entry.content())


def repeatable(entry: Entry) -> bool:
    """Whether a second run must give the same; errors as `recompute`."""
    return _function(entry).qbench_repeatable


def recompute(entry: Entry) -> str:
    """Compute a stored result again, store nothing, and say how the two compare (`compare`).

    Raises `StoreError` when its method is gone, has another version now, cannot be run here or
    measures times.
    """
    function = _function(entry)
    if not function.qbench_repeatable:
        raise StoreError(f"{entry.key} is a measurement of time, which no second run repeats.")
    computed = _parquet(function(**entry.spec["parameters"]))
    return compare(entry.table(), pd.read_parquet(io.BytesIO(computed)))


def _function(entry: Entry) -> Callable[..., pd.DataFrame]:
    module, _, name = entry.spec["method"].rpartition(".")
    if not re.fullmatch(r"[a-z]\w*(\.[a-z]\w*)*", module):
        raise entry.damaged(f"{entry.spec['method']!r} is not a method of qbench")
    try:
        function = getattr(importlib.import_module(f"qbench.{module}"), name)
        version = function.qbench_version
    except (ImportError, AttributeError) as error:
        if isinstance(error, ImportError) and not (error.name or "").startswith("qbench"):
            raise StoreError(f"{entry.key} cannot be computed here: {error}.") from None
        raise entry.damaged(f"qbench has no method {entry.spec['method']!r}") from None
    if version != entry.spec["version"]:
        raise StoreError(
            f"{entry.key} was made by version {entry.spec['version']} of {entry.spec['method']}, "
            f"which is at version {version} now: it is no longer used and can be deleted."
        )
    return function


def compare(stored: pd.DataFrame, computed: pd.DataFrame) -> str:
    """`identical`, or `differs: ...` with the column that deviates most and by how much."""
    if list(stored.columns) != list(computed.columns) or len(stored) != len(computed):
        return f"differs: {stored.shape} stored, {computed.shape} computed, or other columns"
    worst, where = 0.0, ""
    for column in stored:
        a, b = stored[column].reset_index(drop=True), computed[column].reset_index(drop=True)
        if a.equals(b):
            continue
        numbers = pd.api.types.is_numeric_dtype(a) and pd.api.types.is_numeric_dtype(b)
        if not numbers or not a.isna().equals(b.isna()):
            return f"differs: column {column} holds other entries"
        other = (a != b) & a.notna()
        if not other.any():  # the same numbers in another type
            continue
        gap = float((a[other].astype(float) - b[other].astype(float)).abs().max())
        if not where or gap > worst:
            worst, where = gap, column
    return f"differs: {where} by up to {worst:.3g}" if where else "identical"


def where_it_ran() -> pd.DataFrame:
    """Two columns, `what` and `value`: this page's versions, and where the runs it shows ran."""
    this = provenance.versions()
    rows = [("software", ", ".join(f"{name} {version}" for name, version in this.items()))]
    if _used:
        records = [entry.record for entry in _used.values()]
        days = sorted(record["date"][:10] for record in records)
        machines = {f"{r['machine']['processor']}, {r['machine']['cores']} cores" for r in records}
        rows += [
            ("runs shown", str(len(records))),
            ("computed on", "; ".join(sorted(machines))),
            ("computed", " to ".join(sorted({days[0], days[-1]}))),
            ("computing time", provenance.duration(sum(r["seconds"] for r in records))),
        ]
    else:
        here = provenance.machine()
        rows.append(("computed on", f"{here['processor']}, {here['cores']} cores"))
    return pd.DataFrame(rows, columns=["what", "value"])


def _plain(value: Any) -> Any:
    """`value` with whole numbers as integers, however they were written."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _use(entry: Entry) -> Entry:
    _used[entry.key] = entry
    return entry


def _title(spec: Spec) -> str:
    return f"{spec['method']} {key(spec)[:8]}"


def _unfinished(name: str) -> Path:
    """The folder for the checkpoints of the result with this key; its lock guards it too."""
    return paths.local_results() / "unfinished" / name


def _read(file: Path) -> Entry:
    entry = Entry(file, {})
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        complete = all(isinstance(record[name], kind) for name, kind in IN_RECORD.items())
        complete = complete and {"processor", "cores"} <= record["machine"].keys()
        complete = complete and bool(re.fullmatch("[0-9a-f]{64}", record["sha256"]))
        spec = record["spec"]
        named = complete and (key(spec), spec["method"]) == (file.stem, file.parent.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        complete = named = False
    if not complete:
        raise entry.damaged("it is not the JSON that was stored")
    if not named:
        raise entry.damaged("its specification is not the one that its name was made from")
    return Entry(file, record)


def _stored_before(spec: Spec) -> pd.DataFrame | None:
    """The table that a recomputation replaces; None if there was none or it was damaged."""
    try:
        entry = find(spec)
        return entry.table() if entry else None
    except StoreError as error:
        print(error, file=sys.stderr)
        return None


def _write(
    spec: Spec, table: pd.DataFrame, *, started: str, seconds: float, together: int = 1
) -> Entry:
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{spec['method']} must return a DataFrame, not {type(table).__name__}")
    content = _parquet(table)
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
    return _put(paths.local_results() / spec["method"], record, content)


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _put(folder: Path, record: dict[str, Any], content: bytes) -> Entry:
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
    for old in folder.glob(f"{entry.key}-*.parquet"):
        if old != entry.table_file:
            old.unlink(missing_ok=True)
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
def _lock(spec: Spec, name: str) -> Iterator[None]:
    folder = paths.local_results() / "locks"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            print(f"{_title(spec)}: another process computes it, waiting", file=sys.stderr)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
