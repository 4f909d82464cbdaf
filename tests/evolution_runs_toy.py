"""A search on some hundred MNIST digits that takes seconds; not a test itself.

Run as a program it computes and stores that search in `QBENCH_RESULTS`, in this one process.
"""

from qbench import store, workers
from qbench.distillation import runs
from qbench.studies import evolution_runs

TEACHER = store.spec(
    runs.teacher, dataset="mnist5k", network="flex_student", images=200, epochs=1, augment=False
)["parameters"]
SEARCH = store.spec(
    evolution_runs.nemokd,
    dataset="mnist5k",
    teacher=TEACHER,
    images=200,
    epochs=1,
    device="macs",
    population=3,
    generations=2,
    seed=1,
)["parameters"]


def alone(jobs: int, workers: int | None = None) -> int:
    """Instead of `workers.at_once`: a process of its own for each training takes longer."""
    return min(jobs, 1)


if __name__ == "__main__":
    workers.at_once = alone
    store.run(evolution_runs.nemokd, **SEARCH)
