"""Empty stores and a method that takes no time, for the tests of the store; not a test itself.

`ramp` stands for a method of qbench; `Counted` counts how often it is really called. A test module
makes its own fixtures of `home`, `spec` and `stored`.
"""

import errno
import os
import sys
import types
from pathlib import Path

import pandas as pd
import pytest

from qbench import paths, store
from qbench.store import StoreError


@store.method(version=1)
def ramp(*, rows: int = 3, slope: float = 0.5, names: tuple = ("a", "b")) -> pd.DataFrame:
    return pd.DataFrame({"x": range(rows), "y": [slope * row for row in range(rows)]})


ramp.__module__ = "qbench.toy"


class Counted:
    """A computation that counts its calls; each gives a table of its own, `y` grows by `step`."""

    def __init__(self, step: float = 0.0):
        self.step, self.calls = step, 0

    def __call__(self) -> pd.DataFrame:
        self.calls += 1
        return pd.DataFrame({"x": [1, 2], "y": [0.5, 0.25 + self.step * self.calls]})


def empty_stores(tmp_path, monkeypatch) -> None:
    """No result is stored, and this process has used none yet."""
    monkeypatch.setenv("QBENCH_RESULTS", str(tmp_path / "local"))
    monkeypatch.delenv("QBENCH_RECOMPUTE", raising=False)
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(store, "_used", {})
    monkeypatch.setattr(store, "_computed", set())


def home(tmp_path, monkeypatch):
    """Two empty stores, and a process that has used no result yet."""
    empty_stores(tmp_path, monkeypatch)
    toy = types.ModuleType("qbench.toy")
    toy.ramp = ramp
    monkeypatch.setitem(sys.modules, "qbench.toy", toy)
    return tmp_path


def spec():
    return store.spec(ramp)


def stored(spec) -> store.Entry:
    """One stored result of `ramp()`."""
    store.run(ramp)
    return store.find(spec)


def new_process(monkeypatch) -> None:
    """Forget what this process has used and computed."""
    monkeypatch.setattr(store, "_used", {})
    monkeypatch.setattr(store, "_computed", set())


def says(call, *words) -> str:
    """The `StoreError` of `call()`: one line, ending in a full stop, that has all `words` in it."""
    with pytest.raises(StoreError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    for word in words:
        assert str(word) in said
    return said


def files(folder: Path) -> list[str]:
    """Every file below `folder` but the locks, sorted."""
    found = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")
    return sorted(str(file.relative_to(folder)) for file in found)


def failing(number: int, error: BaseException):
    """A stand-in for `os.fsync` whose call of this number raises `error`."""
    calls = iter(range(1, 1000))

    def fsync(descriptor: int) -> None:
        if next(calls) == number:
            raise error

    return fsync


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
