"""Foldings: how many processing elements and multipliers each layer gets, and how fast that is.

A dataflow accelerator gives every layer a unit of its own, and all work at once on consecutive
frames. A unit with PE processing elements of SIMD multipliers takes (MH/PE)·(MW/SIMD) cycles for a
vector, so the slowest layer sets the frame rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, reduce
from math import isfinite
from numbers import Real
from operator import add
from typing import TYPE_CHECKING, Any

from .errors import HardwareError
from .layers import Layer
from .mvtu import MULTIPLIERS, STORAGE, THRESHOLD_STORAGE, Cost, one_of, single

if TYPE_CHECKING:
    import pandas as pd

CLOCK = 100e6  # Hz, of Ducasse et al. 2021

# Cycles between two frames beyond those of the slowest layer, on the board of Ducasse et al. 2021:
# with them their Tables II and III follow from the cycles of the first layer alone.
MEASURED_OVERHEAD = 12


@dataclass(frozen=True)
class Fold:
    """The folding of one layer: `pe` divides its mh, `simd` its mw."""

    pe: int
    simd: int
    weight_storage: str = "bram"


@dataclass(frozen=True)
class Folding:
    """A network's layers with a fold each, and what all units share.

    `threshold_storage` ("none", "lut", "bram") and `multipliers` ("lut", "dsp") are explained at
    `mvtu.estimate`. Raises `HardwareError` for a fold that does not divide its layer, naming it.
    """

    layers: tuple[Layer, ...]
    folds: tuple[Fold, ...]
    threshold_storage: str = "none"
    multipliers: str = "lut"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", check_layers(self.layers))
        object.__setattr__(self, "folds", tuple(self.folds))
        one_of("threshold_storage", self.threshold_storage, THRESHOLD_STORAGE)
        one_of("multipliers", self.multipliers, MULTIPLIERS)
        if len(self.folds) != len(self.layers):
            raise HardwareError(
                f"folds must be one for each of the {len(self.layers)} layers, not "
                f"{len(self.folds)}."
            )
        for layer, fold in zip(self.layers, self.folds, strict=True):
            one_of(f"weight_storage of {layer.name}", fold.weight_storage, STORAGE)
            for part, name in (("pe", "mh"), ("simd", "mw")):
                parts = single(f"{part} of {layer.name}", getattr(fold, part))
                if getattr(layer, name) % parts:
                    raise HardwareError(
                        f"{part} of {layer.name} must divide its {name}, and {parts} does not "
                        f"divide {getattr(layer, name)}."
                    )

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """What each layer costs; cycles are those of one frame."""
        pairs = zip(self.layers, self.folds, strict=True)
        return tuple(
            layer.cost(
                fold.pe,
                fold.simd,
                weight_storage=fold.weight_storage,
                threshold_storage=self.threshold_storage,
                multipliers=self.multipliers,
            )
            for layer, fold in pairs
        )

    @property
    def cost(self) -> Cost:
        """The whole network: resources added up, the cycles of the slowest layer."""
        return reduce(add, self.costs)

    def table(self) -> pd.DataFrame:
        """A row a layer: name, kind, mw, mh, vectors, bits, pe, simd, storage and its cost."""
        import pandas as pd

        fields = ("name", "kind", "mw", "mh", "vectors", "weight_bits", "act_bits", "out_bits")
        rows = zip(self.layers, self.folds, self.costs, strict=True)
        return pd.DataFrame(
            {name: getattr(layer, name) for name in fields} | asdict(fold) | asdict(cost)
            for layer, fold, cost in rows
        )


@dataclass(frozen=True)
class Performance:
    """How fast a folded network is.

    - `initiation_interval`: clock cycles from frame to frame;
    - `frame_rate`: frames a second, clock/initiation_interval;
    - `latency`: seconds from the first value in to the last one out, were every layer to wait until
      the one before has finished its frame. Layers start earlier, so this is an upper bound, up to
      the few pipeline stages of each unit;
    - `input_bandwidth`: bytes a second that enter, packed at the first layer's bits;
    - `bottleneck`: name of the slowest layer, the first of several.
    """

    initiation_interval: int
    frame_rate: float
    latency: float
    input_bandwidth: float
    bottleneck: str


def performance(folding: Folding, *, clock: float = CLOCK, overhead_cycles: int = 0) -> Performance:
    """Speed of a folding at `clock` Hz.

    FINN expects the cycles of the slowest layer between two frames; `overhead_cycles` are added to
    them. Ducasse et al. 2021 measured `MEASURED_OVERHEAD`: 100 MHz/(1024·64/(PE·SIMD) + 12) gives
    every throughput of their Tables II and III. Raises `HardwareError` for a clock that is not
    positive or a negative overhead.
    """
    positive("clock", clock)
    overhead = single("overhead_cycles", overhead_cycles, least=0)
    cycles = [cost.cycles for cost in folding.costs]
    interval = max(cycles) + overhead
    first = folding.layers[0]
    return Performance(
        initiation_interval=interval,
        frame_rate=clock / interval,
        latency=(sum(cycles) + overhead) / clock,
        input_bandwidth=clock / interval * first.input_values * first.act_bits / 8,
        bottleneck=folding.layers[cycles.index(max(cycles))].name,
    )


def uniform(layers: Sequence[Layer], pe: int, simd: int, **options: Any) -> Folding:
    """The same pe and simd for every layer, as the papers have it.

    Where one does not divide a layer's mh or mw, as 8 does not divide 10 classes, that layer gets
    the largest divisor below it. `options` are `weight_storage` and those of `Folding`. Raises
    `HardwareError` as that does.
    """
    pe, simd = single("pe", pe), single("simd", simd)
    storage = options.pop("weight_storage", "bram")
    folds = tuple(
        Fold(largest_divisor(layer.mh, pe), largest_divisor(layer.mw, simd), storage)
        for layer in check_layers(layers)
    )
    return Folding(tuple(layers), folds, **options)


def check_layers(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """`layers` as a tuple of at least one `Layer`, else `HardwareError`."""
    found = tuple(layers)
    if not found or not all(isinstance(layer, Layer) for layer in found):
        raise HardwareError("layers must be one or more hardware.Layer, as mlp and layers_of give.")
    return found


def positive(name: str, value: Any) -> None:
    """Refuse what is not a positive finite number."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not isfinite(value) or value <= 0:
        raise HardwareError(f"{name} must be a positive finite number, not {value!r}.")


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    low = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`, which is at least 1."""
    return max(d for d in divisors(number) if d <= most)
