"""Chapter 15: the readers, one a method: what stored trainings are as networks to compare."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import nan
from typing import Any

from qbench import store, sweep
from qbench.addnet import codebooks
from qbench.addnet import runs as addnet
from qbench.distillation import runs as distillation
from qbench.hardware import rccm
from qbench.models import small
from qbench.pruning import runs as pruning
from qbench.qkd import runs as qkd
from qbench.quantizers.codebook import index_bits
from qbench.sparsity import runs as sparsity
from qbench.studies import evolution_networks, evolution_runs, sparse_ternary
from qbench.studies.qkd_densenets import titles
from qbench.studies.qkd_perceptrons import TITLES as PERCEPTRONS
from qbench.syq import runs as syq

from .comparison_costs import FLOAT, Architecture, Design, sizes_of
from .comparison_networks import (
    MIXED,
    READERS,
    Asked,
    Spec,
    Trained,
    accuracy,
    reader,
    recipe,
    scale,
)

STUDENTS = {"flex_student": "FlexStudent", "resnet8x4": "ResNet8x4"}
STUDENTS |= {"resnet32x4": "ResNet32x4", "mobilenet_v2": "MobileNetV2"}
TERNARY = {"mlp": "MLP of 3 × {:,}", "vgg": "VGG from {:,} channels"}


def everything(asked: Asked) -> list[Trained]:
    """What all readers find."""
    return list(chain.from_iterable(function(asked) for function in READERS))


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
        bits = _bits(*most) if plain else sweep.named(one.weight_bits, one.act_bits)
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
    for spec, table in asked.tables(qkd.study):
        weight_bits, act_bits = spec["weight_bits"], spec["act_bits"]
        name = f"{known.get(spec['network'], spec['network'])}, {_bits(weight_bits, act_bits)}"
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
        yield Trained(
            _kind_of_phase(spec),
            8 if spec["network"] in PERCEPTRONS else 9,
            name=name,
            **scale(spec),
            accuracy=accuracy(table),
            design=design,
            recipe=recipe("qkd", spec),
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


@reader
def ternary(asked: Asked) -> Iterator[Trained]:
    """Chapter 10; what was really encoded has the memory of its run-length codewords."""
    coded = {}
    for spec, table in asked.tables(sparse_ternary.encoded, of="study"):
        sizes = table.groupby("encoding")["megabytes"].sum()
        full = sparsity.complete(spec["study"])
        coded[store.key(store.spec(sparsity.study, **full))] = sizes.get("RLE", nan)
    for spec, table in asked.tables(sparsity.study):
        ended = table.dropna(subset=["test_error"])
        best = (ended if len(ended) else table).iloc[-1]
        binary = _all(spec["eta"], 0)
        layout = Architecture("ternary", spec["network"], spec["dataset"], spec["width"])
        shares = tuple(
            float(best[f"nonzeros_{one.name}"]) / (one.mw * one.mh) for one in sizes_of(layout)
        )
        name = f"{TERNARY[spec['network']].format(spec['width'])}, η = {_shown(spec['eta'])}"
        if spec["sigma"] is not None:
            name += f", pruned at σ = {_shown(spec['sigma'])}"
        if spec["strength"]:
            name += f", L2 {spec['strength']:g}".replace("e-0", "e-")
        name += ", binary activations" if spec["act_bits"] == 1 else ""
        epochs = scale(spec)["epochs"]  # two trainings may differ in nothing else
        key = store.key(store.spec(sparsity.study, **spec))
        design = Design(layout, 1 if binary else 2, spec["act_bits"], nonzeros=shares)
        yield Trained(
            "QAT" if binary else "sparse ternary",
            10,
            name=f"{name}, {epochs:,} epoch{'s' * (epochs > 1)}",
            **scale(spec),
            accuracy=100 - float(best["test_error"]),
            design=design,
            recipe=recipe("ternary", spec),
            memory=1e6 * coded.get(key, nan),
        )


@reader
def scaled(asked: Asked) -> Iterator[Trained]:
    """Chapter 11: SYQ, and what it is compared with."""
    for spec, table in asked.tables(syq.training):
        plain = (spec["method"], spec["act_bits"]) == ("float32", FLOAT)
        how = "SYQ" if spec["method"] == "syq" else spec["method"]
        if spec["granularity"]:
            how += f" by {spec['granularity']}"
        if spec["scale_gradient"] == "printed":
            how += ", gradient as printed"
        yield Trained(
            "SYQ" if spec["method"] == "syq" else "float32" if plain else "QAT",
            11,
            name=f"{_small(spec)}, {how}, {_bits(spec['weight_bits'], spec['act_bits'])}",
            **scale(spec),
            accuracy=accuracy(table),
            design=Design(
                _small_layout(spec),
                spec["weight_bits"],
                spec["act_bits"],
                outer_bits=None if plain else FLOAT,
            ),
            recipe=recipe("syq", spec),
        )


@reader
def adders(asked: Asked) -> Iterator[Trained]:
    """Chapter 12: AddNet, and uniform, ternary and binary weights by the same recipe."""
    for spec, table in asked.tables(addnet.training):
        how = addnet.rounding_of(spec)
        plain = (spec["method"], spec["act_bits"]) == ("float32", FLOAT)
        inner = how.inner() if spec["method"] == "addnet" else None
        outer = codebooks.read(spec["outer"]) if spec["outer"] else None
        named = spec["method"]
        if inner:
            named = f"{len(inner)} coefficients ({_short(codebooks.written(inner))})"
        elif spec["method"] == "uniform":
            named = f"uniform, {spec['weight_bits']} bits"
        yield Trained(
            "AddNet" if inner else "float32" if plain else "QAT",
            12,
            name=f"{_small(spec)}, {named}, A{spec['act_bits']}",
            **scale(spec),
            accuracy=accuracy(table),
            design=Design(
                _small_layout(spec),
                how.stored_bits,
                spec["act_bits"],
                outer_bits=index_bits(outer) if outer else None if plain else FLOAT,
                multiplier=_multiplier(inner),
                outer_multiplier=_multiplier(outer),
            ),
            recipe=recipe("addnet", spec),
        )


@reader
def fewer_filters(asked: Asked) -> Iterator[Trained]:
    """Chapter 13: pruned networks, and those that they come from."""
    for spec, table in asked.tables(pruning.training):
        first = spec
        while first["start"]:
            first = first["start"]
        gone = sum(first["filters"].values()) - sum(spec["filters"].values())
        plain = spec["weights"] == "float32"
        bits = {"binary": 1, "ternary": 2, "float32": FLOAT}[spec["weights"]]
        state = f"{gone} filters pruned by {spec['ranking']}" if gone > 0 else "all filters"
        if spec["start"] and gone <= 0:
            state += ", retrained"
        yield Trained(
            "pruned" if gone > 0 else "float32" if plain else "QAT",
            13,
            name=f"{_small(spec)}, {_bits(bits, spec['act_bits'])}, {state}",
            **scale(spec),
            accuracy=accuracy(table),
            design=Design(
                _small_layout(spec),
                bits,
                spec["act_bits"],
                outer_bits=None if plain else 8,
                filters=() if plain else tuple(spec["filters"].items()),
            ),
            recipe=recipe("pruning", spec),
        )


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


def _multiplier(coefficients: tuple[int, ...] | None) -> tuple[str, int] | None:
    """The smallest RCCM that can have so many coefficients, and the bits of the largest of them."""
    if coefficients is None:
        return None
    select = index_bits(coefficients)
    fitting = {name: rccm.published(name).select_bits for name in rccm.WIRING}
    name = min((n for n, bits in fitting.items() if bits >= select), key=fitting.get)
    return name, int(max(map(abs, coefficients))).bit_length() + 1


def _small_layout(spec: Spec) -> Architecture:
    return Architecture("small", spec["network"], spec["dataset"], spec["width"])


def _small(spec: Spec) -> str:
    return f"{small.TITLES[spec['network']]} × {spec['width']:g}"


def _bits(weights: int, acts: int) -> str:
    return "float32" if (weights, acts) == (FLOAT, FLOAT) else f"W{weights}A{acts}"


def _all(value: Any, wanted: float) -> bool:
    return all(one == wanted for one in (value if isinstance(value, list) else [value]))


def _shown(value: Any) -> str:
    return " / ".join(f"{one:.3g}" for one in (value if isinstance(value, list) else [value]))


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else f"{text[:most].rsplit(' ', 1)[0]} …"
