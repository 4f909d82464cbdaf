"""The layers of a network as the cost models see them: sizes and bit widths, no weights.

`mlp` makes those of a perceptron; `network.layers_of` reads them from a model or a QONNX file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from . import mvtu
from .errors import HardwareError
from .mvtu import MOST_BITS, Cost, Number, single


@dataclass(frozen=True)
class Window:
    """What a square convolution slides over: `channels` images of `size` × `size` pixels."""

    channels: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            least = 0 if field.name == "padding" else 1
            one = single(field.name, getattr(self, field.name), least)
            object.__setattr__(self, field.name, one)
        mvtu.geometry(self.kernel, self.size, self.stride, self.padding)

    @property
    def out_size(self) -> int:
        """Side of the output image, in pixels."""
        return mvtu.geometry(self.kernel, self.size, self.stride, self.padding)[-1]


@dataclass(frozen=True)
class Layer:
    """One layer on one MVTU: an mh × mw matrix times `vectors` vectors a frame.

    `act_bits` is the width of its inputs, `out_bits` that of the activation which follows, None
    where none does; bits are 1 to 16. `window` makes it a convolution, whose mw is K²·C and whose
    vectors are its output pixels. Raises `HardwareError` for what cannot be.
    """

    name: str
    mw: int
    mh: int
    weight_bits: int
    act_bits: int
    out_bits: int | None = None
    vectors: int = 1
    signed_input: bool = True
    window: Window | None = None

    def __post_init__(self) -> None:
        for name in ("mw", "mh", "vectors", "weight_bits", "act_bits", "out_bits"):
            value = getattr(self, name)
            if value is not None or name != "out_bits":
                most = MOST_BITS if name.endswith("bits") else None
                value = single(f"{name} of {self.name}", value, most=most)
                object.__setattr__(self, name, value)
        if self.window:
            one = self.window
            for name, must in (("mw", one.kernel**2 * one.channels), ("vectors", one.out_size**2)):
                if getattr(self, name) != must:
                    raise HardwareError(
                        f"{name} of {self.name} must be {must}, as its window says, not "
                        f"{getattr(self, name)}."
                    )

    @property
    def kind(self) -> str:
        """`convolution` or `dense`."""
        return "convolution" if self.window else "dense"

    @property
    def input_values(self) -> int:
        """Values that enter a frame: pixels times channels, or mw."""
        if self.window:
            return self.window.channels * self.window.size**2
        return self.mw * self.vectors

    def cost(self, pe: Number, simd: Number, **options: Any) -> Cost:
        """`mvtu.estimate`, or `mvtu.convolution` for a convolution, at this folding.

        `options` are `weight_storage`, `threshold_storage`, `multipliers`, `accumulator_bits`.
        Raises `HardwareError` where pe does not divide mh or simd does not divide mw.
        """
        widths = self.weight_bits, self.act_bits
        options = {"out_bits": self.out_bits, "signed_input": self.signed_input} | options
        if self.window is None:
            return mvtu.estimate(
                self.mw, self.mh, pe, simd, *widths, vectors=self.vectors, **options
            )
        one = self.window
        geometry = {"stride": one.stride, "padding": one.padding}
        sizes = one.channels, self.mh, one.kernel, one.size
        return mvtu.convolution(*sizes, pe, simd, *widths, **geometry, **options)


def conv_layer(
    name: str, window: Window, filters: int, weight_bits: int, act_bits: int, **others: Any
) -> Layer:
    """The layer of a convolution, its mw and vectors worked out; `others` are fields of `Layer`."""
    mw, vectors = window.kernel**2 * window.channels, window.out_size**2
    return Layer(name, mw, filters, weight_bits, act_bits, **others, vectors=vectors, window=window)


def mlp(
    inputs: int = 1024,
    hidden: Sequence[int] = (64, 64, 64),
    classes: int = 10,
    *,
    weight_bits: int | Sequence[int],
    act_bits: int | Sequence[int],
    input_bits: int = 8,
    signed_input: bool = False,
    signed_acts: bool = True,
) -> tuple[Layer, ...]:
    """The layers of a perceptron; by default TFC (Ducasse et al. 2021), 1024-64-64-64-10.

    SFC and LFC have three hidden layers of 256 and of 1024. The first layer takes pixels of
    `input_bits` unsigned bits, the others activations of `act_bits`, signed as a HardTanh gives
    them; no activation follows the last. `weight_bits` may be one number, or one for each layer,
    `act_bits` one, or one for each layer but the last. Raises `HardwareError` as `Layer` does, and
    for another number of numbers.
    """
    widths = [inputs, *hidden, classes]
    last = len(widths) - 2
    weights = _each("weight_bits", weight_bits, last + 1)
    acts = _each("act_bits", act_bits, last)
    return tuple(
        Layer(
            name=f"linear{index + 1}",
            mw=mw,
            mh=mh,
            weight_bits=weights[index],
            act_bits=acts[index - 1] if index else input_bits,
            out_bits=acts[index] if index < last else None,
            signed_input=signed_acts if index else signed_input,
        )
        for index, (mw, mh) in enumerate(zip(widths, widths[1:], strict=False))
    )


def _each(name: str, bits: int | Sequence[int], count: int) -> list[int]:
    """Bits of each layer, from one number for all or one for each."""
    if not isinstance(bits, Sequence):
        return [bits] * count
    if len(bits) != count:
        raise HardwareError(
            f"{name} must be one number, or one for each of {count} layers, not {len(bits)}."
        )
    return list(bits)
