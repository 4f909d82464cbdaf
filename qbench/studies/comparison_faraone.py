"""Chapter 15: the readers of chapters 10 to 13 and 18: sparse, scaled, made of adders, pruned."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Any

from qbench import store
from qbench.addnet import codebooks
from qbench.addnet import runs as addnet
from qbench.combining import runs as combining
from qbench.hardware import rccm
from qbench.models import small
from qbench.pruning import runs as pruning
from qbench.quantizers.codebook import index_bits
from qbench.sparsity import runs as sparsity
from qbench.studies import sparse_ternary
from qbench.syq import runs as syq

from .combining import left
from .comparison_costs import FLOAT, Architecture, Design, sizes_of
from .comparison_networks import Asked, Spec, Trained, accuracy, bits_named, reader, recipe, scale

TERNARY = {"mlp": "MLP of 3 × {:,}", "vgg": "VGG from {:,} channels"}


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
        name += _weight_loss(spec)
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
            name=f"{_small(spec)}, {how}, {bits_named(spec['weight_bits'], spec['act_bits'])}",
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
            name=f"{_small(spec)}, {bits_named(bits, spec['act_bits'])}, {state}",
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


@reader
def combined(asked: Asked) -> Iterator[Trained]:
    """Chapter 18: scales, zeros and a teacher in one VGG, stored by the code that takes least.

    What has none of the three or one alone is named after that.
    """
    for spec, table in asked.tables(combining.training):
        found = left(table)
        phases = {**spec, "epochs": 2 * spec["epochs"]}  # a training and a retraining
        teacher = spec["teacher"]
        on = {
            "SYQ": f"a scale a {spec['granularity']}" if spec["granularity"] != "layer" else "",
            "sparse ternary": f"pruned at σ = {spec['sigma']:.3g}" + _weight_loss(spec)
            if spec["sigma"]
            else "",
            "QAT + teacher": f"taught by {teacher['network']}, α {spec['alpha']:g}, "
            f"T {spec['temperature']:g}"
            if teacher
            else "",
        }
        methods = [name for name, words in on.items() if words]
        parts = [TERNARY["vgg"].format(spec["width"]), f"η = {spec['eta']:.3g}", *on.values()]
        parts.append(f"{phases['epochs']:,} epochs")
        yield Trained(
            "combined" if len(methods) > 1 else methods[0] if methods else "QAT",
            18,
            name=", ".join(filter(None, parts)),
            **scale(phases),
            accuracy=100 - found["test_error"],
            design=Design(Architecture("ternary", "vgg", spec["dataset"], spec["width"]), 2, FLOAT),
            recipe=recipe("combined", spec),
            memory=found["bits"] / 8,
        )


def _weight_loss(spec: Spec) -> str:
    """L2's λ behind a comma; empty without it."""
    return f", L2 {spec['strength']:g}".replace("e-0", "e-") if spec["strength"] else ""


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


def _all(value: Any, wanted: float) -> bool:
    return all(one == wanted for one in (value if isinstance(value, list) else [value]))


def _shown(value: Any) -> str:
    return " / ".join(f"{one:.3g}" for one in (value if isinstance(value, list) else [value]))


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else f"{text[:most].rsplit(' ', 1)[0]} …"
