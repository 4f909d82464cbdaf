"""Fill the cache with a data set: one process at a time, and whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from .decoders import Arrays, decode
from .errors import Damaged, DataError, Unavailable, reason
from .sources import NO_SPACE, label, obtain
from .specs import Spec

RECORD = "digests.json"  # digests of a data set for which datasets.yml states none
LOCK_SECONDS = 3600.0


def fill(spec: Spec, progress: bool, force: bool = False) -> None:
    """Put the data set into `spec.directory`; with `force` also where there is one already.

    Processes that fill the same data set wait for one another, and only the first one fetches.
    Raises `DataError` where no source can give the data set, or the cache cannot be written.
    """
    with _alone(spec, progress):
        if force or not spec.directory.is_dir():
            for left in spec.home.glob(".filling-*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(dir=spec.home, prefix=".filling-"))
            try:
                _store(spec, _fetch(spec, scratch, progress), scratch)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


@contextmanager
def _alone(spec: Spec, progress: bool) -> Iterator[None]:
    """Hold the data set's lock; whatever goes wrong on the disk becomes one sentence."""
    import filelock

    try:
        spec.home.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(spec.home / ".lock")
        try:
            lock.acquire(timeout=1)
        except filelock.Timeout:
            if progress:
                print(f"waiting for another process to fill {spec.home}", file=sys.stderr)
            lock.acquire(timeout=LOCK_SECONDS)
        try:
            yield
        finally:
            lock.release()
    except filelock.Timeout as error:
        raise DataError(
            f"another process has been filling {spec.home} for {LOCK_SECONDS:g} s: "
            "wait for it or end it, and try again."
        ) from error
    except OSError as error:
        raise DataError(
            f"{spec.home} cannot be written ({reason(error)}): make room for about "
            f"{4 * spec.size_mb} MB there, or set QBENCH_DATA to a directory that has it."
        ) from error


def _fetch(spec: Spec, scratch: Path, progress: bool) -> Arrays:
    """Arrays from the first source that has them right; files put there by hand come first."""
    https = [source for source in spec.sources if source.kind == "https"]
    by_hand = [replace(source, kind="by hand") for source in https if spec.files_by_hand.is_dir()]
    reasons = []
    for number, source in enumerate([*by_hand, *spec.sources]):
        room = scratch / str(number)
        room.mkdir()
        try:
            files = obtain(source, spec, room, progress)
            arrays = decode(source.decoder, files, spec, progress)
            _check(arrays, spec)
            return arrays
        except Unavailable as error:
            reasons.append(f"{label(source)}: {error}")
        except ImportError as error:
            reasons.append(f"{label(source)}: the Python package {error.name} is not installed")
        except Damaged as error:
            reasons.append(f"{label(source)}: what it gave {error}")
        except OSError as error:
            if error.errno in NO_SPACE:
                raise
            reasons.append(f"{label(source)}: {reason(error)}")
        shutil.rmtree(room, ignore_errors=True)
        if progress:
            print(f"{spec.name}: {reasons[-1]}", file=sys.stderr)
    raise DataError(f"{spec.name} cannot be had ({'; '.join(reasons)}): {_ways_out(spec)}.")


def _check(arrays: Arrays, spec: Spec) -> None:
    for name, array in arrays.items():
        if spec.sha256 is not None and digest(array) != spec.sha256[name]:
            raise Damaged(f"is not the data set (the SHA-256 of {name} differs from datasets.yml)")


def _store(spec: Spec, arrays: Arrays, scratch: Path) -> None:
    ready = scratch / "ready"
    ready.mkdir()
    for name, array in arrays.items():
        with _on_disk(ready / f"{name}.npy") as file:
            # Not `write_array`: it writes past Python and does not notice that the disk is full.
            array = np.ascontiguousarray(array)
            header = np.lib.format.header_data_from_array_1_0(array)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(array.data)
    if spec.sha256 is None:
        digests = {name: digest(array) for name, array in arrays.items()}
        with _on_disk(ready / RECORD) as file:
            file.write(json.dumps(digests, indent=1).encode())
    if spec.directory.is_dir():  # file by file, so that a reader never finds one missing
        for path in ready.iterdir():
            os.replace(path, spec.directory / path.name)
    else:
        os.rename(ready, spec.directory)


@contextmanager
def _on_disk(path: Path) -> Iterator:
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _ways_out(spec: Spec) -> str:
    ways = []
    for source in spec.sources:
        if source.kind == "https":
            ways.append(f"put {', '.join(source.names)} into {spec.files_by_hand}")
        else:
            way = {
                "python": "run `pip install {}`",
                "system": "run `apt-get install {}`",
                "npm": "install npm and see that `npm pack {}` works",
            }[source.kind]
            ways.append(way.format(source.package))
    return ", or ".join([*dict.fromkeys(ways), "set QBENCH_DATA to a cache that has it"])
