"""Chapter 17: bits for every layer: the networks, what they cost, how sensitive each layer is.

What Stewart et al. 2021, section 5.2.2, leave as future work. A network here is seven numbers, its
`Bits`: those of the weights of four layers, then those of the activations behind three of them.
`mixed_precision_runs` searches, `mixed_precision_tables` compares and concludes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from qbench import evolution, hardware, sweep
from qbench.evolution import Gene, Space
from qbench.hardware import HardwareError, Layer
from qbench.parameters import MixedPrecision
from qbench.studies.folding import Setup

WEIGHTS = ("linear1", "linear2", "linear3", "linear4")
ACTS = ("act1", "act2", "act3")
LAYERS = (*WEIGHTS, *ACTS)
MISFIT = 1e-9  # the least that a network which does not fit is beyond the device

Bits = tuple[int, ...]


def named(bits: Sequence[int]) -> str:
    """`W2A2` where all layers agree, else such as `W1-2-2-4 A2-2-1`."""
    return str(member(bits, 0)).removesuffix(" seed 0")


def member(bits: Sequence[int], seed: int, **recipe: float) -> sweep.Member:
    """The network as one of a sweep."""
    return sweep.Member(tuple(bits[: len(WEIGHTS)]), tuple(bits[len(WEIGHTS) :]), seed, **recipe)


def homogeneous(weight_bits: int, act_bits: int) -> Bits:
    """One width for all weights and one for all activations, as in chapter 2."""
    return (weight_bits,) * len(WEIGHTS) + (act_bits,) * len(ACTS)


def is_homogeneous(bits: Sequence[int]) -> bool:
    return len(set(bits[: len(WEIGHTS)])) == len(set(bits[len(WEIGHTS) :])) == 1


def every_homogeneous(p: MixedPrecision) -> list[Bits]:
    """All of them within the page's bits."""
    widths = range(p.least_bits, p.most_bits + 1)
    return [homogeneous(*pair) for pair in product(widths, widths)]


def space_of(least_bits: int, most_bits: int, searched: Iterable[str]) -> Space:
    """The networks that a search may try; what is not `searched` keeps `most_bits`."""
    genes = tuple(
        Gene(
            name,
            "weight_bits" if name in WEIGHTS else "act_bits",
            least_bits if name in searched else most_bits,
            most_bits,
        )
        for name in LAYERS
    )
    return Space("bits by layer", genes, baseline=(most_bits,) * len(LAYERS))


def bits_of(phenotype: evolution.Phenotype) -> Bits:
    return phenotype.weight_bits + phenotype.act_bits


# Cost


def setup_of(p: MixedPrecision) -> Setup:
    """Device, clock and how units are built; what is not a parameter is as in chapter 5."""
    same = ("hidden", "device", "share", "threshold_storage")
    return Setup(clock=1e6 * p.clock_mhz, **{name: getattr(p, name) for name in same})


@dataclass(frozen=True)
class Price:
    """What a network takes of the device in its cheapest folding for the frame rate.

    `cost` is what the page counts; `lut` and `bram18` are numbers of these, `share` the share of
    the resource that is used most, in %. `beyond` is 0 where the network keeps to what it may use,
    else by how much it goes beyond that, as a share of it.
    """

    cost: float
    lut: int
    bram18: int
    share: float
    beyond: float


class Prices:
    """The price of any network: FINN's formulas in the folding that is cheapest at `frame_rate`.

    `cost` is what foldings are chosen by: `lut`, `bram18` or `share`. Raises `HardwareError` for a
    frame rate that no folding reaches on any device.
    """

    def __init__(self, setup: Setup, frame_rate: float, cost: str) -> None:
        self.setup, self.frame_rate, self.cost = setup, frame_rate, cost
        self._known: dict[Bits, Price] = {}

    @classmethod
    def of(cls, p: MixedPrecision) -> Prices:
        """As the page's parameters say. Raises `HardwareError` where not even the network with the
        fewest bits fits the device."""
        prices = cls(setup_of(p), p.frame_rate, p.cost)
        least = [p.least_bits if name in p.searched else p.most_bits for name in LAYERS]
        prices.folding(tuple(least), p.device)
        return prices

    def layers(self, bits: Bits) -> tuple[Layer, ...]:
        """The network as the cost model sees it."""
        weights, acts = bits[: len(WEIGHTS)], bits[len(WEIGHTS) :]
        return hardware.mlp(hidden=(self.setup.hidden,) * 3, weight_bits=weights, act_bits=acts)

    def folding(self, bits: Bits, on: str | None = None) -> hardware.Folding:
        """The cheapest one for the frame rate; without a device, the one with the fewest LUTs."""
        objective = self.cost if on else "lut"
        return self.setup.cheapest_of(self.layers(bits), self.frame_rate, on, objective)

    def __call__(self, bits: Sequence[int]) -> Price:
        bits = tuple(int(one) for one in bits)
        if bits not in self._known:
            self._known[bits] = self._price(bits)
        return self._known[bits]

    def _price(self, bits: Bits) -> Price:
        fits = True
        try:
            folding = self.folding(bits, self.setup.device)
        except HardwareError:
            folding, fits = self.folding(bits), False
        shares = hardware.fit(folding.cost, self.setup.device).shares.values()
        share = max(one for one in shares if one >= 0)  # flip-flops may be unknown
        known = {"lut": folding.cost.lut, "bram18": folding.cost.bram18, "share": 100 * share}
        beyond = 0.0 if fits else max(share / self.setup.share - 1, MISFIT)
        cost = float(known[self.cost])
        return Price(cost, int(known["lut"]), int(known["bram18"]), known["share"], beyond)


def priced(frame: pd.DataFrame, prices: Prices) -> pd.DataFrame:
    """`frame`, which has a column `bits`, with the columns of `Price`."""
    found = [prices(bits) for bits in frame["bits"]]
    columns = {field.name: [getattr(one, field.name) for one in found] for field in fields(Price)}
    return frame.assign(**columns)


# Trainings


@dataclass(frozen=True)
class Recipe:
    """How every network of the page is trained, but for epochs and seeds; chapter 2's recipe."""

    dataset: str
    hidden: int = 64
    batch_size: int = 100
    learning_rate: float = 0.01
    dropout: float = 0.2

    @classmethod
    def of(cls, p: MixedPrecision) -> Recipe:
        return cls(**{field.name: getattr(p, field.name) for field in fields(cls)})

    def errors(
        self, networks: Sequence[Bits], *, seeds: Sequence[int], epochs: int
    ) -> pd.DataFrame:
        """Every network with every seed after the last epoch: its name, `bits`, `seed`, and errors.

        `network` is as `named` has it, `valid_error` and `test_error` are in %. What the store has
        is read, the rest is trained as one sweep. A training that diverged is missing.
        """
        same = {"learning_rate": self.learning_rate, "dropout": self.dropout}
        pairs = list(product(dict.fromkeys(map(tuple, networks)), seeds))
        asked = {member(bits, seed, **same): (bits, seed) for bits, seed in pairs}
        found = sweep.quant_mlps(
            self.dataset, list(asked), epochs=epochs, hidden=self.hidden, batch_size=self.batch_size
        )
        rows = []
        for one, table in found.items():
            bits, seed = asked[one]
            last = table.iloc[-1]
            errors = {name: float(last[name]) for name in ("valid_error", "test_error")}
            rows.append({"network": named(bits), "bits": bits, "seed": seed} | errors)
        columns = ["network", "bits", "seed", "valid_error", "test_error"]
        return pd.DataFrame(rows, columns=columns)


# Profile


def lowered(most_bits: int, layer: str, bits: int) -> Bits:
    """`most_bits` everywhere but in one layer."""
    return tuple(bits if name == layer else most_bits for name in LAYERS)


def profile(p: MixedPrecision, prices: Prices) -> pd.DataFrame:
    """How sensitive each layer is: what is lost, and saved, when it alone gets fewer bits.

    One row a searched layer and a number of bits below `most_bits`: `lost` (points of validation
    error more than with `most_bits` everywhere, mean over the search's seeds), `saved` (of the
    cost), and `error` (%).
    """
    jobs = {
        (layer, bits): lowered(p.most_bits, layer, bits)
        for layer in LAYERS
        if layer in p.searched
        for bits in range(p.least_bits, p.most_bits)
    }
    full = (p.most_bits,) * len(LAYERS)
    runs = Recipe.of(p).errors([full, *jobs.values()], seeds=p.search_seeds, epochs=p.epochs)
    means = runs.groupby("network")["valid_error"].mean()
    error = {bits: means.get(named(bits), np.nan) for bits in (full, *jobs.values())}
    rows = [
        {
            "layer": layer,
            "bits": bits,
            "error": error[network],
            "lost": error[network] - error[full],
            "saved": prices(full).cost - prices(network).cost,
        }
        for (layer, bits), network in jobs.items()
    ]
    return pd.DataFrame(rows)


def path(profile: pd.DataFrame, p: MixedPrecision, prices: Prices) -> list[Bits]:
    """From `most_bits` everywhere to the fewest, one bit of one layer at a time: where it hurts
    least.

    A step is chosen by the profile as if losses of layers added up: the one with the least loss for
    what it saves; steps that lose nothing first, and of these the one that saves most.
    """
    lost = {(row.layer, row.bits): row.lost for row in profile.itertuples()}
    bits, found = list((p.most_bits,) * len(LAYERS)), []
    while True:
        found.append(tuple(bits))
        steps = []
        for place, layer in enumerate(LAYERS):
            if (layer, bits[place] - 1) not in lost:
                continue
            fewer = [*bits[:place], bits[place] - 1, *bits[place + 1 :]]
            loss = lost[layer, bits[place] - 1] - lost.get((layer, bits[place]), 0.0)
            saving = prices(bits).cost - prices(fewer).cost
            loss = inf if np.isnan(loss) else loss
            rank = (0, -saving) if loss <= 0 else (1, loss / saving if saving > 0 else inf)
            steps.append((rank, place, fewer))
        if not steps:
            return found
        bits = min(steps)[-1]


def first_generation(p: MixedPrecision, profile: pd.DataFrame, prices: Prices) -> list[list[int]]:
    """`population` different networks: half of them spread evenly along `path` as far as it fits
    the device, the others drawn at random; with `start` random, all of those."""
    space = space_of(p.least_bits, p.most_bits, p.searched)
    chosen: dict[Bits, None] = {}
    if p.start == "profile":
        fitting = [bits for bits in path(profile, p, prices) if prices(bits).beyond == 0]
        half = min(p.population // 2, len(fitting))
        places = np.linspace(0, len(fitting) - 1, half).round().astype(int)
        chosen = dict.fromkeys(fitting[place] for place in places)
    rng = np.random.default_rng([p.seed, 1])
    while len(chosen) < p.population:
        chosen[space.sample(rng)] = None
    return [list(bits) for bits in chosen]


def search_of(p: MixedPrecision, start: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The parameters of `mixed_precision_runs.search`, all of them."""
    same = ("least_bits", "most_bits", "searched", "frame_rate", "cost", "epochs", "population")
    same += ("generations", "error_step", "seed")
    asked = {name: getattr(p, name) for name in same} | {"seeds": p.search_seeds}
    parts = {"recipe": Recipe.of(p), "setup": setup_of(p)}
    asked |= {
        name: {field.name: getattr(one, field.name) for field in fields(one)}
        for name, one in parts.items()
    }
    return asked | {"start": [list(bits) for bits in start]}
