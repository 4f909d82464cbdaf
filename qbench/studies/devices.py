"""Chapter 14: what it measures on the reader's machine, and where a stored measurement may count.

A measurement holds for one machine: its specification has the machine's fingerprint (processor,
cores, instructions, versions of the libraries), so that another machine measures anew. Only the
book's own build shows what another machine measured, and says whose it is.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from qbench import provenance, store
from qbench.parameters import Devices
from qbench.runtimes import backends, machine, profile, throughput
from qbench.runtimes.backends import Backend, Classifier
from qbench.runtimes.energy import meter

from .devices_networks import Plan, classifiers, pictures, plan
from .qkd_densenets import TITLES

PROFILED = 8  # images a batch whose kernels are looked at
PLAIN = "pytorch"  # eager: what the thesis measured with


@dataclass(frozen=True)
class Found:
    """What was measured: `speeds` and `checks` of all networks, and the machine that did it.

    `again` are the speeds of a second measurement, where there is one.
    """

    speeds: pd.DataFrame
    checks: pd.DataFrame
    machine: Mapping[str, Any]
    here: bool
    again: pd.DataFrame | None = None


@store.method(version=2, repeatable=False)
def speeds(
    *,
    planned: Mapping[str, Any],
    runtimes: Sequence[str],
    precisions: Sequence[str],
    devices: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[int] | None,
    rounds: int,
    seconds: float,
    latency_seconds: float,
    on: Mapping[str, Any],
) -> pd.DataFrame:
    """`throughput.measured` of a network's forms in all backends that are here, by turns.

    `threads` None: one, and as many as there are cores. `on` is the fingerprint of the
    machine that measures; the rest as in `throughput.measured`.
    """
    one = plan(planned)
    every = backends.every(runtimes, precisions, devices)
    table = throughput.measured(
        throughput.contenders(classifiers(one), every),
        batches=batches,
        threads=threads or cores(),
        rounds=rounds,
        seconds=seconds,
        latency_seconds=latency_seconds,
    )
    return table.rename(columns={"network": "form"}).assign(network=one.network)


@store.method(version=1, repeatable=False)
def speeds_again(*, of: Mapping[str, Any], on: Mapping[str, Any]) -> pd.DataFrame:
    """`speeds` of these parameters, measured once more: whether it is told the same."""
    return speeds(**of, on=on)


@store.method(version=1, repeatable=False)
def checks(
    *,
    planned: Mapping[str, Any],
    runtimes: Sequence[str],
    precisions: Sequence[str],
    devices: Sequence[str],
    tested: int,
    on: Mapping[str, Any],
) -> pd.DataFrame:
    """What each backend says of `tested` test images, with which kernels; also which is missing.

    Columns: `network`, `form`, `runtime`, `precision`, `device`, `missing` (why it is not here, of
    the others empty); `accuracy` (%), `reference` (%, that of the same form in PyTorch, of 8 bits
    that of the last form), `classes_differ` between these two of `images`, `difference` of a
    logit at most as a share of the largest logit; `trained`; `multiplying` kernels, how many of
    them are `integer`, and in % of the time `integer_time`, `multiplying_time` and `rest_time`;
    `names`, the kernels.
    """
    one = plan(planned)
    every = backends.every(runtimes, precisions, devices)
    test = pictures(one.dataset).test
    images, labels = test.images[:tested].numpy(), test.labels[:tested].numpy()
    files = classifiers(one)
    plain = {
        file.name: _logits(Backend(PLAIN, "float32"), file, images) for file in files if file.model
    }
    rows: list[dict[str, Any]] = []
    for file in files:
        expected = plain[one.forms[-1] if file.integer else file.name]
        fitting = [backend for backend in every if file.fits(backend)]
        rows += [_checked(file, backend, images, labels, expected) for backend in fitting]
    return pd.DataFrame(rows).assign(network=one.network, trained=one.trained)


def _checked(
    file: Classifier, backend: Backend, images: np.ndarray, labels: np.ndarray, expected: np.ndarray
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "form": file.name,
        "runtime": backend.runtime,
        "precision": backend.precision,
        "device": backend.device,
        "missing": backend.missing,
    }
    if backend.missing:
        return row
    found = _logits(backend, file, images)
    about = profile.summary(profile.kernels(backend, file, batch=PROFILED, threads=cores()[-1]))
    answers = {
        "accuracy": 100 * float((found.argmax(1) == labels).mean()),
        "reference": 100 * float((expected.argmax(1) == labels).mean()),
        "classes_differ": int((found.argmax(1) != expected.argmax(1)).sum()),
        "images": len(labels),
        "difference": float(abs(found - expected).max() / abs(expected).max()),
    }
    return row | answers | about


def _logits(backend: Backend, file: Classifier, images: np.ndarray) -> np.ndarray:
    return backends.opened(backend, file, threads=cores()[-1]).logits(images)


def cores() -> list[int]:
    """One thread, and as many as there are cores."""
    return sorted({1, provenance.machine()["cores"]})


def plans(p: Devices) -> list[Plan]:
    """The networks of the page."""
    return [
        Plan(
            name,
            p.dataset,
            share=p.share if name in p.trained else 0.0,
            images=p.images if name in p.trained else None,
            augment=p.augment and name in p.trained,
            calibrated=p.calibrated,
        )
        for name in p.networks
    ]


def measured(p: Devices) -> Found:
    """Measure all networks, or look them up; in the book's build also where another machine did.

    Those that are measured again are so after all others.
    """
    asked = {"runtimes": p.runtimes, "precisions": p.precisions, "devices": p.devices}
    more = {"batches": p.batches, "threads": p.threads, "rounds": p.rounds}
    more |= {"seconds": p.seconds, "latency_seconds": p.latency_seconds}
    here = machine.fingerprint()
    jobs = [
        (function, {"planned": asdict(one)} | asked | extra)
        for one in plans(p)
        for function, extra in ((checks, {"tested": p.tested}), (speeds, more))
    ]
    if p.again:
        jobs += [(speeds_again, {"of": values}) for function, values in jobs if function is speeds]
    whose = _whose(jobs, here)
    tables: dict[Callable, list[pd.DataFrame]] = {checks: [], speeds: [], speeds_again: []}
    for function, values in jobs:
        tables[function].append(store.run(function, **values, on=whose))
    return Found(
        speeds=pd.concat(tables[speeds], ignore_index=True),
        checks=pd.concat(tables[checks], ignore_index=True),
        machine=whose,
        here=_same(whose, here),
        again=pd.concat(tables[speeds_again], ignore_index=True) if p.again else None,
    )


def _whose(
    jobs: Sequence[tuple[Callable, Mapping[str, Any]]], here: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The machine whose measurements are shown: this one, but in the book's build one that has
    published all of them, where this one has not. A recomputation is always of this one.
    """
    specs = [store.spec(function, **values, on=here) for function, values in jobs]
    book = os.environ.get("QBENCH_BOOK") == "1" and not os.environ.get("QBENCH_RECOMPUTE")
    if not book or not store.missing(specs):
        return here
    methods = {spec["method"] for spec in specs}
    found = [
        entry
        for method in sorted(methods)
        for entry in store.entries(method=method, damaged=lambda _: None)
        if entry.spec["method"] == method
    ]
    found.sort(key=lambda entry: entry.record["date"], reverse=True)
    for entry in found:
        theirs = entry.spec["parameters"].get("on")
        if theirs and not store.missing(
            [store.spec(function, **values, on=theirs) for function, values in jobs]
        ):
            return theirs
    return here


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return store.key({"machine": one}) == store.key({"machine": other})


def with_energy(speeds: pd.DataFrame, p: Devices) -> pd.DataFrame:
    """`speeds` with `joules` by stated power × time where nothing was measured and it is stated.

    Vailakis 2022, eq. 7.4: power × latency at a batch of one, power / throughput else, which is
    power × time / images for both.
    """
    table = speeds.copy()
    for device, watts in (("cpu", p.watts), ("cuda", p.gpu_watts)):
        rows = (table["device"] == device) & table["joules"].isna()
        if watts is not None and rows.any():
            table.loc[rows, "joules"] = watts / table.loc[rows, "images_per_second"]
            table.loc[rows, "energy_by"] = meter(device, watts=watts).how
    return table


def described(found: Found) -> str:
    """Whose numbers these are, for captions."""
    about = machine.described(found.machine)
    return f"this machine, {about}" if found.here else f"the machine of the published run, {about}"


def title(network: str) -> str:
    """`densenet21` → `DenseNet-21`."""
    return TITLES[network]
