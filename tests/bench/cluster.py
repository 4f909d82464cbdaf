"""What Dask costs and gains: generations and trainings on a local cluster; `make bench` prints it.

A generation of 16 individuals of 10 s each (or so many seconds as are named behind the command) on
two workers: sleeping individuals tell what Dask costs beside the seconds that cannot be had back;
computing ones tell what a second worker gains on two cores. To be run on an idle machine.
"""

import os
import sys
import tempfile
import time

from qbench import cluster, provenance, workers

INDIVIDUALS, SECONDS, WORKERS = 16, 10.0, 2


def sleeping(seconds: float) -> None:
    """An individual that leaves the processor alone."""
    time.sleep(seconds)


def computing(seconds: float) -> int:
    """An individual that needs a processor for `seconds` of its own time."""
    end, turns = time.process_time() + seconds, 0
    while time.process_time() < end:
        turns += sum(range(1000))
    return turns


def generation(individual, seconds: float, count: int) -> float:
    """Seconds of a generation on as many workers as the cluster has."""
    started = time.perf_counter()
    for _ in workers.sent(individual, [(seconds,)] * count, title="individuals", leave=False):
        pass
    return time.perf_counter() - started


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    machine = provenance.machine()
    print(f"{machine['processor']}, {machine['cores']} cores; individuals of {seconds:g} s")
    took = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["QBENCH_WORKER"] = folder
        os.environ["PYTHONPATH"] = os.pathsep.join([str(cluster.paths.ROOT), *sys.path])
        for count in (1, WORKERS):
            with cluster.local(count) as address:
                os.environ[cluster.VARIABLE] = address
                generation(sleeping, 0, 2 * count)  # workers import what they need
                took[count] = generation(computing, seconds / 4, INDIVIDUALS)
                if count == WORKERS:
                    slept = generation(sleeping, seconds, INDIVIDUALS)
    ideal = INDIVIDUALS * seconds / WORKERS
    print(f"{slept:8.2f} s  {INDIVIDUALS} individuals that sleep, {WORKERS} workers")
    print(f"{100 * (slept / ideal - 1):8.2f} %  of that is Dask's: {ideal:g} s are slept")
    print(f"{took[1]:8.2f} s  {INDIVIDUALS} that compute for a quarter of that, 1 worker")
    print(f"{took[1] / took[WORKERS]:8.2f}    times as fast on {WORKERS} workers")


if __name__ == "__main__":
    main()
