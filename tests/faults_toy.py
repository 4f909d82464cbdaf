"""Jobs that can be killed meanwhile, and where tests of faults note what came of it; not a test.

Run as a program, it asks for `LINES` and stores them; with `cluster` behind it, it is a cluster of
one worker that prints its address.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pandas as pd
from evolution_toy import measured

from qbench import cluster, store, workers

HERE = Path(__file__).parent


def noted(fault: str, how: str, times: int, outcome: str) -> None:
    """For the page on faults: what was done how often, and how it ended every time."""
    if file := os.environ.get("QBENCH_FAULTS"):
        row = {"fault": fault, "injected": how, "times": times, "outcome": outcome}
        with open(file, "a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


@store.method(version=1)
def line(*, slope: float, seconds: float = 0.0) -> pd.DataFrame:
    """Takes `seconds`, and leaves a file in `QBENCH_ANNOUNCE` named after its process.

    Slopes above 3 wait as long as there is a file `hold` beside that folder.
    """
    if folder := os.environ.get("QBENCH_ANNOUNCE"):
        Path(folder, f"{os.getpid()}-{slope:g}").touch()
        while slope > 3 and Path(folder).with_name("hold").exists():
            time.sleep(0.05)
    time.sleep(seconds)
    return pd.DataFrame({"x": range(4), "y": [slope * x for x in range(4)]})


LINES = [{"slope": float(slope), "seconds": 0.5} for slope in range(1, 7)]


def announced(folder: Path, least: int = 1) -> list[int]:
    """The processes that have begun jobs, once so many jobs were begun."""
    for _ in range(6000):
        if len(names := os.listdir(folder)) >= least:
            return [int(name.partition("-")[0]) for name in names]
        time.sleep(0.02)
    raise AssertionError("no job was begun")


def deadly(slope: float) -> None:
    """Ends its process as the system does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def measured_slowly(phenotype):
    """One individual of a generation, in a third of a second."""
    time.sleep(0.3)
    return phenotype, measured(phenotype)


def evaluate_elsewhere(new, keep) -> None:
    """Evaluates a generation wherever `workers` sends jobs to."""
    for phenotype, values in workers.sent(measured_slowly, [(one,) for one in new], title="toy"):
        keep(phenotype, values)


def correct(tables: list[pd.DataFrame]) -> bool:
    """Whether these are the tables of `LINES`, and what is stored is the same."""
    stored = [store.find(store.spec(line, **one)).table() for one in LINES]
    wanted = [
        pd.DataFrame({"x": range(4), "y": [one["slope"] * x for x in range(4)]}) for one in LINES
    ]
    return all(a.equals(b) and a.equals(c) for a, b, c in zip(tables, stored, wanted, strict=True))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    import faults_toy  # not `__main__`: other processes must find its functions

    if sys.argv[1:] == ["cluster"]:
        with cluster.local(1) as address:
            print(address, flush=True)
            time.sleep(600)
    else:
        workers.run_each(faults_toy.line, LINES, workers=2, title="lines")
