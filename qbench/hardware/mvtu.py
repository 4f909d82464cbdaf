"""What a layer costs on an FPGA: FINN-R's analytic estimates, vectorised.

The matrix-vector-threshold unit (MVTU) multiplies an MH × MW matrix by vectors of MW inputs with
`pe` processing elements (rows at a time) of `simd` multipliers each (columns at a time). The
formulas are those of Blott et al. 2018 (FINN-R, ACM TRETS 11, 3) with the constants of the FINN
compiler, which is what a reader would compare with. They are estimates before synthesis; they count
no FIFOs, width converters, padding, pooling or DMA.

Every number may be an int or a NumPy array of integers; arrays broadcast, so that 64 pairs of bit
widths times all foldings are one call.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from . import flip_flops
from .errors import HardwareError

MOST_BITS = 16
ACCUMULATOR_BITS = 32  # FINN's default type of an accumulator
STORAGE = ("bram", "lut")
THRESHOLD_STORAGE = ("none", "lut", "bram")
MULTIPLIERS = ("lut", "dsp")

Number = int | np.ndarray


@dataclass(frozen=True)
class Cost:
    """Resources, and the clock cycles one frame takes; integers or arrays of them.

    `bram18` are block RAMs of 18 kbit. `ff` is NaN until `flip_flops` has a model. `a + b` puts two
    units into one stream: resources add up, the slower one sets the cycles.
    """

    lut: Number
    ff: float | Number
    bram18: Number
    dsp: Number
    cycles: Number

    def __add__(self, other: Cost) -> Cost:
        if not isinstance(other, Cost):
            return NotImplemented
        sums = (getattr(self, name) + getattr(other, name) for name in RESOURCES)
        return Cost(*sums, _larger(self.cycles, other.cycles))


RESOURCES = tuple(field.name for field in fields(Cost))[:-1]


def estimate(
    mw: Number,
    mh: Number,
    pe: Number,
    simd: Number,
    weight_bits: Number,
    act_bits: Number,
    *,
    out_bits: Number | None = None,
    signed_input: bool | np.ndarray = True,
    weight_storage: str = "bram",
    threshold_storage: str = "none",
    multipliers: str = "lut",
    accumulator_bits: Number = ACCUMULATOR_BITS,
    vectors: Number = 1,
) -> Cost:
    """One MVTU: mw inputs, mh outputs, `vectors` vectors a frame (1 for a fully connected layer).

    With P = pe, Q = simd, W and A the bits of weights and inputs, ω = MW·MH/(P·Q):

    - LUT = ⌊300 + 1.1·P·(mult + add + acc + thr + comp) + c2⌋, mult = Q(2⌈(W+A)/6⌉−1)(W+A), or 0
      with multipliers in DSPs, add = (W+A)(2Q−1), acc from `accumulator`, c2 = P·Q·W·⌈ω/64⌉ with
      weights in LUTs;
    - BRAM18 = `bram18(P·Q·W, ω)` with weights in BRAM;
    - DSP = P·Q·⌈(W+A)/48⌉ with multipliers in DSPs, else 0;
    - cycles = (MH/P)·(MW/Q)·vectors.

    `out_bits` B is the width of the activation that the unit's thresholds make, None where sums
    leave as they are (a classifier's last layer). `threshold_storage`:

    - "none", what FINN's estimate does by default: neither the 2^B−1 thresholds of each output nor
      their comparators are counted. At 8 bits they would be several times everything else, so never
      compare such an estimate with synthesis.
    - "lut": thr = (2^B−1)·acc·⌈(MH/P)/64⌉ and comp = (2^B−1)·acc, FINN's formula for thresholds in
      distributed memory, each output compared with all its thresholds at once.
    - "bram": comp as before; the memory, P·(2^B−1)·acc bits wide and MH/P deep, in block RAM by the
      formula for weights. FINN publishes none for this; a memory one word deep is constants.

    One bit is −1 or +1 and enters every formula as a signed number of width 1, as FINN's BIPOLAR
    does: nothing is taken off for products that are an XNOR. At 1 bit B there is one threshold.
    32 bits stand for float32 in this book, which an MVTU does not compute: they are refused.

    Raises `HardwareError` where pe does not divide mh, simd does not divide mw, a count is below 1,
    bits are not 1 to 16, or a choice of storage is unknown.
    """
    one_of("weight_storage", weight_storage, STORAGE)
    one_of("threshold_storage", threshold_storage, THRESHOLD_STORAGE)
    one_of("multipliers", multipliers, MULTIPLIERS)
    mw, mh, pe, simd = (
        whole(name, value) for name, value in (("mw", mw), ("mh", mh), ("pe", pe), ("simd", simd))
    )
    w, a = bits("weight_bits", weight_bits), bits("act_bits", act_bits)
    b = 0 if out_bits is None else bits("out_bits", out_bits)
    vectors = whole("vectors", vectors)
    _divides("pe", pe, "mh", mh)
    _divides("simd", simd, "mw", mw)

    depth = (mw // simd) * (mh // pe)  # ω: words of the weights' memory
    limit = whole("accumulator_bits", accumulator_bits)
    acc = -_larger(-limit, -accumulator(mw, w, a, signed_input))
    mult = simd * (2 * -(-(w + a) // 6) - 1) * (w + a) if multipliers == "lut" else 0
    adders = (w + a) * (2 * simd - 1)
    comparators = (2**b - 1) * acc if threshold_storage != "none" else 0
    memory = comparators * -(-(mh // pe) // 64) if threshold_storage == "lut" else 0
    in_luts = pe * simd * w * -(-depth // 64) if weight_storage == "lut" else 0
    # In whole numbers: 1.1 times a whole number, rounded down, without the rounding of floats.
    lut = 300 + 11 * pe * (mult + adders + acc + memory + comparators) // 10 + in_luts

    blocks = bram18(pe * simd * w, depth) if weight_storage == "bram" else 0
    if threshold_storage == "bram":
        words = mh // pe
        blocks = blocks + bram18(pe * comparators, words) * (words > 1)
    dsp = pe * simd * -(-(w + a) // 48) if multipliers == "dsp" else 0
    ff = flip_flops.estimate(pe, simd, w, a, acc, b, depth)
    return _cost(lut, ff, blocks, dsp, depth * vectors)


def accumulator(
    mw: Number, weight_bits: Number, act_bits: Number, signed_input: bool | np.ndarray = True
) -> Number:
    """Bits that hold any sum of mw products: ⌈α + log2(1 + 2^−α) + 1⌉.

    α = log2(MW) + W + A − 1 − [signed input]. That is the number of bits of 2^α, plus 1, which is
    what is computed: logarithms of floats would be off where MW + 1 is a power of two.
    """
    signed = np.asarray(signed_input, int) if np.ndim(signed_input) else int(signed_input)
    largest = mw * 2 ** (weight_bits + act_bits - 1 - signed)
    if type(largest) is int:
        return largest.bit_length() + 1
    return np.frexp(largest)[1].astype(np.int64) + 1


def bram18(width: Number, depth: Number) -> Number:
    """Block RAMs of 18 kbit for a memory of `depth` words of `width` bits (FINN-R).

    Blocks of the narrowest shape that `width` fits, from 16384 × 1 to 1024 × 18, side by side and
    on top of each other; 512 × 36 for more than 18 bits and at most 512 words. Doubling the width
    and halving the depth can make it more or fewer: whole blocks are counted.
    """
    shape = 0 + (width > 1) + (width > 2) + (width > 4) + (width > 9)
    return _blocks(width, depth, shape + ((width > 18) & (depth <= 512)))


def _blocks(width: Number, depth: Number, shape: Number) -> Number:
    """Blocks of shape 0 to 5, 16384 × 1 to 512 × 36: each ninth bit is one meant for parity."""
    wide = (1 << shape) + ((1 << shape) >> 3)
    return -(-depth // (16384 >> shape)) * -(-width // wide)


def sliding_window(
    channels: Number,
    kernel: Number,
    size: Number,
    simd: Number,
    act_bits: Number,
    *,
    stride: Number = 1,
    padding: Number = 0,
    storage: str = "bram",
) -> Cost:
    """The sliding window unit that feeds a convolution's MVTU: `simd` channels a cycle (FINN-R).

    It keeps K + S lines of the image (kernel K, stride S), each a memory of I·C/Q words of Q·A bits
    (I = size + 2·padding pixels, C channels, Q = simd, A = act_bits). BRAM18: K + S times the
    blocks of the widest shape deep enough; FINN counts a line of more than 16,384 words as one
    block deep, here it takes as many as it needs. LUT: 300, and (K + S)·Q·A·⌈I·C/Q/64⌉ with lines
    in LUTs. Cycles: K·I·C/Q to fill, then for each of O rows of output the longer of writing,
    O·K²·C/Q, and reading, S·I·C/Q. A 1 × 1 kernel with stride 1 needs no unit and costs nothing.
    Images and kernels are square.

    Raises `HardwareError` where simd does not divide the channels or the kernel exceeds the image.
    """
    one_of("storage", storage, STORAGE)
    channels, simd = whole("channels", channels), whole("simd", simd)
    kernel, stride, side, out = geometry(kernel, size, stride, padding)
    a = bits("act_bits", act_bits)
    _divides("simd", simd, "channels", channels)

    words = channels // simd
    line = side * words
    deepest = 5 - (line > 512) - (line > 1024) - (line > 2048) - (line > 4096) - (line > 8192)
    lines = kernel + stride
    blocks = lines * _blocks(simd * a, line, deepest) if storage == "bram" else 0
    lut = 300 + (lines * simd * a * -(-line // 64) if storage == "lut" else 0)
    cycles = kernel * line + out * _larger(out * kernel**2 * words, stride * line)
    needed = 0 + ((kernel > 1) | (stride > 1))
    ff = np.where(needed, np.nan, 0.0)
    return _cost(lut * needed, ff, blocks * needed, 0, cycles * needed)


def convolution(
    channels: Number,
    filters: Number,
    kernel: Number,
    size: Number,
    pe: Number,
    simd: Number,
    weight_bits: Number,
    act_bits: Number,
    *,
    stride: Number = 1,
    padding: Number = 0,
    line_storage: str = "bram",
    **options: Any,
) -> Cost:
    """A convolution: a `sliding_window` unit and an MVTU with MW = K²·C, MH = filters.

    The MVTU works on one vector an output pixel. The window unit delivers gcd(simd, channels)
    channels a cycle, the most that divides both, and the slower of the two sets the cycles; so a
    larger simd that shares less with the channels can be slower. (size, size) image, square kernel;
    `options` are those of `estimate`. Raises `HardwareError` as both do.
    """
    channels, simd = whole("channels", channels), whole("simd", simd)
    kernel, _, _, out = geometry(kernel, size, stride, padding)
    mw, vectors = kernel * kernel * channels, out * out
    mvtu = estimate(mw, filters, pe, simd, weight_bits, act_bits, vectors=vectors, **options)
    lanes = _plain(np.gcd(simd, channels))
    window = {"stride": stride, "padding": padding, "storage": line_storage}
    return mvtu + sliding_window(channels, kernel, size, lanes, act_bits, **window)


def geometry(kernel: Number, size: Number, stride: Number, padding: Number) -> tuple:
    """Kernel, stride, side of the padded image and of the output, checked."""
    kernel, size, stride = (
        whole(name, value)
        for name, value in (("kernel", kernel), ("size", size), ("stride", stride))
    )
    side = size + 2 * whole("padding", padding, least=0)
    if _any(kernel > side):
        raise HardwareError(
            f"kernel must be at most {_shown(side)}, the side of the padded image, not "
            f"{_shown(kernel)}."
        )
    return kernel, stride, side, (side - kernel) // stride + 1


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> Number:
    """`value` as an int or an int64 array, checked; `HardwareError` names what is allowed."""
    if type(value) is int:
        good = value >= least and (most is None or value <= most)
    else:
        array = np.asarray(value)
        good = array.dtype.kind in "iu" and bool((array >= least).all())
        good = good and (most is None or bool((array <= most).all()))
    if not good:
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise HardwareError(f"{name} must be a whole number {allowed}, not {value!r}.")
    return value if type(value) is int else array.astype(np.int64)


def single(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """As `whole` for one number; arrays are refused."""
    if np.ndim(value):
        raise HardwareError(f"{name} must be one number, not an array of {np.size(value)}.")
    return int(whole(name, value, least, most))


def bits(name: str, value: Any) -> Number:
    """A bit width from 1 to 16."""
    return whole(name, value, 1, MOST_BITS)


def _divides(part: str, parts: Number, name: str, total: Number) -> None:
    rest = total % parts
    if _any(rest):
        wrong, of = np.broadcast_arrays(parts, total)
        where = np.unravel_index(np.argmax(rest != 0), np.shape(rest))
        raise HardwareError(
            f"{part} must divide {name}, and {wrong[where]} does not divide {of[where]}."
        )


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise HardwareError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")


def _any(value: Any) -> bool:
    return bool(value) if isinstance(value, int) else bool(np.any(value))


def _larger(one: Any, other: Any) -> Any:
    """The larger of two ints, or of each pair of elements; NumPy is slow at single numbers."""
    if type(one) is int and type(other) is int:
        return max(one, other)
    return np.maximum(one, other)


def _cost(*values: Any) -> Cost:
    """A `Cost` of plain numbers, or of arrays of one shape."""
    if all(isinstance(value, int | float) or value.ndim == 0 for value in values):
        return Cost(*map(_plain, values))
    return Cost(*(np.array(value) for value in np.broadcast_arrays(*values)))


def _plain(value: Any) -> Any:
    """A number of Python's where there is just one."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and not value.ndim else value


def _shown(value: Any) -> str:
    return str(value) if np.ndim(value) == 0 else str(np.asarray(value).tolist())
