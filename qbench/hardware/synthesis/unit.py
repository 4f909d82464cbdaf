"""What a matrix-vector-threshold unit is: its sizes, number formats and folding."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from numbers import Integral
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbench.hardware.errors import HardwareError

Integers = NDArray[np.int64]
Memory = Literal["block", "distributed"]
MEMORIES = ("block", "distributed")
MAX_BITS = 8


class SynthesisError(HardwareError):
    """What was asked cannot be built, simulated or synthesised: one sentence that says why."""


@dataclass(frozen=True)
class Unit:
    """A matrix-vector-threshold unit in the manner of FINN (Umuroglu et al. 2017).

    It multiplies a matrix of `mh` rows and `mw` columns with vectors of `mw` activations and counts
    for each row how many of its 2^out_bits − 1 thresholds the sum reaches. `pe` rows and `simd`
    columns are worked on in a cycle, so a vector takes `cycles` = mw·mh / (pe·simd).

    Bits are 1 to 8. n bits are the integers −2^(n−1) … 2^(n−1) − 1, one bit is ±1; activations that
    are not `act_signed` are 0 … 2^n − 1. `out_bits` None gives the sums themselves. `weights_in`
    and `thresholds_in` say whether the two are read-only memories of block RAM or of LUTs.

    Raises `SynthesisError` for sizes that do not divide, and for values that are not allowed.
    """

    mw: int
    mh: int
    pe: int
    simd: int
    weight_bits: int
    act_bits: int
    out_bits: int | None
    act_signed: bool = True
    weights_in: Memory = "block"
    thresholds_in: Memory = "distributed"

    def __post_init__(self) -> None:
        for name in ("mw", "mh", "pe", "simd"):
            value = getattr(self, name)
            if not is_whole(value) or value < 1:
                raise SynthesisError(f"{name} must be a whole number of at least 1, not {value!r}.")
        for part, of, whole, size in (
            ("pe", self.pe, "mh, the number of rows", self.mh),
            ("simd", self.simd, "mw, the number of columns", self.mw),
        ):
            if size % of:
                raise SynthesisError(
                    f"{part} must divide {whole}, and {of} does not divide {size}."
                )
        for name in ("weight_bits", "act_bits", "out_bits"):
            bits, raw = getattr(self, name), name == "out_bits"
            if not (raw and bits is None) and not (is_whole(bits) and 1 <= bits <= MAX_BITS):
                also = ", or None for the sums themselves" if raw else ""
                raise SynthesisError(
                    f"{name} must be a whole number from 1 to {MAX_BITS}{also}, not {bits!r}."
                )
        if not isinstance(self.act_signed, bool | np.bool_):
            raise SynthesisError(f"act_signed must be True or False, not {self.act_signed!r}.")
        for name in ("weights_in", "thresholds_in"):
            if getattr(self, name) not in MEMORIES:
                raise SynthesisError(
                    f"{name} must be 'block' or 'distributed', not {getattr(self, name)!r}."
                )
        for field in fields(self):  # NumPy's numbers have no JSON
            value = getattr(self, field.name)
            if is_whole(value):
                object.__setattr__(self, field.name, int(value))
        object.__setattr__(self, "act_signed", bool(self.act_signed))

    def __str__(self) -> str:
        out = "sums" if self.out_bits is None else f"{self.out_bits}-bit outputs"
        sign = "" if self.act_signed else " unsigned"
        return (
            f"{self.mh} x {self.mw}, PE {self.pe}, SIMD {self.simd}, "
            f"W{self.weight_bits} A{self.act_bits}{sign}, {out}"
        )

    @property
    def synapse_folds(self) -> int:
        """Cycles that `pe` rows take; beats of `simd` activations in a vector."""
        return self.mw // self.simd

    @property
    def neuron_folds(self) -> int:
        """Groups of `pe` rows; beats of `pe` outputs for a vector."""
        return self.mh // self.pe

    @property
    def cycles(self) -> int:
        """Cycles a vector takes when nothing stalls."""
        return self.synapse_folds * self.neuron_folds

    @property
    def binary(self) -> bool:
        """Whether products are XNORs: weights and activations are ±1."""
        return self.weight_bits == 1 and self.act_bits == 1 and self.act_signed

    @property
    def weight_range(self) -> tuple[int, int]:
        """Lowest and highest weight."""
        return code_range(self.weight_bits)

    @property
    def act_range(self) -> tuple[int, int]:
        """Lowest and highest activation."""
        return code_range(self.act_bits, signed=self.act_signed)

    @property
    def product_range(self) -> tuple[int, int]:
        """Lowest and highest product of a weight and an activation."""
        products = [w * a for w in self.weight_range for a in self.act_range]
        return min(products), max(products)

    @property
    def sum_range(self) -> tuple[int, int]:
        """Lowest and highest sum that any weights and activations can have."""
        low, high = self.product_range
        return self.mw * low, self.mw * high

    @cached_property
    def acc_bits(self) -> int:
        """Width of an accumulator and of a threshold, which may lie one above every sum.

        A binary unit holds the number of products that are +1, unsigned; others hold the sum, in
        two's complement.
        """
        if self.binary:
            return (self.mw + 1).bit_length()
        return signed_width(self.sum_range[0], self.sum_range[1] + 1)

    @property
    def in_bits(self) -> int:
        """Width of a beat of inputs."""
        return self.simd * self.act_bits

    @cached_property
    def element_bits(self) -> int:
        """Width of one output."""
        return signed_width(*self.sum_range) if self.out_bits is None else self.out_bits

    def check(
        self, weights: ArrayLike, thresholds: ArrayLike | None
    ) -> tuple[Integers, Integers | None]:
        """Both as integers, refused with a `SynthesisError` unless they fit this unit.

        `weights` (mh, mw); `thresholds` (mh, 2^out_bits − 1), ascending in each row, or None where
        `out_bits` is None.
        """
        weights = whole_numbers("weights", weights, (self.mh, self.mw))
        allowed("weights", weights, *self.weight_range, sign=self.weight_bits == 1)
        if self.out_bits is None:
            if thresholds is not None:
                raise SynthesisError(
                    "thresholds must be None for a unit that gives the sums themselves."
                )
            return weights, None
        if thresholds is None:
            raise SynthesisError(f"{self.out_bits}-bit outputs need thresholds, not None.")
        thresholds = whole_numbers("thresholds", thresholds, (self.mh, 2**self.out_bits - 1))
        down = np.argwhere(np.diff(thresholds, axis=1) < 0)
        if len(down):
            row, place = down[0]
            raise SynthesisError(
                f"thresholds must ascend in every row, and row {row} has "
                f"{thresholds[row, place]} before {thresholds[row, place + 1]}."
            )
        return weights, thresholds


@dataclass(frozen=True, eq=False)
class Layer:
    """A unit with its weights (mh, mw) and thresholds (mh, 2^out_bits − 1), checked."""

    unit: Unit
    weights: Integers
    thresholds: Integers | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.unit, Unit):
            raise SynthesisError(f"unit must be a Unit, not {self.unit!r}.")
        checked = self.unit.check(self.weights, self.thresholds)
        for name, values in zip(("weights", "thresholds"), checked, strict=True):
            object.__setattr__(self, name, values)


def chain(layers: Layer | Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers of a pipeline, which may be one.

    Raises `SynthesisError` for none, and for one that cannot take what the one before gives.
    """
    found = (layers,) if isinstance(layers, Layer) else tuple(layers)
    if not found:
        raise SynthesisError("a pipeline needs at least one layer, and there is none.")
    for number, layer in enumerate(found):
        if not isinstance(layer, Layer):
            raise SynthesisError(f"layer {number} must be a Layer, not {layer!r}.")
    for number, (before, after) in enumerate(pairwise(found), 1):
        one, two = before.unit, after.unit
        if one.out_bits is None:
            raise SynthesisError(
                f"out_bits of layer {number - 1} must be a number, not None: only the last layer "
                "may give sums."
            )
        for taken, given in (("mw", "mh"), ("simd", "pe"), ("act_bits", "out_bits")):
            t, g = getattr(two, taken), getattr(one, given)
            if t != g:
                raise SynthesisError(
                    f"{taken} of layer {number} must be {g}, {given} of the layer before, not {t}."
                )
        if not two.act_signed:
            raise SynthesisError(
                f"act_signed of layer {number} must be True: the layer before gives signed numbers."
            )
    return found


def code_range(bits: int, *, signed: bool = True) -> tuple[int, int]:
    """Lowest and highest integer of `bits` bits; one signed bit is ±1."""
    if not signed:
        return 0, 2**bits - 1
    return (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def signed_width(low: int, high: int) -> int:
    """Bits of two's complement that hold `low` to `high`."""
    return max((~low if low < 0 else low).bit_length(), high.bit_length()) + 1


def whole_numbers(name: str, values: ArrayLike, shape: tuple[int | None, int]) -> Integers:
    """`values` as int64; raises `SynthesisError` for another shape or what is not whole.

    None in `shape` is any number of rows.
    """
    rows, columns = shape
    said = f"{name} must have the shape ({'n' if rows is None else rows}, {columns})"
    try:
        array = np.asarray(values)
    except ValueError:  # rows of several lengths
        raise SynthesisError(f"{said}, not rows of several lengths.") from None
    if array.ndim != 2 or array.shape != (len(array) if rows is None else rows, columns):
        raise SynthesisError(f"{said}, not {array.shape}.")
    whole = array.dtype.kind in "iu" or array.dtype.kind == "f" and (np.rint(array) == array).all()
    if not whole or (array >= 2**62).any() or (array <= -(2**62)).any():
        raise SynthesisError(f"{name} must be whole numbers.")
    return array.astype(np.int64)


def allowed(name: str, values: Integers, low: int, high: int, *, sign: bool) -> None:
    """Raise `SynthesisError` unless all lie in low … high, or with `sign` are the two ends."""
    wrong = ~np.isin(values, (low, high)) if sign else (values < low) | (values > high)
    if wrong.any():
        which = f"{low} or {high}" if sign else f"from {low} to {high}"
        raise SynthesisError(f"{name} must be {which}, and one is {values[wrong][0]}.")


def is_whole(value: object) -> bool:
    """Whether it is an integer, of Python or NumPy, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)
