"""What chapter 18 stores of devices: latencies of chapter 7's networks elsewhere, a second search.

A student's error does not depend on the device, so what chapter 7 trained is not trained again.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from qbench import evolution, runtimes, store
from qbench.data import specs
from qbench.evolution import Phenotype
from qbench.hardware import HardwareError, dpu_speed, layers_of
from qbench.hardware.dpu import Dpu
from qbench.hardware.layers import Layer
from qbench.models.convolutional import build
from qbench.runtimes import backends, throughput

from . import evolution_runs
from .evolution_networks import MACS, SPACES, sizes

#: Devices whose latency is a formula: cores of DPUCZDX8G on a ZCU102, and how their data ports
#: count (`dpu_speed.performance`); and no device at all.
DPUS = {
    "dpu-b512": ("B512", "overlapped"),
    "dpu-b1024": ("B1024", "overlapped"),
    "dpu-b4096": ("B4096", "overlapped"),
    "dpu-b4096-no-ports": ("B4096", "none"),
}
MODELS = (*DPUS, MACS)
#: Runtimes that are measured on the machine at hand, one image at a time.
RUNTIMES = ("openvino", "onnxruntime", "pytorch")
ROUNDS, SECONDS = 5, 0.1  # of a measurement; seconds are those of a turn


@store.method(version=2, repeatable=False)
def timed(
    *, student: str, dataset: str, networks: Sequence[Sequence[int]], runtime: str, threads: int = 1
) -> pd.DataFrame:
    """Latency of one image in `runtime`, float32 on the CPU, of `networks` (genotypes), by turns.

    A row a network: `phenotype`, `latency_ms` (median of the rounds' medians), `low_ms`, `high_ms`
    (lowest and highest of them) and `waited`. Weights are random: a latency does not depend on
    them. Raises a `UserError` where the runtime is not here.
    """
    (backend,) = backends.every([runtime], ["float32"], ["cpu"])
    space = SPACES[student]
    names, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, genotype in enumerate(networks):
            phenotype = space.decode(genotype)
            model, image = _network(student, dataset, phenotype, device="cpu")
            file = runtimes.to_onnx(model.eval(), image, Path(folder) / f"{number}.onnx")
            names.append(str(phenotype))
            rows.append(backends.Classifier(f"{number}: {phenotype}", file, model.eval()))
        found = throughput.measured(
            throughput.contenders(rows, [backend]),
            threads=[threads],
            rounds=ROUNDS,
            seconds=SECONDS,
        )
    columns = {"ms": "latency_ms", "low_ms": "low_ms", "high_ms": "high_ms", "waited": "waited"}
    found = found.set_index("network").loc[[one.name for one in rows]]
    return (
        found[list(columns)].rename(columns=columns).assign(phenotype=names).reset_index(drop=True)
    )


@store.method(version=1)
def evolved(
    *,
    search: Mapping[str, Any],
    known: Sequence[Sequence[Any]],
    device: str,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """The search of chapter 7 once more, with its seed and rules, for a device of `MODELS`.

    search: parameters of `evolution_runs.nemokd`. known: pairs of a phenotype and its validation
    error (%) there; other students are trained, as the search trains them. Returns the archive of
    `evolution.nsga2`; `latency_ms` is a model's number (with macs a count), `known` is 1 where the
    error was read. A search that was killed goes on where it was.
    """
    space, errors = SPACES[search["student"]], dict(known)
    folder = checkpoint or evolution_runs.networks_of(search)
    trainer = evolution_runs.Evaluator(
        search["student"], evolution_runs.training_of(search), MACS, folder / "networks"
    )

    def evaluate(new: Sequence[Phenotype], keep: Any) -> None:
        unknown = [one for one in new if str(one) not in errors]
        made = dict(zip(unknown, trainer.made(unknown), strict=True)) if unknown else {}
        for one in new:
            found = made.get(one)
            error = errors[str(one)] if found is None else found.get("valid_error", float("nan"))
            latency = modelled(search["student"], search["dataset"], one, device)
            keep(one, {"error": error, "latency_ms": latency, "known": float(found is None)})

    return evolution.nsga2(
        space,
        evaluate,
        archive=folder / f"{device}.jsonl",
        **{
            name: search[name]
            for name in ("population", "generations", "noise", "error_step", "seed")
        },
    )


def modelled(student: str, dataset: str, phenotype: Phenotype, device: str) -> float:
    """Latency of one image on a device of `MODELS` by its model, ms; of `macs` millions.

    A core of the DPU runs the layers at 8 bits one after the other; a layer takes what its
    multipliers or its data ports take, whichever is more, or the multipliers alone. Raises
    `HardwareError` for another name.
    """
    if device not in MODELS:
        raise HardwareError(f"device must be one of {', '.join(MODELS)}, not {device!r}.")
    layers = _layers(student, dataset, phenotype)
    if device == MACS:
        return sum(one.mw * one.mh * one.vectors for one in layers) / 1e6
    return dpu_speed.performance(layers, core(device), memory=DPUS[device][1]).latency_ms


def waiting(student: str, dataset: str, phenotype: Phenotype, device: str) -> float:
    """Share of that latency, on a DPU, in layers whose bytes take longer than their products."""
    if DPUS[device][1] == "none":
        return 0.0
    rows = dpu_speed.by_layer(_layers(student, dataset, phenotype), core(device))
    slower = rows[["cycles", "port_cycles"]].max(axis=1)
    return float(slower[rows["bound"] == "ports"].sum() / slower.sum())


def core(device: str) -> Dpu:
    """One core of a DPU of `DPUS`, on a ZCU102 as the thesis has it."""
    return Dpu(DPUS[device][0], 1)


@lru_cache(maxsize=4096)
def _layers(student: str, dataset: str, phenotype: Phenotype) -> tuple[Layer, ...]:
    model, image = _network(student, dataset, phenotype, device="meta")
    return layers_of(model, input_shape=tuple(image.shape[1:]), float_bits=dpu_speed.BITS)


def latencies(
    student: str, dataset: str, networks: Iterable[Sequence[int]], device: str
) -> pd.Series:
    """Latency of each of `networks` (genotypes) on a device, by phenotype: modelled, or measured
    here once and stored.
    """
    genotypes = [[int(gene) for gene in one] for one in networks]
    if device in MODELS:
        phenotypes = [SPACES[student].decode(one) for one in genotypes]
        found = {str(one): modelled(student, dataset, one, device) for one in phenotypes}
        return pd.Series(found, name=device)
    asked = {"student": student, "dataset": dataset, "networks": genotypes, "runtime": device}
    return store.run(timed, **asked).set_index("phenotype")["latency_ms"].rename(device)


def _network(
    student: str, dataset: str, phenotype: Phenotype, *, device: str
) -> tuple[torch.nn.Module, torch.Tensor]:
    """A network with random weights and one image."""
    known = specs.find(dataset)
    inputs = 1 if len(known.image_shape) == 2 else 3
    with torch.random.fork_rng(devices=[]), torch.device(device):
        model = build(student, len(known.classes), inputs=inputs, **sizes(student, phenotype))
        return model, torch.zeros(1, inputs, 32, 32)
