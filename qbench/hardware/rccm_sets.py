"""All coefficient sets that the architectures of `rccm` can have: Table 6.1 of Faraone 2021.

The thesis enumerates "4 different mapping functions" for Topology A and one for Topology B, with
shifts of at most 3 bits, and prints neither the functions nor which shifts it combines. Table 6.3
shows A1+B1, A2+B1, A3+B1 at the select values 0, 1, 2 of every Topology A, and at 3 either B1,
−A1+B1, −A2+B1 or −A3+B1: four functions, which we take to be the four. Topology B there is always
∓A1±B1, ∓A2±B1, so that sets are symmetric around 0.

For the shifts `Space` has a choice. In Table 6.3 those of the A ports always increase from port to
port, which avoids counting the same circuit with its ports exchanged; so does `Space()`, and B1 has
any of 0 to 3. None of the choices gives the printed counts (`counts` makes this table):

    shifts of A ports    sets that count           2-Add    3-Add      4-Add
    increasing           different                 1,294   66,303  3,949,825
    increasing           not only by 2^n             773   40,745  2,265,979
    increasing from 0    different                   538   25,191  1,167,190
    any from 0 to 3      different                 4,337  408,039          -
    printed in Table 6.1                           1,145   44,198  4,040,952

Sets a power of two apart ("not only by 2^n") are the same to a network, whose layers scale them.
All that the thesis shows are among the first row's: the three of Table 6.2 and the 63 coefficients
of Fig. 6.5 (e). For the 2-Add and the 3-Add it was also tried without success to shift B1 by less
or not at all, to tell sets by how often they have a coefficient, to count only those with 0 or
without it, and to take Topology B as printed.

A set is kept as bits, bit m of its words for ±m; which sets are equal is told by 64-bit hashes of
these words. For the 6 million configurations of the 4-Add, the chance that two different sets share
one is 6e6² / 2^65, about 1e-6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, combinations_with_replacement, product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import HardwareError
from .mvtu import one_of, single
from .rccm import WIRING, Adder, Circuit, Integers, wiring

if TYPE_CHECKING:
    import pandas as pd

Words = NDArray[np.uint64]
SHIFTS = range(4)  # Section 6.4.3
ORDERS = ("increasing", "any")
FOURTH = ("B1", "-A1+B1", "-A2+B1", "-A3+B1")  # what select 3 of Topology A computes
SYMMETRIC = ("-A1+B1", "-A2+B1", "A1-B1", "A2-B1")  # Topology B
OFFSET = 512  # above the magnitude of what an adder of Topology A gives
ODD = np.uint64(0xAAAA_AAAA_AAAA_AAAA)  # bits of odd numbers
ZERO = np.eye(1, 64, dtype=np.uint64)[0]  # the bit of 0
CHUNK = 256  # sources at a time: what they need stays in the cache
SALT = np.random.default_rng(6).integers(2**64, size=64, dtype=np.uint64)


@dataclass(frozen=True)
class Space:
    """Which configurations are enumerated, and which of their sets are one.

    `order` of the shifts of the A ports: "increasing" from port to port, or "any". `from_zero`
    leaves port A1 of every adder unshifted. `scaled` counts sets once that are a power of two
    apart. Raises `HardwareError`.
    """

    order: str = "increasing"
    from_zero: bool = False
    scaled: bool = False

    def __post_init__(self) -> None:
        one_of("order", self.order, ORDERS)
        for name in ("from_zero", "scaled"):
            if not isinstance(getattr(self, name), bool):
                raise HardwareError(f"{name} must be True or False, not {getattr(self, name)!r}.")

    @property
    def early(self) -> list[Adder]:
        """The adders of Topology A; any order of shifts is as good as one that does not fall."""
        return [
            Adder("A", ("A1+B1", "A2+B1", "A3+B1", fourth), (*shifts, b1))
            for fourth, shifts, b1 in product(FOURTH, self._shifts(3), SHIFTS)
        ]

    @property
    def last(self) -> list[Adder]:
        """The adders of Topology B."""
        return [
            Adder("B", SYMMETRIC, (*shifts, b1)) for shifts, b1 in product(self._shifts(2), SHIFTS)
        ]

    def _shifts(self, ports: int) -> list[tuple[int, ...]]:
        choose = combinations if self.order == "increasing" else combinations_with_replacement
        found = choose(SHIFTS, ports)
        return [shifts for shifts in found if not (self.from_zero and shifts[0])]


@dataclass(frozen=True, eq=False)
class Sets:
    """The different coefficient sets of an architecture, in the order of their configurations.

    Set i, of `len(sets)`, has `sizes[i]` coefficients, both signs and zero counted, and ±`largest`
    are the outermost; `zero[i]` is whether 0 is one. A set stands for all configurations that give
    it, with the first of them.
    """

    architecture: str
    space: Space
    configurations: int
    sizes: NDArray[np.int16]
    largest: NDArray[np.int16]
    zero: NDArray[np.bool_]
    places: Integers  # of the first configuration: row of sources × adders of Topology B
    _sources: _Sources

    def __len__(self) -> int:
        return len(self.places)

    def circuit(self, number: int) -> Circuit:
        """The first configuration that gives set `number`."""
        row, last = divmod(int(self.places[self._number(number)]), len(self.space.last))
        early = self.space.early
        adders = [early[place] for place in self._sources.adders[row]]
        return Circuit(self.architecture, (*adders, self.space.last[last]))

    def coefficients(self, number: int) -> Integers:
        """The coefficients of set `number`, ascending, each once."""
        return self.circuit(number).codebook

    def number(self, coefficients: Sequence[int]) -> int:
        """Which set has these coefficients. Raises `HardwareError` where none has."""
        wanted = np.unique(np.asarray(coefficients, dtype=np.int64))
        like = (self.sizes == len(wanted)) & (self.largest == np.abs(wanted).max(initial=0))
        for number in np.flatnonzero(like):
            if np.array_equal(self.coefficients(int(number)), wanted):
                return int(number)
        raise HardwareError(
            f"none of these {len(self)} sets of the {self.architecture} has these "
            f"{len(wanted)} coefficients."
        )

    def chunks(self) -> Iterator[tuple[slice, Words]]:
        """All sets in order, some thousands at a time, as bits: which sets, and (sets, words)."""
        start, each = 0, len(self.space.last)
        for first, bits, _ in self._sources.stream(self.space.last):
            bits = bits.reshape(-1, bits.shape[-1])
            stop = int(np.searchsorted(self.places, first * each + len(bits)))
            if stop > start:
                yield slice(start, stop), bits[self.places[start:stop] - first * each]
            start = stop

    def _number(self, number: int) -> int:
        return single("a set's number", number, 0, len(self) - 1)


def enumerate_sets(architecture: str, space: Space | None = None) -> Sets:
    """Every different coefficient set of an architecture's configurations.

    For the default space this takes some seconds for the 4-Add and 0.5 GB, and an instant for the
    others. Raises `HardwareError` for an unknown architecture.
    """
    wiring(architecture)
    space = space or Space()
    sources, last = _Sources.of(architecture, space.early), space.last
    keys, sizes, largest, zero = [], [], [], []
    for _, bits, most in sources.stream(last):
        zero.append((bits[..., 0] & np.uint64(1)).astype(bool).ravel())
        sizes.append(np.bitwise_count(bits).sum(-1, dtype=np.int16).ravel())
        largest.append(most.ravel())
        keys.append(_hashed(_reduced(bits) if space.scaled else bits).ravel())
    places = _first(np.concatenate(keys))
    found = [np.concatenate(parts)[places] for parts in (sizes, largest, zero)]
    counted = (2 * found[0] - found[2]).astype(np.int16)
    every = len(space.early) ** (len(wiring(architecture)) - 1) * len(last)
    return Sets(architecture, space, every, counted, *found[1:], places, sources)


def counts(
    architectures: Sequence[str] = tuple(WIRING), spaces: Sequence[Space] | None = None
) -> pd.DataFrame:
    """How many sets there are: a row an architecture and space, default those of this page.

    Columns: `rccm`, `order`, `from_zero`, `scaled`, `configurations`, `unique_coefficient_sets`,
    `with_zero`. Any order of the 4-Add is left out: it would take minutes.
    """
    import pandas as pd

    few = [Space(), Space(scaled=True), Space(from_zero=True), Space(order="any")]
    rows = []
    for architecture, space in product(architectures, few if spaces is None else spaces):
        if spaces is None and architecture == "4-Add" and space.order == "any":
            continue
        found = enumerate_sets(architecture, space)
        made = {"configurations": found.configurations, "unique_coefficient_sets": len(found)}
        made["with_zero"] = int(found.zero.sum())
        rows.append({"rccm": architecture, **vars(space), **made})
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class _Sources:
    """What the last adder may be fed with: values of its A (n, L) and of its B1 (n, R), all paired.

    `adders` (n, stages) are the adders before, by number. Sources that give the same values are
    here once.
    """

    a: NDArray[np.int16]
    b1: NDArray[np.int16]
    adders: NDArray[np.int16]

    @classmethod
    def of(cls, architecture: str, early: list[Adder]) -> _Sources:
        factors = np.stack([adder.factors for adder in early]).astype(np.int16)  # (adders, 4, 2)
        outputs = np.sort(factors.sum(2, dtype=np.int16), axis=1)  # of an adder that is fed with x
        places = _first(_hashed(_bits(outputs + OFFSET, 2 * OFFSET)))
        outputs, numbers = outputs[places], places.astype(np.int16)
        ones = np.ones((len(outputs), 1), np.int16)
        if architecture == "2-Add":
            return cls(outputs, ones, numbers[:, None])
        first, second = np.divmod(np.arange(len(outputs) ** 2), len(outputs))
        y1, y2 = outputs[first], outputs[second]
        pairs = np.stack([numbers[first], numbers[second]], axis=1)
        if architecture == "3-Add":
            return cls(y1, y2, pairs)
        a, adders, keys = [], [], []
        for number, each in enumerate(factors):  # of the third adder, whose B1 is always added
            terms = (y1[:, None] * each[:, :1]).reshape(-1, 16, 1) + each[0, 1] * y2[:, None]
            a.append(terms.reshape(-1, 64))
            keys.append(_hashed(_bits(a[-1] + OFFSET, 2 * OFFSET)))
            adders.append(np.insert(pairs, 2, number, axis=1))
        kept = _first(np.concatenate(keys))
        a, adders = np.concatenate(a)[kept], np.concatenate(adders)[kept]
        return cls(a, np.ones((len(a), 1), np.int16), adders)

    @cached_property
    def width(self) -> int:
        """A multiple of 64 above every magnitude that shifts of Topology B can make."""
        most = 2 ** max(SHIFTS) * (np.abs(self.a).max() + np.abs(self.b1).max())
        return 64 * -(-(int(most) + 1) // 64)

    def stream(self, last: list[Adder]) -> Iterator[tuple[int, Words, NDArray[np.int16]]]:
        """For some sources at a time: the first, the sets as bits (sources, adders, words) and
        their largest magnitudes (sources, adders), each adder of Topology B being one of `last`.
        """
        for first in range(0, len(self.a), CHUNK):
            part = slice(first, first + CHUNK)
            halves = _Halves(self.a[part, :, None], self.b1[part, None], self.width)
            sets, most = zip(*(halves.both(*adder.shifts) for adder in last), strict=True)
            yield first, np.stack(sets, axis=1), np.stack(most, axis=1)


class _Halves:
    """The magnitudes |A << φ − B1 << φ'| that one A port of Topology B gives, each found once."""

    def __init__(self, a: NDArray[np.int16], b1: NDArray[np.int16], width: int) -> None:
        self.a, self.b1, self.width = a, b1, width
        self.found: dict[tuple[int, int], tuple[Words, NDArray[np.int16]]] = {}

    def both(self, a1: int, a2: int, b1: int) -> tuple[Words, NDArray[np.int16]]:
        """Of both ports, shifted by a1 and a2, and B1 by b1: bits, and the largest magnitudes."""
        (bits, most), (more, other) = self._one(a1, b1), self._one(a2, b1)
        return bits | more, np.maximum(most, other)

    def _one(self, a: int, b1: int) -> tuple[Words, NDArray[np.int16]]:
        if (a, b1) not in self.found:
            values = np.abs((self.a << a) - (self.b1 << b1)).reshape(len(self.a), -1)
            self.found[a, b1] = _bits(values, self.width), values.max(1)
        return self.found[a, b1]


def unpack(bits: Words) -> NDArray[np.bool_]:
    """Bits of sets (..., words) as (..., 64 · words): whether ±m is in the set."""
    return np.unpackbits(bits.view(np.uint8), axis=-1, bitorder="little").view(bool)


def _bits(values: NDArray[np.int16], width: int) -> Words:
    """Which of 0 … width − 1 occur in each row of values (n, any): (n, width / 64)."""
    flags = np.zeros((len(values), width), np.uint8)
    flags[np.arange(len(values))[:, None], values] = 1
    return np.packbits(flags, axis=-1, bitorder="little").view("<u8")


def _reduced(bits: Words) -> Words:
    """Sets divided by 2 for as long as all of their coefficients are even."""
    shape = bits.shape
    bits = bits.reshape(-1, shape[-1]).copy()
    rows = np.arange(len(bits))
    while len(rows := rows[~(bits[rows] & ODD).any(1) & (bits[rows] & ~ZERO[: shape[-1]]).any(1)]):
        flags = unpack(bits[rows])[:, ::2]
        flags = np.pad(flags, ((0, 0), (0, flags.shape[1])))
        bits[rows] = np.packbits(flags, axis=-1, bitorder="little").view("<u8")
    return bits.reshape(shape)


def _hashed(bits: Words) -> Words:
    """A hash of the words of each set: each well mixed with its place, then added."""
    mixed = bits ^ SALT[: bits.shape[-1]]
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):  # MurmurHash3's 64-bit finaliser
        mixed ^= mixed >> np.uint64(33)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(33)
    return mixed.sum(-1, dtype=np.uint64)


def _first(keys: Words) -> Integers:
    """Where each different key occurs first, ascending."""
    return np.sort(np.unique(keys, return_index=True)[1])
