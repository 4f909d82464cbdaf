"""Chapter 15: the readers of chapters 2 to 9 and 17, one a method, and what was timed.

What stored trainings are as networks to compare; `comparison_faraone` has those of chapters 10 to
13 and 18.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import nan
from typing import Any

from qbench import store, sweep
from qbench.distillation import runs as distillation
from qbench.qkd import runs as qkd
from qbench.runtimes import machine
from qbench.runtimes.backends import RUNTIMES
from qbench.studies import evolution_networks, evolution_runs
from qbench.studies.qkd_densenets import titles
from qbench.studies.qkd_perceptrons import TITLES as PERCEPTRONS

from . import devices
from .comparison_costs import FLOAT, Architecture, Design
from .comparison_networks import (
    MIXED,
    Asked,
    Spec,
    Trained,
    accuracy,
    bits_named,
    reader,
    recipe,
    scale,
)
from .devices_networks import plan
from .words import counted

STUDENTS = {"flex_student": "FlexStudent", "resnet8x4": "ResNet8x4"}
STUDENTS |= {"resnet32x4": "ResNet32x4", "mobilenet_v2": "MobileNetV2"}


@reader
def bit_widths(asked: Asked) -> Iterator[Trained]:
    """Chapters 2 and 17, which trains networks of one width for comparison as well."""
    for spec, table in asked.tables(sweep.quant_mlp):
        layout = Architecture("sweep", "tfc", spec["dataset"], spec["hidden"])
        one = sweep.Member(spec["weight_bits"], spec["act_bits"])
        weights, acts = one.layer_bits
        most, plain = (max(weights), max(acts)), min(*weights, *acts) == FLOAT
        mixed = len(set(weights)) > 1 or len(set(acts)) > 1
        by_layer = tuple(zip(weights, (*acts, acts[-1]), strict=True)) if mixed else ()
        bits = bits_named(*most) if plain else sweep.named(one.weight_bits, one.act_bits)
        yield Trained(
            "float32" if plain else MIXED if mixed else "bit-width sweep",
            17 if mixed else 2,
            name=f"perceptron of 3 × {spec['hidden']}, {bits}",
            **scale({**spec, "images": None}),
            accuracy=accuracy(table),
            design=Design(layout, *most, signed_acts=True, layer_bits=by_layer),
            recipe=recipe("sweep", spec),
        )


@reader
def students(asked: Asked) -> Iterator[Trained]:
    """Chapter 6: students, with and without a teacher, and the teachers."""
    times = _latencies(asked)
    every = chain(asked.tables(distillation.student), asked.tables(distillation.teacher))
    for spec, table in every:
        sizes = _sizes_of(spec.get("channels"), spec.get("neurons"))
        teacher = spec.get("teacher")
        name = STUDENTS.get(spec["network"], spec["network"])
        if teacher:
            name += f" taught by {STUDENTS.get(teacher['network'], teacher['network'])}, "
            name += f"α {spec['alpha']:g}, T {spec['temperature']:g}"
        latency, device = times.get((spec["dataset"], spec["network"], sizes), (nan, ""))
        yield Trained(
            "distilled" if teacher else "float32",
            6,
            name=name,
            **scale(spec),
            accuracy=accuracy(table),
            design=Design(Architecture("student", spec["network"], spec["dataset"], sizes)),
            recipe=recipe("student", spec),
            latency_ms=latency,
            measured_on=device,
        )


@reader
def searched(asked: Asked) -> Iterator[Trained]:
    """Chapter 7: every network that a search trained, as selection knew it."""
    for spec, table in asked.tables(evolution_runs.nemokd):
        space = evolution_networks.SPACES[spec["student"]]
        kept = table[table["trained"] & table["test_error"].notna()]
        for row in kept.drop_duplicates("phenotype").to_dict("records"):
            one = space.decode([int(row[name]) for name in space.names])
            sizes = _sizes_of(**evolution_networks.sizes(spec["student"], one))
            timed = spec["device"] != evolution_networks.MACS
            method = "evolved" if spec["search"] == "nsga2" else "random search"
            yield Trained(
                method,
                7,
                name=f"{STUDENTS[spec['student']]}, {one}",
                **scale(spec),
                accuracy=100 - row["test_error"],
                design=_evolved(spec, sizes),
                recipe=recipe(method, spec, phenotype=str(one)),
                latency_ms=float(row["latency_ms"]) if timed else nan,
                measured_on=spec["device"] if timed else "",
            )


@reader
def chosen(asked: Asked) -> Iterator[Trained]:
    """Chapter 7: the networks that were trained for longer at the end."""
    for spec, table in asked.tables(evolution_runs.final):
        for row in table.drop(columns=["onnx", "xml", "bin"], errors="ignore").to_dict("records"):
            sizes = _sizes_of(row["channels"], row["neurons"])
            baseline = row["name"].startswith("baseline")
            method = "evolved" if not baseline else "distilled" if row["taught"] else "float32"
            timed = spec["device"] != evolution_networks.MACS
            yield Trained(
                method,
                7,
                name=f"{STUDENTS[spec['student']]}, {row['name']}, trained for longer",
                **scale(spec),
                accuracy=100 - row["test_error"],
                design=_evolved(spec, sizes),
                recipe=recipe("final", {**spec, "chosen": None}, network=row["name"]),
                latency_ms=float(row["latency_ms"]) if timed else nan,
                measured_on=spec["device"] if timed else "",
            )


@reader
def with_teachers(asked: Asked) -> Iterator[Trained]:
    """Chapters 8 and 9: rounded after training, while learning, with a teacher, by QKD."""
    known = {**PERCEPTRONS, **titles()}
    times = _timed(asked)
    for spec, table in asked.tables(qkd.study):
        weight_bits, act_bits = spec["weight_bits"], spec["act_bits"]
        name = f"{known.get(spec['network'], spec['network'])}, {bits_named(weight_bits, act_bits)}"
        if (weight_bits, act_bits) != (FLOAT, FLOAT):
            of = "neuron or channel" if spec["per_channel"] else "tensor"
            name += f", {spec['quantiser']} ranges, one a {of}"
        if spec["phase"] == "cs":
            name += ", before the last phase"
        if spec["teacher"]:
            name += f", α {spec['alpha']:g}, T {spec['temperature']:g}"
        design = Design(
            Architecture("qkd", spec["network"], spec["dataset"]), weight_bits, act_bits
        )
        latency, device = times.get(recipe("qkd", spec), (nan, ""))
        yield Trained(
            _kind_of_phase(spec),
            8 if spec["network"] in PERCEPTRONS else 9,
            name=name,
            **scale(spec),
            accuracy=accuracy(table),
            design=design,
            recipe=recipe("qkd", spec),
            latency_ms=latency,
            measured_on=device,
        )


def _kind_of_phase(spec: Spec) -> str:
    if spec["phase"] == "ptq":
        return "post-training"
    if spec["phase"] == "cs" or (spec["start"] or {}).get("phase") == "cs":
        return "QKD"
    rounded = (spec["weight_bits"], spec["act_bits"]) != (FLOAT, FLOAT)
    if spec["phase"] == "ts":
        return "QAT + teacher" if rounded else "distilled"
    return "QAT" if rounded else "float32"


def _latencies(asked: Asked) -> dict[tuple, tuple[float, str]]:
    """Latency (ms) and device of architectures that chapter 7 measured at the end."""
    found = {}
    for spec, table in asked.tables(evolution_runs.final):
        if spec["device"] == evolution_networks.MACS:
            continue
        baseline = evolution_networks.SPACES[spec["student"]]
        own = evolution_networks.sizes(spec["student"], baseline.decode(baseline.baseline))
        for row in table.to_dict("records"):
            sizes = _sizes_of(row["channels"], row["neurons"])
            device = f"{spec['device']} (an equal network of chapter 7)"
            time = float(row["latency_ms"]), device
            found[spec["dataset"], spec["student"], sizes] = time
            if sizes == _sizes_of(**own):  # those of a network with no sizes asked for
                found[spec["dataset"], spec["student"], None] = time
    return found


def _timed(asked: Asked) -> dict[str, tuple[float, str]]:
    """By recipe of a DenseNet in float32: its least latency (ms) in chapter 14, and where.

    That of the quickest runtime, with any number of threads, one image at a time on the processor.
    """
    found: dict[str, tuple[float, str]] = {}
    for spec, table in asked.tables(devices.speeds, of="planned"):
        one = plan(spec["planned"])
        if not one.trained:
            continue
        rows = table[(table["precision"] == "float32") & (table["device"] == "cpu")]
        rows = rows[rows["batch"] == 1]
        where = machine.described(spec["on"])
        for form in set(rows["form"]):
            best = rows[rows["form"] == form].sort_values("ms").iloc[0]
            key = recipe("qkd", store.spec(qkd.study, **one.training(form))["parameters"])
            how = f"{RUNTIMES[best['runtime']]} with {counted(int(best['threads']), 'thread')}"
            device = f"{where}; {how}"
            if key not in found or best["ms"] < found[key][0]:  # several machines measured it
                found[key] = float(best["ms"]), device
    return found


def _evolved(spec: Spec, sizes: tuple | None) -> Design:
    """Half precision in the file, float32 while it computes."""
    layout = Architecture("student", spec["student"], spec["dataset"], sizes)
    return Design(layout, memory_bits=16)


def _sizes_of(channels: Any, neurons: Any) -> tuple | None:
    """Sizes of a student as an `Architecture` has them; None for the usual ones."""
    if channels is None and neurons is None:
        return None
    plain = [None if one is None or not len(one) else tuple(map(int, one)) for one in
             (channels, neurons)]  # fmt: skip
    return tuple(plain)
