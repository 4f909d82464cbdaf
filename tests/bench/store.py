"""A store of many results: what looking one up and listing them takes; `make bench` prints it.

The results are small JSONs with tables of one row, made here and thrown away: 100,000 of four
methods, or as many as are named behind the command.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from qbench import paths, provenance, store
from qbench.store.writing import parquet

METHODS = 4
PUBLISHED = 100  # of them are published; the tables of all others are empty files


def fill(root: Path, count: int) -> list[str]:
    """Store so many results without flushing each to the disk; returns their keys."""
    content = parquet(pd.DataFrame({"x": [1.5]}))
    digest = hashlib.sha256(content).hexdigest()
    same = {"sha256": digest, "rows": 1, "columns": ["x"], "date": provenance.now()}
    same |= {"seconds": 1.5, "together": 1, "peak_memory_mib": 500, "commit": "0123456789ab"}
    same |= {"machine": provenance.machine(), "versions": provenance.versions()}
    made = []
    for number in range(count):
        method = f"toy.method_{number % METHODS}"
        spec = {"method": method, "version": 1, "parameters": {"bits": 2, "seed": number}}
        folder, name = root / method, store.key(spec)
        if number < METHODS:
            folder.mkdir(parents=True)
        (folder / f"{name}.json").write_text(json.dumps({"spec": spec} | same, indent=1))
        table = folder / f"{name}-{digest[:12]}.parquet"
        table.write_bytes(content if number < PUBLISHED else b"")
        made.append(name)
    return made


@store.method(version=1)
def method_0(*, bits: int, seed: int) -> pd.DataFrame:
    """What the first quarter of the results are of."""
    return pd.DataFrame({"x": [1.5]})


def milliseconds(call, times: int = 1) -> float:
    started = time.perf_counter()
    for number in range(times):
        call(number)
    return 1000 * (time.perf_counter() - started) / times


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    machine = provenance.machine()
    print(f"{machine['processor']}, {machine['cores']} cores; {count:,} results")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["QBENCH_RESULTS"] = folder
        paths.PUBLISHED = Path(folder) / "none"
        keys = fill(Path(folder), count)
        time.sleep(2.5)  # until the folders' time stamps have settled
        specs = [
            {"method": f"toy.method_{n % METHODS}", "version": 1}
            | {"parameters": {"bits": 2, "seed": n}}
            for n in range(100)
        ]
        rows = {
            "find a specification": milliseconds(lambda n: store.find(specs[n]), 100),
            "look a whole key up": milliseconds(lambda n: store.lookup(keys[n]), 100),
            "look a prefix up, the first": milliseconds(lambda n: store.lookup(keys[n][:12])),
            "look a prefix up, each of 100 more": milliseconds(
                lambda n: store.lookup(keys[n][:12]), 100
            ),
            "store one more": milliseconds(lambda n: store.run(method_0, bits=3, seed=n), 100),
            "read every entry of one method": milliseconds(
                lambda n: sum(1 for _ in store.results(method_0))
            ),
            "read every entry": milliseconds(lambda n: sum(1 for _ in store.entries())),
        }
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(paths.ROOT), *sys.path])}
        command = [sys.executable, "-m", "qbench", "results", "list"]
        rows["qbench results list"] = milliseconds(
            lambda n: subprocess.run(command, env=environment, check=True, capture_output=True)
        )
        rows["publish each of 100 keys"] = milliseconds(
            lambda n: store.publish(store.lookup(keys[n])), PUBLISHED
        )
    for name, took in rows.items():
        print(f"{took:10.2f} ms  {name}")


method_0.__module__ = "qbench.toy"

if __name__ == "__main__":
    main()
