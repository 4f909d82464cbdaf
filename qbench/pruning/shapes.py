"""Networks as lists of layers, whose filters can be counted anew; the two of Faraone 2021, ch. 4.

A `Network` knows how layers hang together, so that a filter less in one is an input less in the
next; `units` gives what each takes of an FPGA as layers of `qbench.hardware`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qbench.errors import nearest
from qbench.hardware import Layer, Window, conv_layer
from qbench.numbers import whole

from .errors import PruningError

Counts = Mapping[str, int]  # filters by layer


@dataclass(frozen=True)
class Conv:
    """A layer of N = `filters`: K × K convolutions in `groups`, or a fully connected layer.

    size: side of the images that enter, in pixels; None for a fully connected layer, to which each
    filter before it gives `spread` numbers.
    """

    name: str
    filters: int
    weight_bits: int
    kernel: int = 1
    size: int | None = None
    stride: int = 1
    padding: int = 0
    groups: int = 1
    spread: int = 1


@dataclass(frozen=True)
class Network:
    """Layers one after the other, for images of `channels` of `input_bits` unsigned bits.

    act_bits: bits of every activation, unsigned as well.
    """

    name: str
    channels: int
    layers: tuple[Conv, ...]
    act_bits: int
    input_bits: int = 8

    @property
    def filters(self) -> dict[str, int]:
        """Filters of each convolution, first to last: what pruning can take."""
        return {one.name: one.filters for one in self.layers if one.size is not None}

    @property
    def prunable(self) -> tuple[str, ...]:
        """The convolutions but the last layer of all, whose filters are what the network says."""
        return tuple(name for name in self.filters if name != self.layers[-1].name)

    def counted(self, counts: Counts | None = None) -> dict[str, int]:
        """Filters of every layer, those of `counts` instead of the network's own.

        Raises `PruningError` for another name, a layer without filters, or a number of filters that
        the groups of the layer or of the next one do not divide.
        """
        counts = counts or {}
        own = {one.name: one.filters for one in self.layers}
        for name, count in counts.items():
            if name not in own:
                raise PruningError(
                    f"{self.name} has no layer {name!r}{nearest(own, name)}; it has "
                    f"{', '.join(own)}."
                )
            if not whole(count) or count < 1:
                raise PruningError(
                    f"{name} must keep at least 1 filter, a whole number, not {count!r}: without "
                    "any nothing would reach the layers behind it."
                )
        full = own | dict(counts)
        for one, after in zip(self.layers, [*self.layers[1:], None], strict=True):
            for groups, whose in ((one.groups, "its"), (after.groups if after else 1, "the next")):
                if full[one.name] % groups:
                    raise PruningError(
                        f"filters of {one.name} must be a multiple of {groups}, {whose} layer's "
                        f"groups, not {full[one.name]}."
                    )
        return full

    def multiple(self, name: str) -> int:
        """What the filters of a layer must be a multiple of: its groups and those of the next."""
        place = next(i for i, one in enumerate(self.layers) if one.name == name)
        following = self.layers[place + 1].groups if place + 1 < len(self.layers) else 1
        return max(self.layers[place].groups, following)  # both are 1 or 2 here

    def units(self, counts: Counts | None = None) -> dict[str, tuple[Layer, ...]]:
        """What computes each layer: one unit a group, as layers of `qbench.hardware`.

        Raises `PruningError` as `counted`.
        """
        full = self.counted(counts)
        before, found = self.channels, {}
        for place, one in enumerate(self.layers):
            acts = self.act_bits if place else self.input_bits
            last = place == len(self.layers) - 1
            fields: dict[str, Any] = {"signed_input": False}
            fields["out_bits"] = None if last else self.act_bits
            bits = one.weight_bits, acts
            count = full[one.name]
            if one.size is None:
                made = Layer(one.name, before * one.spread, count, *bits, **fields)
            else:
                sides = one.size, one.kernel, one.stride, one.padding
                window = Window(before // one.groups, *sides)
                made = conv_layer(one.name, window, count // one.groups, *bits, **fields)
            found[one.name] = (made,) * one.groups
            before = count
        return found


def _alexnet() -> Network:
    """Table 4.1: 2-bit activations, 1-bit weights but the first and the last layer's 8 bits.

    Its operation shares follow from convolutions 2, 4 and 5 in two groups, as in the original
    AlexNet, and from output maps of 54, 54, 27, 14 and 14 pixels: Conv5's printed 8 is a slip. FC1
    has 9,216 inputs, 256 maps of 6 × 6.
    """
    same = {"weight_bits": 1}
    return Network(
        "AlexNet",
        3,
        (
            Conv("Conv1", 96, 8, kernel=12, size=224, stride=4),
            Conv("Conv2", 256, kernel=5, size=54, padding=2, groups=2, **same),
            Conv("Conv3", 384, kernel=3, size=27, padding=1, **same),
            Conv("Conv4", 384, kernel=3, size=14, padding=1, groups=2, **same),
            Conv("Conv5", 256, kernel=3, size=14, padding=1, groups=2, **same),
            Conv("FC1", 4096, spread=36, **same),
            Conv("FC2", 4096, **same),
            Conv("FC3", 1000, 8),
        ),
        act_bits=2,
    )


def _tinyyolo() -> Network:
    """Table 4.2: 3-bit activations, 1-bit weights but the first and the last layer's 8 bits.

    Images of 416 pixels, of which the table prints the padded sizes.
    """
    sizes = ((16, 416), (32, 208), (64, 104), (128, 52), (256, 26), (512, 13), (1024, 13))
    sizes += ((1024, 13),)
    layers = [
        Conv(f"Conv{place}", count, 1 if place > 1 else 8, kernel=3, size=size, padding=1)
        for place, (count, size) in enumerate(sizes, 1)
    ]
    return Network("TinyYolo", 3, (*layers, Conv("Conv9", 125, 8, size=13)), act_bits=3)


NETWORKS = {one.name: one for one in (_alexnet(), _tinyyolo())}


def published(name: str) -> Network:
    """ "AlexNet" or "TinyYolo" of the thesis; raises `PruningError` for another name."""
    if name not in NETWORKS:
        known = " or ".join(NETWORKS)
        raise PruningError(f"a published network must be {known}, not {name!r}.")
    return NETWORKS[name]


def without_connected(network: Network) -> Network:
    """The convolutions alone: section 4.7.1.1 leaves fully connected layers to the host."""
    layers = tuple(one for one in network.layers if one.size is not None)
    return Network(network.name, network.channels, layers, network.act_bits, network.input_bits)
