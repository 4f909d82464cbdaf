"""The sweep on a machine that has torch, NumPy, pandas and pyarrow, and what these need."""

import importlib.metadata
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sweep_toy
from sweep_toy import run

from qbench import data, paths, store, sweep
from qbench.sweep import Member

home = pytest.fixture(sweep_toy.home, autouse=True)
THERE = ("torch", "numpy", "pandas", "pyarrow")
MISSING = (
    "tqdm",
    "pydantic",
    "brevitas",
    "yaml",
    "PIL",
    "pooch",
    "platformdirs",
    "plotly",
    "click",
)
MEMBERS = [Member(1, 2), Member(2, 4), Member(4, 4, 3, 0.02, 0.1), Member(32, 32)]

BEGINNING = """
import importlib.abc, json, pathlib, sys

class Bare(importlib.abc.MetaPathFinder):
    tried = set()
    def find_spec(self, name, path=None, target=None):
        if (top := name.partition(".")[0]) in refused:
            self.tried.add(top)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

refused, folder = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])
sys.meta_path.insert(0, Bare())
assert not set(refused) & set(sys.modules)

import numpy as np
import torch
from qbench import store, sweep
from qbench.data.loading import Dataset, Split
from qbench.sweep import Member

torch.set_num_threads(1)
with np.load(folder / "images.npz") as arrays:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
names = ("train", "valid", "test")
parts = [Split(tensors[name], tensors[name + "_labels"]) for name in names]
toy, members = Dataset("toy", tuple("abcd"), *parts), [Member(*one) for one in MEMBERS]
"""
TRAIN = """
sweep.fitting.CHECKPOINT_SECONDS = 0
for _ in range(2):  # the second from the checkpoints
    outcome = sweep.train(
        members, toy, epochs=2, hidden=16, batch_size=50, checkpoint=folder / "work"
    )
assert list((folder / "work").iterdir())
for number, member in enumerate(members):
    outcome.tables[member].to_parquet(folder / f"{number}.parquet")
"""
STORE = """
from qbench import data
data.load = lambda name, **_: toy
sweep.quant_mlps("toy", members, epochs=2, hidden=16, batch_size=50)
"""
END = "print(json.dumps(sorted(Bare.tried)))"


@pytest.fixture(scope="session")
def refused() -> list[str]:
    """Every module of an installed package that none of the four needs."""
    needed, asked = set(), list(THERE)
    while asked:
        name = re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", asked.pop()).group()).lower()
        if name in needed:
            continue
        needed.add(name)
        try:
            found = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system
        asked += [one for one in found if "extra ==" not in one]
    modules = importlib.metadata.packages_distributions().items()
    kept = needed | {"qbench"}
    left = {
        module
        for module, packages in modules
        if not kept & {re.sub(r"[-_.]+", "-", package).lower() for package in packages}
    }
    return sorted(left - sys.stdlib_module_names)


def bare(refused: list[str], folder, what: str) -> list[str]:
    """Run it in a process without the refused modules; those that it tried to import."""
    toy, arrays = sweep_toy.images(), {}
    for name in ("train", "valid", "test"):
        split = getattr(toy, name)
        arrays |= {name: split.images.numpy(), f"{name}_labels": split.labels.numpy()}
    np.savez(folder / "images.npz", **arrays)
    members = [tuple(vars(member).values()) for member in MEMBERS]
    code = BEGINNING.replace("MEMBERS", repr(members)) + what + END
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(refused), str(folder)],
        capture_output=True,
        text=True,
        cwd=paths.ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_refused_is_all_but_what_the_four_need(refused):
    assert set(refused).issuperset(MISSING)
    assert not {*THERE, "filelock", "sympy", "dateutil", "qbench"} & set(refused)


def test_training_and_checkpoints_need_the_four_alone(refused, home):
    tried = bare(refused, home, TRAIN)
    assert "tqdm" in tried, "the progress bar is left out where it cannot be had"
    expected = run(MEMBERS, epochs=2).tables
    for number, member in enumerate(MEMBERS):
        table = pd.read_parquet(home / f"{number}.parquet")
        pd.testing.assert_frame_equal(table, expected[member], check_exact=True)


def test_storing_needs_the_four_alone(refused, home, monkeypatch):
    """And what was stored there is read here."""
    bare(refused, home, STORE)
    assert len(list(store.entries())) == len(MEMBERS)
    monkeypatch.setattr(data, "load", None)  # nothing is trained again
    tables = sweep.quant_mlps("toy", MEMBERS, epochs=2, hidden=16, batch_size=50)
    sweep_toy.same(tables, run(MEMBERS, epochs=2).tables)


def test_a_module_that_is_needed_would_be_noticed(refused, home):
    with pytest.raises(AssertionError, match="No module named 'yaml'"):
        bare(refused, home, "import yaml\n")
