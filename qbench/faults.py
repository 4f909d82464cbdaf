"""The tests that inject faults, as a measurement that the page on faults shows.

Run in a checkout with its tests: `python -m qbench.faults` computes it anew and stores it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from qbench import paths, store
from qbench.errors import UserError

#: Where faults are injected: files of tests, or single tests.
TESTS = (
    "test_faults_workers.py",
    "test_faults_disk.py",
    "test_faults_time.py",
    "test_faults_input.py",
    "test_faults_files.py",
    "test_store_interruptions.py",
    "test_training_resumed.py",
    "test_sweep_resumed.py",
    "test_evolution_resumed.py",
)
COLUMNS = ["fault", "injected", "times", "outcome"]
NOT_HERE = "not injected on this machine"
ERROR = 2  # the file descriptor of standard error: minutes without a sign would look like a fault
HOUR = 3600.0  # seconds that the tests may take: a fault must not end in waiting


class FaultsError(UserError, RuntimeError):
    """A fault did not end as it must, or the tests cannot be run."""


@store.method(version=1, repeatable=False)
def suite() -> pd.DataFrame:
    """Run `TESTS`: a row for each fault that was injected, in the order of the tests.

    Columns: `fault`, `injected` (how), `times` (how often) and `outcome` (of every time). A test
    that is skipped here, such as one that mounts a file system, has a row that says so, of 0 times.
    What the tests say goes to standard error. Raises `FaultsError` when one fails, or when they
    take longer than `HOUR`: then there is no table.
    """
    files = [paths.ROOT / "tests" / name for name in TESTS]
    if missing := next((file for file in files if not file.exists()), None):
        raise FaultsError(f"{paths.shown(missing)} is missing: run this in a checkout of qbench.")
    with tempfile.TemporaryDirectory() as folder:
        noted, told = Path(folder) / "noted.jsonl", Path(folder) / "tests.xml"
        environment = {**os.environ, "QBENCH_FAULTS": str(noted), "QBENCH_RECOMPUTE": ""}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [f"--junitxml={told}", *map(str, files)]
        try:
            subprocess.run(
                command, cwd=paths.ROOT, env=environment, stdout=ERROR, timeout=HOUR, check=True
            )
        except subprocess.CalledProcessError:
            raise FaultsError("a test of faults failed: what it says is above.") from None
        except subprocess.TimeoutExpired:
            raise FaultsError(f"the tests of faults took longer than {HOUR:g} s.") from None
        lines = noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []
        rows = [json.loads(row) for row in lines] + _skipped(told)
    return pd.DataFrame(rows, columns=COLUMNS)


def _skipped(told: Path) -> list[dict[str, Any]]:
    """A row for each test that pytest's report has as skipped, with its reason."""
    rows = []
    for case in ElementTree.parse(told).iter("testcase"):
        for why in case.iter("skipped"):
            name = case.get("name", "").rpartition(".")[2]  # of a whole file with its folder
            name = name.removeprefix("test_").replace("_", " ")
            whole = why.get("message") == "collection skipped"
            said = (why.text or "").rpartition("Skipped: ")[2].strip("'()\" ") if whole else ""
            row = {"fault": name, "injected": NOT_HERE, "times": 0}
            rows.append(row | {"outcome": said or why.get("message")})
    return rows


if __name__ == "__main__":
    from qbench import faults  # not `__main__`: the method's name is part of the result

    print(store.get_or_run(store.spec(faults.suite), faults.suite, recompute=True).to_string())
