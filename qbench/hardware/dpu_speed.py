"""How fast a network is on a DPUCZDX8G, by the parallelism of its cores (Vailakis 2022, Table 6.4).

What the sizes of a layer leave over of the pixels, input and output channels that a core takes in a
cycle, PP, ICP and OCP, is lost:

    cycles = ⌈pixels/PP⌉ · K²·⌈inputs/ICP⌉ · ⌈outputs/OCP⌉.

These are cycles of the multipliers alone, the fewest that a core can take. Left out are fetching
instructions, the pipeline's start, pooling (its parallelism is printed nowhere), and what the
processor does for each image. Moving data through the core's ports can be added.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING, Any

from .dpu import Architecture, Dpu, architecture
from .errors import HardwareError
from .folding import check_layers
from .layers import Layer
from .mvtu import one_of

if TYPE_CHECKING:
    import pandas as pd

BITS = 8
MOST_LABELS = 1023  # of hardware softmax, Section 6.2.2
PIXELS = ("image", "row")
MEMORY = ("none", "overlapped", "in turn")

# Two data ports of 128 bits a core, at the clock of the general logic: product guide PG338, port
# descriptions. AXI reads and writes at the same time. Neither the guide nor the thesis says what
# the memory behind them sustains, so that is not modelled.
PORT_BYTES = 32


@dataclass(frozen=True)
class Speed:
    """A network on a DPU: `macs` and `cycles` an image, `latency_ms` of one image on one core.

    `images_per_second` of all cores together, `utilisation` the share of the multipliers that work.
    """

    macs: int
    cycles: int
    latency_ms: float
    images_per_second: float
    utilisation: float


def cycles(
    layer: Layer,
    on: str | Architecture = "B4096",
    *,
    channel_augmentation: bool = True,
    pixels: str = "image",
) -> int:
    """Cycles of the array for one layer and one image.

    ⌈pixels/PP⌉ · K²·⌈inputs/ICP⌉ · ⌈outputs/OCP⌉. `pixels` is what is cut into pieces of PP: the
    "image", which is least, or each "row" of it; neither thesis nor guide says. Channel
    augmentation fills channels that lie idle with others of the kernel's pixels; how is published
    nowhere, so it is taken at its best, K²·inputs together: ⌈K²·inputs/ICP⌉. Raises `HardwareError`
    for what is no layer or has more than 8 bits.
    """
    (layer,), one = _of_8_bits([layer]), architecture(on)
    one_of("pixels", pixels, PIXELS)
    if pixels == "row" and layer.window:
        side = layer.window.out_size
        steps = side * -(-side // one.pixels)
    else:
        steps = -(-layer.vectors // one.pixels)
    taps = layer.window.kernel**2 if layer.window and not channel_augmentation else 1
    return steps * taps * -(-(layer.mw // taps) // one.inputs) * -(-layer.mh // one.outputs)


def by_layer(layers: Iterable[Layer], on: Dpu, *, pixels: str = "image") -> pd.DataFrame:
    """One row a layer, for one image on one core.

    `layer`, `kind`, `macs`, `cycles`, `utilisation` (share of the multipliers that work),
    `microseconds` of the multipliers; `read_bytes` (inputs and weights) and `written_bytes`
    (outputs) at one byte a value, `port_cycles` to move these through the data ports, read and
    written at once, and `bound`: "compute" or "ports", whichever takes more. The bytes are the most
    that must move: a compiler that keeps images on the chip moves fewer.

    Raises `HardwareError` as `cycles` does, and for more labels than hardware softmax has, if that
    is among the options.
    """
    import pandas as pd

    return pd.DataFrame(_rows(layers, on, pixels))


def performance(
    layers: Iterable[Layer], on: Dpu, *, pixels: str = "image", memory: str = "none"
) -> Speed:
    """Speed of a network whose layers run one after the other.

    `memory`: "none" counts the multipliers alone; "overlapped" the slower of multipliers and data
    ports in each layer; "in turn" both after each other, each with all of `by_layer`'s bytes.
    Throughput is that of cores which do not hinder each other, so an upper bound. Raises
    `HardwareError` as `by_layer` does.
    """
    one_of("memory", memory, MEMORY)
    rows = _rows(layers, on, pixels)
    together = {"none": lambda array, _: array, "overlapped": max, "in turn": add}[memory]
    total = sum(together(row["cycles"], row["port_cycles"]) for row in rows)
    macs = sum(row["macs"] for row in rows)
    return Speed(
        macs=macs,
        cycles=total,
        latency_ms=total / on.clock_mhz / 1e3,
        images_per_second=on.cores * on.clock_mhz * 1e6 / total,
        utilisation=macs / (total * on.architecture.macs),
    )


def _rows(layers: Iterable[Layer], on: Dpu, pixels: str) -> list[dict[str, Any]]:
    """The rows of `by_layer`, without pandas, which would take most of the time."""
    layers = _of_8_bits(layers)
    if not isinstance(on, Dpu):
        raise HardwareError(f"on must be a dpu.Dpu, not {on!r}.")
    if on.options.softmax and layers[-1].mh > MOST_LABELS:
        raise HardwareError(
            f"softmax must have at most {MOST_LABELS} labels, and {layers[-1].name} has "
            f"{layers[-1].mh}: leave it to software."
        )
    how = {"channel_augmentation": on.options.channel_augmentation, "pixels": pixels}
    rows = []
    for one in layers:
        macs, count = one.mw * one.mh * one.vectors, cycles(one, on.architecture, **how)
        read, written = one.input_values + one.mw * one.mh, one.mh * one.vectors
        ports = -(-max(read, written) // PORT_BYTES)
        rows.append(
            {
                "layer": one.name,
                "kind": one.kind,
                "macs": macs,
                "cycles": count,
                "utilisation": macs / (count * on.architecture.macs),
                "microseconds": count / on.clock_mhz,
                "read_bytes": read,
                "written_bytes": written,
                "port_cycles": ports,
                "bound": "compute" if count >= ports else "ports",
            }
        )
    return rows


def _of_8_bits(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    found = check_layers(layers)
    for layer in found:
        if max(layer.weight_bits, layer.act_bits) > BITS:
            raise HardwareError(
                f"{layer.name} must have at most {BITS} bits on a DPU, not "
                f"{layer.weight_bits} for weights and {layer.act_bits} for inputs."
            )
    return found
