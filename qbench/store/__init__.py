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
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from qbench import paths, provenance

from .comparing import compare
from .listing import below as keys
from .moving import packed, put_down, unpacked, weights_file
from .reading import Entry, StoreError, entries, find, lookup, results
from .specification import NOT_IN_SPEC, Spec, key, method, spec
from .specification import title as _title
from .writing import locked as _lock
from .writing import parquet as _parquet
from .writing import publish, writing
from .writing import put as _put
from .writing import write as _write

__all__ = [
    "NOT_IN_SPEC",
    "RECOMPUTED",
    "Entry",
    "Spec",
    "StoreError",
    "compare",
    "computed",
    "entries",
    "find",
    "get_or_run",
    "key",
    "keys",
    "lookup",
    "method",
    "missing",
    "packed",
    "publish",
    "put_down",
    "read",
    "receive",
    "recompute",
    "repeatable",
    "results",
    "run",
    "run_together",
    "spec",
    "start_anew",
    "weights_file",
    "where_it_ran",
    "writing",
]

RECOMPUTED = ": recomputed, "  # in what `get_or_run` says of a result and the one before
_used: dict[str, Entry] = {}  # by this process, for `where_it_ran`
_computed: set[str] = set()  # by this process: these are not recomputed


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
        return read(entry)
    with _lock(spec, name):
        if not recompute and (entry := find(spec)):  # another process was quicker
            return read(entry)
        if recompute:  # from nothing: what an interrupted run left is no proof
            shutil.rmtree(_unfinished(name), ignore_errors=True)
        started, clock = provenance.now(), time.perf_counter()
        table = fn()
        seconds = time.perf_counter() - clock
        before = _stored_before(spec) if recompute else None
        entry = _write(spec, table, started=started, seconds=seconds)
        _computed.add(name)
        shutil.rmtree(_unfinished(name), ignore_errors=True)
        table = read(entry)
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
    return [None if key(one) in failed else read(find(one)) for one in every]


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


def receive(files: Mapping[str, bytes]) -> None:
    """Store what another machine computed and sent as `packed` files.

    A result that is here already stays as it is, but is compared and replaced where
    `QBENCH_RECOMPUTE` is set. Raises `StoreError`, also when a table is not the one that was sent.
    """
    recompute = bool(os.environ.get("QBENCH_RECOMPUTE"))
    complete = unpacked(files)
    put_down({name: content for name, content in files.items() if name.endswith(".pt")})
    for record, content in complete:
        asked, name = record["spec"], key(record["spec"])
        if hashlib.sha256(content).hexdigest() != record["sha256"]:
            raise StoreError(f"{name} came back altered or cut short: run again.")
        with _lock(asked, name):
            if not recompute and find(asked):
                continue
            before = _stored_before(asked) if recompute else None
            entry = _put(paths.local_results() / asked["method"], record, content)
            computed(name)
            if before is not None:
                said = compare(before, entry.table())
                print(f"{_title(asked)}{RECOMPUTED}{said}", file=sys.stderr)


def start_anew(files: Mapping[str, bytes]) -> None:
    """Work for someone else from now on: forget what this process has used and computed.

    `files` are results that they sent to be read; these are not computed again.
    """
    _used.clear()
    _computed.clear()
    put_down(files)
    _computed.update(Path(name).stem for name in files if name.endswith(".json"))


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
            (
                "computing time, summed over runs",
                provenance.duration(sum(r["seconds"] for r in records)),
            ),
        ]
    else:
        here = provenance.machine()
        rows.append(("computed on", f"{here['processor']}, {here['cores']} cores"))
    return pd.DataFrame(rows, columns=["what", "value"])


def read(entry: Entry) -> pd.DataFrame:
    """The table of a result that a page shows.

    Another process may have replaced both files between the reading of one and of the other.
    """
    try:
        table = entry.table()
    except StoreError:
        now = find(entry.spec)
        if now is None or now.record["sha256"] == entry.record["sha256"]:
            raise
        entry, table = now, now.table()
    _used[entry.key] = entry
    return table


def _unfinished(name: str) -> Path:
    """The folder for the checkpoints of the result with this key; its lock guards it too."""
    return paths.local_results() / "unfinished" / name


def _stored_before(spec: Spec) -> pd.DataFrame | None:
    """The table that a recomputation replaces; None if there was none or it was damaged."""
    try:
        entry = find(spec)
        return entry.table() if entry else None
    except StoreError as error:
        print(error, file=sys.stderr)
        return None
