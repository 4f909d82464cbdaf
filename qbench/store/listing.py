"""Which results a store has, told from the names of its files alone: no JSON is read for it."""

import os
import re
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

SETTLED = 2 * 10**9  # nanoseconds after which a folder's time stamp tells of every change to come
_listed: dict[str, tuple[int, list[str]]] = {}  # folder: its time stamp and the keys it had


def folders(root: Path) -> list[Path]:
    """The folders of the methods, sorted; none where `root` is missing."""
    try:
        with os.scandir(root) as found:
            return sorted(Path(one.path) for one in found if one.is_dir())
    except FileNotFoundError:
        return []


def keys(folder: Path) -> list[str]:
    """The keys of the results of one method, sorted.

    A listing is kept until the folder changes: 100 lookups read its 200,000 names once.
    """
    stamp = os.stat(folder).st_mtime_ns
    known = _listed.get(str(folder))
    if known and known[0] == stamp:
        return known[1]
    found = sorted(name[:-5] for name in os.listdir(folder) if name.endswith(".json"))
    if time.time_ns() - stamp > SETTLED:  # else it may change once more within one tick
        _listed[str(folder)] = stamp, found
    return found


def below(root: Path) -> list[str]:
    """The keys of all results below `root`."""
    return [key for folder in folders(root) for key in keys(folder)]


def beginning(prefix: str, *roots: Path) -> Iterator[Path]:
    """The JSON files of all keys that begin with `prefix`, those of the first root first."""
    whole = re.fullmatch("[0-9a-f]{20}", prefix)
    for root in roots:
        for folder in folders(root):
            if whole:
                if (file := folder / f"{prefix}.json").exists():
                    yield file
                continue
            listed = keys(folder)
            for place in range(bisect_left(listed, prefix), len(listed)):
                if not listed[place].startswith(prefix):
                    break
                yield folder / f"{listed[place]}.json"
