"""What trained networks say about pruning them: sensitivities of layers, and filters by metric."""

from typing import Any

import pandas as pd

from qbench import small_runs, store, threads
from qbench import training as loops

from . import rankings, rebuilding, runs
from .strategies import check_rate


@store.method(version=1)
def sensitivity(*, training: runs.Spec, ranking: str = "qerror", rate: float = 0.1) -> pd.DataFrame:
    """Each convolution of a trained network pruned alone, by `rate`, without retraining (4.7.2.1).

    Columns: `layer` ("" first, for the whole network), `filters` left of it, `valid_error` and
    `test_error` (%). Raises `PruningError` for what cannot be, before any work.
    """
    runs.check(training)
    rankings.check(ranking)
    check_rate(rate)
    spec = runs.complete(training)
    pictures = runs.load(spec["dataset"], spec["images"])
    rows = []
    with threads.at_most(1):
        whole_network = runs.network_of(spec)
        for name in ("", *spec["filters"]):
            left = max(1, round(spec["filters"][name] * (1 - rate))) if name else 0
            changed = {name: left} if name else {}
            model = runs.counted(whole_network, spec["filters"] | changed, ranking, spec["seed"])
            row: dict[str, Any] = {"layer": name, "filters": left}
            for part in ("valid", "test"):
                error = loops.error_rate(model, getattr(pictures, part), small_runs.EVALUATED)
                row[f"{part}_error"] = error
            rows.append(row)
    return pd.DataFrame(rows)


@store.method(version=1)
def profile(*, training: runs.Spec) -> pd.DataFrame:
    """Every filter of a trained network's convolutions by the three metrics (figure 4.4).

    Columns: `layer`, `filter`, `qerror` and `codes` (MSQE of eq. 4.8 against the weights that the
    layer computes with, and against their codes), `l1` and `l2` (norm by number of weights, and
    root mean square). Raises `PruningError` for what cannot be.
    """
    runs.check(training)
    spec, rows = runs.complete(training), []
    model = runs.network_of(spec)
    for name in spec["filters"]:
        weight, quantised = rebuilding.weights(model, name)
        flat = weight.flatten(1)
        metrics = {
            "qerror": rankings.msqe(weight, quantised),
            "codes": rankings.msqe(weight, rankings.codes(quantised)),
            "l1": flat.abs().mean(1),
            "l2": flat.square().mean(1).sqrt(),
        }
        for place in range(len(weight)):
            values = {metric: float(found[place]) for metric, found in metrics.items()}
            rows.append({"layer": name, "filter": place} | values)
    return pd.DataFrame(rows)
