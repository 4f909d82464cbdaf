"""Chapter 16: the book's stored networks as candidates for a device.

An `Offer` is all that the page needs, in numbers that are rounded once: the page's script and the
tables of the notebook choose among the same. Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from math import isnan, nan
from typing import Any

import pandas as pd

from qbench import hardware
from qbench.data import specs as specs_of
from qbench.hardware import Folding, HardwareError, Layer
from qbench.parameters import Choice
from qbench.parameters.choice import CPU

from . import comparison_costs as costs
from .comparison import design_of, outcome, rccm_luts, recipes, stored_bytes
from .comparison_networks import Asked, Trained
from .folding import Setup

#: Frame rates that designs are looked for at, besides what is asked for and the highest.
RATES = (30.0, 1e3, 1e4, 1e5, 1e6)
RESOURCES = costs.RESOURCES
COLUMNS = ["network", "accuracy", "half", "rate", *RESOURCES, "share", "resource", "energy"]


@dataclass(frozen=True)
class Offer:
    """Networks and what each device makes of them.

    - `networks`: of each its words and numbers, as `_about` has them; `design` counts `designs`;
    - `designs`: of each, device -> (frames/s, LUTs, BRAM18, DSPs) a folding; unknown use is None;
    - `devices`: an FPGA's resources by name, None for a CPU;
    - `missing`: of each design, device -> why it has none there.
    """

    networks: list[dict[str, Any]]
    designs: list[dict[str, list[tuple[float | None, ...]]]]
    devices: dict[str, dict[str, int] | None]
    missing: list[dict[str, str]] = field(default_factory=list)


def offer(p: Choice) -> Offer:
    """Every stored network of the data sets that the page offers, on the devices that it offers."""
    published = p.stored == "published"
    luts = rccm_luts(published)
    groups = recipes(Asked(tuple(p.offered_datasets), published))
    groups = [group for group in groups if outcome(group)[2]]
    devices = {name: _resources(name) for name in p.offered_devices}
    fpgas = {name: costs.Terms(_setup(p, name), luts=luts) for name in devices if name != CPU}
    places: dict[str, int] = {}  # many networks, and all in float32, are the same to every device
    networks, designs, missing = [], [], []
    for group in groups:
        design = design_of(group)
        made, why = {}, {}
        for name, terms in fpgas.items():
            made[name], why[name] = implementations(design, terms, rates(p))
        place = places.setdefault(repr((made, why)), len(places))
        if place == len(designs):
            designs.append(made)
            missing.append(why)
        networks.append(_about(group, design) | {"design": place})
    return Offer(networks, designs, devices, missing)


def _setup(p: Choice, device: str) -> Setup:
    return Setup(
        device=device,
        clock=1e6 * p.clock_mhz,
        share=p.share,
        most_simd=p.most_simd,
        threshold_storage=p.threshold_storage,
    )


def rates(p: Choice) -> tuple[float, ...]:
    """Frame rates that designs are looked for at, what is asked for among them."""
    return tuple(sorted({*RATES, *([p.frames_per_second] if p.frames_per_second else [])}))


def _resources(device: str) -> dict[str, int] | None:
    if device == CPU:
        return None
    found = hardware.device(device)
    return {name: getattr(found, name) for name in RESOURCES}


def _about(group: Sequence[Trained], design: costs.Design) -> dict[str, Any]:
    """What is known of a network whatever the device. `cpu`: frames/s, where its time was taken."""
    one = group[0]
    mean, half, each = outcome(group)
    plain = min(design.weight_bits, design.act_bits) >= costs.FLOAT
    both = f"{design.weight_bits} / {design.act_bits}"
    return {
        "name": one.name,
        "dataset": one.dataset,
        "method": one.method,
        "chapter": one.chapter,
        "bits": "float32" if plain else "by layer" if design.layer_bits else both,
        "accuracy": round(mean, 4),
        "half": None if isnan(half) else round(half, 4),
        "energy": _digits(1e6 * costs.energy(design)),
        "memory": _digits(stored_bytes(group, design) / 1e3),
        "trained": trained(one.dataset, one.images, one.epochs, len(each), min(each), mean),
        "images": one.images,
        "whole": one.images == specs_of.find(one.dataset).split["train"],
        "cpu": _digits(1e3 / one.latency_ms) if one.latency_ms == one.latency_ms else None,
    }


def trained(dataset: str, images: int, epochs: int, seeds: int, worst: float, mean: float) -> str:
    """At what scale a network was trained, and what follows for a comparison."""
    there = specs_of.find(dataset).split["train"]
    ended = f"{seeds} seeds, the worst with {worst:.2f} %" if seeds > 1 else "one seed"
    passes = "1 epoch" if epochs == 1 else f"{epochs:,} epochs"
    if images == there:
        return f"Trained on all {there:,} images, {passes}, {ended}."
    few = "so compare with others that saw as many only"
    return f"Trained on {images:,} of {there:,} images, {passes}, {ended}: {few}."


@lru_cache(maxsize=10_000)
def implementations(
    design: costs.Design, terms: costs.Terms, rates: tuple[float, ...] = RATES
) -> tuple[list[tuple[float | None, ...]], str]:
    """Foldings of a design on an FPGA, slowest first, or why there are none.

    For each frame rate the folding whose most used resource is used least, if the device has room
    for it, and the fastest within the share of the device that `terms` allow. A row has frames/s,
    LUTs, BRAM18, DSPs. An accelerator for sparse weights fills the share; its block RAM is unknown.
    """
    target = hardware.device(terms.setup.device)
    if design.nonzeros:
        rate, _, why = costs.speed(design, terms)
        share = terms.setup.share
        full = (round(rate, 1), round(share * target.lut), None, round(share * target.dsp))
        return ([] if why else [full]), why
    if not design.whole_numbers:
        return [], costs.FLOAT_UNITS
    try:
        layers = costs.layers(design, terms)
    except HardwareError as error:
        return [], str(error).rstrip(".")
    found = []
    for rate in rates:
        with suppress(HardwareError):
            found.append(least(layers, rate, terms.setup))
    try:
        found.append(_fastest(layers, terms.setup))
    except HardwareError as error:
        if not found:
            return [], str(error).rstrip(".")
    rows = {_row(folding, terms.setup) for folding in found}
    return sorted(rows, key=lambda row: row[0]), ""


def least(layers: tuple[Layer, ...], rate: float, setup: Setup) -> Folding:
    """The folding with a frame rate that uses least of the device's most used resource.

    Where the folding with the fewest LUTs uses LUTs most, none can use less of its most used
    resource; likewise for block RAM. So the search for a device is only done where neither is so.
    Raises `HardwareError` where the rate cannot be had, or the device has no room.
    """
    target = hardware.device(setup.device)
    for resource in ("lut", "bram18"):
        folding = _with_least(layers, rate, resource, _without_device(setup))
        fit = hardware.fit(folding.cost, target)
        if fit.first == resource and fit.fits:
            return folding
    return hardware.cheapest(layers, rate, target, objective="share", **_how(setup))


def _without_device(setup: Setup) -> tuple[tuple[str, Any], ...]:
    return tuple(_how(setup).items())


def _how(setup: Setup) -> dict[str, Any]:
    how = {"clock": setup.clock, "overhead_cycles": setup.overhead_cycles}
    return how | {"most_simd": setup.most_simd} | setup.storage


@lru_cache(maxsize=10_000)
def _with_least(layers: tuple[Layer, ...], rate: float, resource: str, how: tuple) -> Folding:
    return hardware.cheapest(layers, rate, objective=resource, **dict(how))


@lru_cache(maxsize=10_000)
def _fastest(layers: tuple[Layer, ...], setup: Setup) -> Folding:
    limits = {"share": setup.share, "most_simd": setup.most_simd}
    return hardware.fastest(layers, setup.device, **limits, **setup.storage)


def _row(folding: Folding, setup: Setup) -> tuple[float | None, ...]:
    how = {"clock": setup.clock, "overhead_cycles": setup.overhead_cycles}
    rate = hardware.performance(folding, **how).frame_rate
    return round(rate, 1), *(int(getattr(folding.cost, name)) for name in RESOURCES)


def candidates(every: Offer, dataset: str, device: str) -> pd.DataFrame:
    """The networks of a data set in every folding on a device: `COLUMNS`, as `choice` reads them.

    `network` counts `every.networks`; resources that are not known are NaN.
    """
    there = every.devices[device]
    rows = []
    for number, one in enumerate(every.networks):
        if one["dataset"] != dataset:
            continue
        half = nan if one["half"] is None else one["half"]
        shared = {"network": number, "accuracy": one["accuracy"], "half": half}
        shared |= {"energy": one["energy"]}
        if there is None:
            if one["cpu"] is not None:
                alone = {"rate": one["cpu"], "share": 0.0, "resource": one["memory"]}
                rows.append(shared | alone)
            continue
        for rate, *use in every.designs[one["design"]].get(device, []):
            known = dict(zip(RESOURCES, use, strict=True))
            share = max(v / there[name] for name, v in known.items() if v is not None)
            rows.append(shared | known | {"rate": rate, "share": share, "resource": share})
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[1:], float))


def missing(every: Offer, dataset: str, device: str) -> pd.DataFrame:
    """Why networks of a data set are no candidates on a device: `why`, `networks`, `methods`."""
    rows = []
    for one in every.networks:
        if one["dataset"] == dataset:
            why = "" if one["cpu"] is not None else "no latency on a CPU was measured"
            if device != CPU:
                why = every.missing[one["design"]].get(device, "")
            rows.append({"why": why.partition(" first, of which")[0], "method": one["method"]})
    frame = pd.DataFrame(rows, columns=["why", "method"])
    groups = frame[frame["why"] != ""].groupby("why", sort=False)["method"]
    return groups.agg(
        networks="size", methods=lambda of: ", ".join(dict.fromkeys(of))
    ).reset_index()


def words(every: Offer, row: Mapping[str, Any]) -> dict[str, Any]:
    """The network that a candidate is of."""
    return every.networks[int(row["network"])]


def _digits(value: float) -> float:
    """Six significant digits: more are not read, and none is lost on the way to the page."""
    return float(f"{value:.6g}")
