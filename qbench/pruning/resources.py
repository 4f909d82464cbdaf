"""Operations, reuse and block RAM (Faraone 2021, eqs. 4.5 to 4.7), and designs for an FPGA.

A design gives every layer the parallelism with the fewest LUTs that keeps to a number of cycles
between frames. That number is the thesis' Reuse, the same for all layers where throughput is
matched. Weights of 8 bits are multiplied in DSPs, others in LUTs (section 4.6.2). A design is made

- of FINN's units as they are: one output pixel at a time, from a sliding window that takes K²
  cycles a pixel; each layer's is the one that `qbench.hardware.cheapest` finds; or
- with `mmv`, the thesis' third parallelism, output pixels at once (section 4.6.2): multipliers and
  adders as often as there are pixels, weights and lines of the image once. The window unit is taken
  to keep up, as section 4.7.1.1 asks of it. Without MMV AlexNet takes 422,592 cycles a frame at
  least, for its first window alone, and the thesis has 24,303.

Eq. 4.7 buffers whole feature maps, where FINN's sliding windows keep a few lines: `memory` counts
by the thesis, a `Design` by FINN.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, reduce
from math import gcd
from operator import add
from typing import TYPE_CHECKING

import numpy as np

from qbench.hardware import Cost, Device, Layer, device, estimate, fit, sliding_window
from qbench.hardware.folding import divisors
from qbench.hardware.mvtu import bram18
from qbench.numbers import number, whole

from .errors import PruningError
from .shapes import Counts, Network

if TYPE_CHECKING:
    import pandas as pd

DSP_WEIGHTS = 8  # bits of weights from which on DSPs multiply
BLOCK = 18 * 1024  # bits of a BRAM18
COSTS = ("cycles", "lut", "bram18", "dsp")


def operations(layer: Layer) -> int:
    """Multiply-accumulates a frame: K·K·I·N·F·F with F the side of the output, eq. 4.5."""
    return layer.mw * layer.mh * layer.vectors


def reuse(operations: int, pe: int) -> int:
    """⌈OPS/PE⌉: how often `pe` processing elements are used a frame, eq. 4.6."""
    return -(-_count("operations", operations) // _count("pe", pe))


def elements(operations: int, reuse: int) -> int:
    """The fewest processing elements that are used at most `reuse` times: ⌈OPS/Reuse⌉."""
    return -(-_count("operations", operations) // _count("reuse", reuse))


def feature_map_blocks(maps: int, size: int, reuse: int, words: int) -> int:
    """⌈I·F·F·(Reuse − 1)/(Reuse·B_w)⌉ block RAMs for `maps` of `size`² pixels, eq. 4.7.

    `words` is B_w, the pixels that one block holds. The maps are those which the layer gives; the
    thesis prints I and F with the index of the layer before.
    """
    values = _count("maps", maps) * _count("size", size) ** 2
    reuse, words = _count("reuse", reuse), _count("words", words)
    return -(-values * (reuse - 1) // (reuse * words))


def words(act_bits: int) -> int:
    """B_w: words of so many bits in one block RAM of 18 kbit, at the width nearest above."""
    return next(deep for deep in (16384, 8192, 4096, 2048, 1024) if bram18(act_bits, deep) == 1)


def shares(network: Network, counts: Counts | None = None) -> pd.DataFrame:
    """Operations and memory of each layer, as Tables 4.1 and 4.2 have them.

    Columns: `layer`, `operations`, `operations_share` (%), `weight_bits` and `map_bits` (bits of
    all weights, and of the maps that enter) and `memory_share` (% of the convolutions' bits; NaN
    for the others). The thesis does not say how it counts memory.
    """
    import pandas as pd

    units = network.units(counts)
    rows = []
    for name, group in units.items():
        window = group[0].window
        size = sum(one.input_values * one.act_bits for one in group) if window else 0
        stored = sum(one.mw * one.mh * one.weight_bits for one in group)
        rows.append((name, sum(map(operations, group)), stored, size, window is not None))
    columns = ["layer", "operations", "weight_bits", "map_bits", "convolution"]
    found = pd.DataFrame(rows, columns=columns)
    bits = (found["weight_bits"] + found["map_bits"]).where(found.pop("convolution"))
    found["operations_share"] = 100 * found["operations"] / found["operations"].sum()
    found["memory_share"] = 100 * bits / bits.sum()
    return found[
        ["layer", "operations", "operations_share", "weight_bits", "map_bits", "memory_share"]
    ]


def memory(network: Network, counts: Counts | None = None, *, reuse: int) -> dict[str, int]:
    """Block RAMs of each layer as the thesis counts them: its output maps by eq. 4.7, its weights.

    Weights fill blocks to the last bit. The last layer's output leaves the device.
    """
    units, found = network.units(counts), {}
    for place, (name, group) in enumerate(units.items()):
        stored = sum(one.mw * one.mh * one.weight_bits for one in group)
        found[name] = -(-stored // BLOCK)
        window = group[0].window
        if window and place < len(units) - 1:
            maps = sum(one.mh for one in group)
            found[name] += feature_map_blocks(maps, window.out_size, reuse, words(network.act_bits))
    return found


@dataclass(frozen=True)
class Unit:
    """One layer, or one group of it, folded: `mmv` output pixels at once, and what that takes."""

    layer: Layer
    pe: int
    simd: int
    mmv: int
    cost: Cost


@dataclass(frozen=True)
class Design:
    """Units for every layer of a network, each with at most `interval` cycles a frame."""

    interval: int
    units: dict[str, tuple[Unit, ...]]

    @cached_property
    def costs(self) -> dict[str, Cost]:
        """What each layer takes, its groups together."""
        return {
            name: reduce(add, (one.cost for one in group)) for name, group in self.units.items()
        }

    @cached_property
    def cost(self) -> Cost:
        """What the network takes; `cycles` are those of the slowest layer."""
        return reduce(add, self.costs.values())

    @property
    def pe(self) -> dict[str, int]:
        """Processing elements of each layer, of all its groups: they divide its filters."""
        return {name: sum(one.pe for one in group) for name, group in self.units.items()}

    def table(self) -> pd.DataFrame:
        """A row a layer: layer, filters, pe, simd, mmv, operations, cycles, lut, bram18, dsp."""
        import pandas as pd

        rows = []
        for name, group in self.units.items():
            row = {"layer": name, "filters": sum(one.layer.mh for one in group)}
            row |= {"pe": self.pe[name], "simd": group[0].simd, "mmv": group[0].mmv}
            row["operations"] = sum(operations(one.layer) for one in group)
            cost = self.costs[name]
            rows.append(row | {part: getattr(cost, part) for part in COSTS})
        return pd.DataFrame(rows)


def design(
    network: Network, counts: Counts | None = None, *, interval: int, mmv: bool = True
) -> Design:
    """Every layer's folding with the fewest LUTs within `interval` cycles a frame.

    Raises `PruningError` where, without `mmv`, a layer takes longer even unfolded, and as
    `Network.counted`.
    """
    interval = _count("interval", interval)
    made = _with_mmv if mmv else _without_mmv
    units = network.units(counts).items()
    return Design(interval, {n: tuple(made(u, interval) for u in group) for n, group in units})


def quickest(
    network: Network,
    counts: Counts | None = None,
    *,
    on: str | Device,
    share: float = 1.0,
    mmv: bool = True,
) -> Design:
    """The design with the fewest cycles that keeps to `share` of each resource of a device.

    Step 3 of algorithm 3: reuse rises from the least one until the design fits; by bisection, so
    where block RAM alone is short a somewhat quicker one may exist.
    Raises `PruningError` where none fits, naming the resource that runs out first.
    """
    target = device(on)
    if not number(share) or not 0 < share <= 1:
        raise PruningError(f"share must be above 0 and at most 1, not {share!r}.")
    units = [unit for group in network.units(counts).values() for unit in group]
    low = 1 if mmv else max(int(unit.cost(unit.mh, unit.mw).cycles) for unit in units)
    high = max(low, *(int(unit.cost(1, 1).cycles) for unit in units))
    found = design(network, counts, interval=high, mmv=mmv)
    if not fits(found, target, share):
        name = fit(found.cost, target).first
        raise PruningError(
            f"even fully folded {network.name} does not fit {share:.0%} of the {target}: it takes "
            f"{getattr(found.cost, name):,} {name} of {getattr(target, name):,}."
        )
    while low < high:
        middle = (low + high) // 2
        tried = design(network, counts, interval=middle, mmv=mmv)
        if fits(tried, target, share):
            found, high = tried, middle
        else:
            low = middle + 1
    return found


def fits(made: Design, on: str | Device, share: float = 1.0) -> bool:
    """Whether a design keeps to `share` of every resource that is known of it."""
    return max(part for part in fit(made.cost, on).shares.values() if part >= 0) <= share


@lru_cache(maxsize=100_000)
def _without_mmv(layer: Layer, interval: int) -> Unit:
    """As `hardware.cheapest` of this layer: without a device, no layer depends on another."""
    pe, simd, cost = _foldings(layer, window=True)
    can = np.flatnonzero(cost.cycles <= interval)
    if not len(can):
        raise PruningError(
            f"interval must be at least {cost.cycles.min():,} cycles a frame, which {layer.name} "
            f"takes unfolded, not {interval:,}."
        )
    best = can[np.lexsort((cost.dsp[can], cost.bram18[can], cost.lut[can]))[0]]
    parts = {name: int(getattr(cost, name)[best]) for name in COSTS}
    return Unit(layer, int(pe[best]), int(simd[best]), 1, Cost(ff=float("nan"), **parts))


@lru_cache(maxsize=100_000)
def _with_mmv(layer: Layer, interval: int) -> Unit:
    pe, simd, cost = _foldings(layer, window=False)
    can = np.flatnonzero(cost.cycles <= interval)
    turns = interval // cost.cycles[can]  # times that a unit can start within a frame
    mmv = -(-layer.vectors // turns)
    luts, blocks = mmv * cost.lut[can], cost.bram18[can]
    best = np.lexsort((mmv * cost.dsp[can], blocks, luts))[0]
    at, times = can[best], int(mmv[best])
    frame = int(cost.cycles[at]) * -(-layer.vectors // times)
    sums = int(luts[best]), float("nan"), int(blocks[best]), times * int(cost.dsp[at]), frame
    total = Cost(*sums)
    if layer.window:
        one = layer.window
        lanes = gcd(int(simd[at]), one.channels)
        sizes = one.channels, one.kernel, one.size, lanes, layer.act_bits
        lines = sliding_window(*sizes, stride=one.stride, padding=one.padding)
        total = replace(total, lut=total.lut + lines.lut, bram18=total.bram18 + lines.bram18)
    return Unit(layer, int(pe[at]), int(simd[at]), times, total)


@lru_cache(maxsize=1000)
def _foldings(layer: Layer, *, window: bool) -> tuple[np.ndarray, np.ndarray, Cost]:
    """All PE and SIMD of a layer, and what they take: with its window unit a frame, without it one
    output pixel.
    """
    pe, simd = (a.ravel() for a in np.meshgrid(divisors(layer.mh), divisors(layer.mw)))
    how = {"multipliers": "dsp" if layer.weight_bits >= DSP_WEIGHTS else "lut"}
    if window:
        cost = layer.cost(pe, simd, **how)
    else:
        how |= {"out_bits": layer.out_bits, "signed_input": layer.signed_input}
        cost = estimate(layer.mw, layer.mh, pe, simd, layer.weight_bits, layer.act_bits, **how)
    wide = {name: np.broadcast_to(getattr(cost, name), pe.shape) for name in COSTS}
    return pe, simd, replace(cost, **wide)


def _count(name: str, value: int) -> int:
    if not whole(value) or value < 1:
        raise PruningError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return value
