"""Chapter 05: the best foldings of the perceptron, and all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd

from qbench import hardware
from qbench.hardware import Folding, HardwareError, mvtu
from qbench.hardware.folding import divisors
from qbench.studies.folding import RESOURCES, Setup
from qbench.studies.words import layer

SAME, BEST = "same for all layers", "best for each layer"


def searched_designs(
    setup: Setup, configurations: Iterable[str], frame_rate: float
) -> tuple[dict[str, Folding], dict[str, Folding | str]]:
    """The fastest folding of each configuration, and the cheapest with `frame_rate`.

    In place of a cheapest one that does not fit, the reason. Raises `HardwareError`, one sentence,
    where a configuration fits in no folding, or where the network cannot have that frame rate on
    any device.
    """
    fastest = {name: setup.fastest(name) for name in configurations}
    cheapest: dict[str, Folding | str] = {}
    for name in configurations:
        setup.cheapest(name, frame_rate)
        try:
            cheapest[name] = setup.cheapest(name, frame_rate, setup.device)
        except HardwareError as error:
            cheapest[name] = str(error)
    return fastest, cheapest


def trade_off(setup: Setup, configurations: Iterable[str], most_share: float = 200) -> pd.DataFrame:
    """Frame rate and LUTs of foldings: one for all layers, and the cheapest for each frame rate.

    Columns `configuration`, `foldings`, `design` and `Setup.measures`. `foldings` is `SAME`, PE =
    SIMD a power of two, up to `most_share` % of the LUTs; or `BEST`, at every frame rate that the
    first layer can set, as far as it fits.
    """
    rows = []
    for name in configurations:
        for number in (2**n for n in range(11)):
            measures = setup.measures(setup.uniform(name, number, number))
            if number <= setup.hidden and measures["lut_share"] <= most_share:
                rows.append((name, SAME, f"{number}/{number}", measures))
        for cycles in _cycles(setup.layers(name)[0], setup.most_simd):
            rate = setup.clock / (cycles + setup.overhead_cycles)
            try:
                folding = setup.cheapest(name, rate, setup.device)
            except HardwareError:  # nor does any faster one fit
                break
            design = ", ".join(f"{fold.pe}/{fold.simd}" for fold in folding.folds)
            rows.append((name, BEST, design, setup.measures(folding)))
    return pd.DataFrame(
        {"configuration": name, "foldings": kind, "design": design} | measures
        for name, kind, design, measures in rows
    )


def compared(setup: Setup, designs: pd.DataFrame, fastest: Mapping[str, Folding]) -> pd.DataFrame:
    """The fastest folding of each configuration beside the fastest of `designs` that fits.

    `designs` from `folding.uniform_designs`. Columns `configuration`, `uniform` ("16/16", or
    "none"), `uniform_rate`, `Setup.measures` of the fastest, `times` (rates divided), and
    of the next faster folding `next_rate` (1/s), `next_share` (of the resource that it uses most,
    %) and `next_need`, the same in words.
    """
    rows = []
    for name, folding in fastest.items():
        fitting = designs[(designs["configuration"] == name) & designs["fits"]]
        fitting = fitting.sort_values("frame_rate")
        measures = setup.measures(folding)
        row = {"configuration": name, "uniform": "none", "uniform_rate": float("nan")}
        if len(fitting):
            number = fitting["pe_simd"].iloc[-1]
            row |= {"uniform": f"{number}/{number}", "uniform_rate": fitting["frame_rate"].iloc[-1]}
        row |= measures | {"times": measures["frame_rate"] / row["uniform_rate"]}
        rows.append(row | _next_step(setup, name, measures["cycles"] - setup.overhead_cycles))
    return pd.DataFrame(rows)


def _next_step(setup: Setup, configuration: str, cycles: int) -> dict[str, Any]:
    """The folding with fewer cycles in the first layer, and else as few LUTs as it can have."""
    first = setup.layers(configuration)[0]
    fewer = [c for c in _cycles(first, setup.most_simd) if c < cycles]
    if not fewer:
        return {"next_rate": float("nan"), "next_share": float("nan"), "next_need": "–"}
    rate = setup.clock / (max(fewer) + setup.overhead_cycles)
    measures = setup.measures(setup.cheapest(configuration, rate))
    share = np.nanmax([measures[f"{name}_share"] for name in RESOURCES])
    return {
        "next_rate": measures["frame_rate"],
        "next_share": share,
        "next_need": f"{measures['first']} {share:.0f} %",
    }


def _cycles(layer: hardware.Layer, most_simd: int) -> list[int]:
    """All numbers of cycles that a fully connected layer can take, most first."""
    wide = [simd for simd in divisors(layer.mw) if simd <= most_simd]
    taken = {layer.mh // pe * (layer.mw // simd) for pe in divisors(layer.mh) for simd in wide}
    return sorted(taken, reverse=True)


def layers_of(foldings: Mapping[str, Folding]) -> pd.DataFrame:
    """A row a layer of each folding: configuration, layer, size, pe, simd, cycles, lut, bram18."""
    parts = [
        folding.table().assign(
            configuration=name,
            size=lambda t: t["mw"].astype(str) + "×" + t["mh"].astype(str),
            name=lambda t: t["name"].map(layer),
        )
        for name, folding in foldings.items()
    ]
    columns = ["configuration", "name", "size", "pe", "simd", "cycles", "lut", "bram18"]
    return pd.concat(parts, ignore_index=True)[columns].rename(columns={"name": "layer"})


def cheapest_compared(
    setup: Setup, designs: pd.DataFrame, cheapest: Mapping[str, Folding | str]
) -> pd.DataFrame:
    """The cheapest folding of each configuration beside the smallest of `designs` as fast.

    Columns `configuration`, `uniform`, `uniform_lut_share`, `lut_share` (%), `part` (one divided by
    the other, %), `frame_rate` (1/s), `folds` (PE/SIMD of each layer, or why there is none).
    """
    rows = []
    for name, found in cheapest.items():
        if isinstance(found, str):
            rows.append({"configuration": name, "folds": found})
            continue
        measures = setup.measures(found)
        row = {"configuration": name, "uniform": "none"}
        row |= {key: measures[key] for key in ("lut_share", "frame_rate")}
        row["folds"] = ", ".join(f"{fold.pe}/{fold.simd}" for fold in found.folds)
        same = designs[designs["configuration"] == name]
        same = same[same["frame_rate"] >= measures["frame_rate"]].sort_values("lut")
        if len(same):
            number, share = same["pe_simd"].iloc[0], same["lut_share"].iloc[0]
            row |= {"uniform": f"{number}/{number}", "uniform_lut_share": share}
            row["part"] = 100 * measures["lut_share"] / share
        rows.append(row)
    columns = ["configuration", "uniform", "uniform_lut_share", "lut_share", "part", "frame_rate"]
    return pd.DataFrame(rows).reindex(columns=[*columns, "folds"])


def every_uniform_design(setup: Setup, pe_simd: Sequence[int]) -> pd.DataFrame:
    """All 64 configurations of 1 to 8 bits with every PE and SIMD of `pe_simd`, worked out at once.

    One call of `mvtu.estimate` a layer, on arrays over all designs. Columns `weight_bits`,
    `act_bits`, `pe`, `simd`, `lut_share` (%), `fits` and `frame_rate` (1/s).
    """
    widths = np.arange(1, 9)
    w, a, pe, simd = (
        axis.ravel() for axis in np.meshgrid(widths, widths, pe_simd, pe_simd, indexing="ij")
    )
    layers = setup.layers("W1A1")  # their sizes; the bits are the arrays
    costs = [
        mvtu.estimate(
            layer.mw,
            layer.mh,
            _largest_divisor(layer.mh, pe),
            _largest_divisor(layer.mw, simd),
            w,
            layer.act_bits if layer is layers[0] else a,
            out_bits=None if layer is layers[-1] else a,
            signed_input=layer.signed_input,
            **setup.storage,
        )
        for layer in layers
    ]
    total = reduce(add, costs)
    use = hardware.fit(total, setup.device)
    return pd.DataFrame(
        {
            "weight_bits": w,
            "act_bits": a,
            "pe": pe,
            "simd": simd,
            "lut_share": 100 * use.shares["lut"],
            "fits": use.fits,
            "frame_rate": setup.clock / (total.cycles + setup.overhead_cycles),
        }
    )


def _largest_divisor(number: int, most: np.ndarray) -> np.ndarray:
    """The largest divisor of `number` up to each of `most`."""
    known = np.array(divisors(number))
    return known[np.searchsorted(known, most, side="right") - 1]


def fastest_of_all(setup: Setup) -> pd.DataFrame:
    """Frame rate (1/s, NaN where nothing fits) of the fastest folding of all 64 configurations."""
    rows = []
    for w in range(1, 9):
        for a in range(1, 9):
            rate = float("nan")
            with suppress(HardwareError):
                rate = setup.measures(setup.fastest(f"W{w}A{a}"))["frame_rate"]
            rows.append((w, a, rate))
    return pd.DataFrame(rows, columns=["weight_bits", "act_bits", "frame_rate"])
