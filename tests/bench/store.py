"""A store of many results: what looking one up and listing them takes; `make bench` prints it.

The results are small JSONs with empty tables, made here and thrown away: 100,000 of four methods,
or as many as are named behind the command.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from qbench import paths, provenance, store

METHODS = 4


def fill(root: Path, count: int) -> list[str]:
    """Store so many results without flushing each to the disk; returns their keys."""
    same = {"sha256": 64 * "0", "rows": 1, "columns": ["x"], "date": provenance.now()}
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
        (folder / f"{name}-{12 * '0'}.parquet").touch()
        made.append(name)
    return made


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
            "read every entry": milliseconds(lambda n: sum(1 for _ in store.entries())),
        }
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(paths.ROOT), *sys.path])}
        command = [sys.executable, "-m", "qbench", "results", "list"]
        rows["qbench results list"] = milliseconds(
            lambda n: subprocess.run(command, env=environment, check=True, capture_output=True)
        )
    for name, took in rows.items():
        print(f"{took:10.2f} ms  {name}")


if __name__ == "__main__":
    main()
