"""Number formats with few bits: which values exist, and which of them a real number becomes.

Every format here is a `Grid`: evenly spaced levels value = scale · (code − zero point), one for
each integer code. The functions `*_grid` make the grids of the publications; `stewart_weight`,
`symmetric`, `affine` and `fixed_point` round to them in one call. All of them work elementwise on
arrays of any shape, in float64, without units: a value comes back in the unit it went in.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

MAX_BITS = 16


@dataclass(frozen=True)
class Grid:
    """The levels scale · (code − zero_point) for the integer codes lowest … highest.

    `ties` says what happens to a number halfway between two levels: "even" takes the even code, as
    NumPy, PyTorch and ONNX do; "up" takes the greater level, as ⌊x + ½⌋ does. The zero point is an
    integer, or ½ where zero lies midway between the two levels of a 1-bit format.
    """

    scale: float
    zero_point: float
    lowest: int
    highest: int
    ties: Literal["even", "up"] = "even"

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be a positive finite number, not {self.scale!r}.")
        if not self.lowest < self.highest:
            raise ValueError(f"lowest must be below highest ({self.highest}), not {self.lowest}.")
        if self.ties not in ("even", "up"):
            raise ValueError(f"ties must be 'even' or 'up', not {self.ties!r}.")

    @property
    def levels(self) -> Floats:
        """All values of the format in ascending order, shape (highest − lowest + 1,)."""
        return self.dequantise(np.arange(self.lowest, self.highest + 1))

    def quantise(self, x: ArrayLike) -> Codes:
        """Code of the level nearest to each number of `x`; the end codes for what lies outside.

        Same shape as `x` (Vailakis 2022, eqs. 3.6 and 3.10). Raises `ValueError` if `x` has a NaN.
        """
        with np.errstate(over="ignore"):  # far outside the range: clipped below
            steps = _numbers(x) / self.scale
        if self.ties == "even":
            nearest = np.rint(steps + self.zero_point)
        else:  # the whole part of zero_point + ½ is added last: it must not swallow a tiny x
            fraction, whole = math.modf(self.zero_point + 0.5)
            nearest = np.floor(steps + fraction) + whole
        return np.clip(nearest, self.lowest, self.highest).astype(np.int64)

    def dequantise(self, codes: ArrayLike) -> Floats:
        """Value of each code, same shape (Vailakis 2022, eq. 3.7)."""
        return (np.asarray(codes) - self.zero_point) * self.scale

    def __call__(self, x: ArrayLike) -> Floats:
        """The level nearest to each number of `x`, same shape."""
        return self.dequantise(self.quantise(x))


def stewart_grid(bits: int) -> Grid:
    """The weights' grid of Stewart et al. 2021, section 2.3: 2ⁿ − 1 levels, ±1 for one bit.

    For n = `bits` ≥ 2 (at most 16), step 2^(2−n) from −2 + 2^(2−n) to 2 − 2^(2−n). At n = 1 that
    range is the single value 0; Table 1 shows the sign instead.
    """
    if _bit_width(bits) == 1:
        return _sign_grid(1.0)
    return Grid(2.0 ** (2 - bits), 0, *integer_range(bits, narrow=True))


def symmetric_grid(bits: int, max_abs: float, *, narrow: bool = True) -> Grid:
    """Vailakis 2022, eqs. 3.6–3.11, on the range [−max_abs, max_abs], with zero point 0.

    `narrow` leaves out the most negative code, so that ±max_abs are both levels and eq. 3.9 gives
    the zero point 0 exactly: 2ⁿ − 1 levels. With `narrow=False`, the integer range of Table 3.2,
    eq. 3.9 asks for −½ and the zero point is set to 0 as the text says: 2ⁿ levels. One bit is the
    sign, ±max_abs. Raises `ValueError` unless `max_abs` is positive and finite.
    """
    if not 0 < max_abs < math.inf:
        raise ValueError(f"max_abs must be a positive finite number, not {max_abs!r}.")
    if _bit_width(bits) == 1:
        return _sign_grid(float(max_abs))
    lowest, highest = integer_range(bits, narrow=narrow)
    return Grid(2 * max_abs / (highest - lowest), 0, lowest, highest)


def affine_grid(bits: int, low: float, high: float, *, signed: bool = False) -> Grid:
    """Vailakis 2022, eqs. 3.6–3.10, on the range [low, high]: 2ⁿ levels.

    scale = (high − low) / (2ⁿ − 1) (eq. 3.8); the zero point (eq. 3.9) is rounded to an integer, so
    the levels may lie up to half a step beside [low, high]. Zero is a level if low ≤ 0 ≤ high.
    `signed` takes the signed codes of Table 3.2 instead of the unsigned ones; the levels are the
    same up to ties. Raises `ValueError` unless low < high, both finite.
    """
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"low and high must be finite with low < high, not {low!r} and {high!r}.")
    lowest, highest = integer_range(bits, signed=signed)
    zero_point = round((high * lowest - low * highest) / (high - low))
    return Grid((high - low) / (highest - lowest), zero_point, lowest, highest)


def fixed_point_grid(bits: int, fraction_bits: int, *, signed: bool = True) -> Grid:
    """Fixed point with `fraction_bits` bits after the point, Faraone 2021, eqs. 2.12 and 4.4.

    Step 2^−f with f = `fraction_bits` (−16 to 32). Signed (two's complement): from −2^(k−1−f) to
    2^(k−1−f) − 2^−f for k = `bits`; unsigned: from 0 to M = 2^(k−f) − 2^−f. 2ᵏ levels either way.
    Ties go up, as ⌊x + ½⌋ in both equations says.
    """
    if not _is_whole(fraction_bits) or not -16 <= fraction_bits <= 32:
        raise ValueError(
            f"fraction_bits must be a whole number from -16 to 32, not {fraction_bits!r}."
        )
    return Grid(2.0**-fraction_bits, 0, *integer_range(bits, signed=signed), ties="up")


def stewart_weight(x: ArrayLike, bits: int) -> Floats:
    """What Table 1 of Stewart et al. 2021 shows: `x` rounded to `stewart_grid(bits)`, same shape.

    No entry of the table is a tie, so its tie rule is unknown; here ties go to the even code.
    """
    return stewart_grid(bits)(x)


def stewart_eq1_as_printed(x: ArrayLike, bits: int) -> Floats:
    """⌊2ⁿx + 2^(n−1) − 1⌋ / 2^(n−2) − 2 + 1/2^(n−2): eq. 1 of Stewart et al. 2021, to the letter.

    Same shape as `x`. It contradicts Table 1; use `stewart_weight`. The publication states it for
    x between the grid's ends only; nothing is clipped here.
    """
    step = 2.0 ** (2 - _bit_width(bits))
    return np.floor(2.0**bits * _numbers(x) + 2.0 ** (bits - 1) - 1) * step - 2 + step


def quantised_tanh(x: ArrayLike, bits: int) -> Floats:
    """tanh(x) rounded to `stewart_grid(bits)`, same shape (Stewart et al. 2021, Fig. 2).

    The grid spans ±2 and tanh only ±1: of the 2ⁿ − 1 levels, 2^(n−1) + 1 occur (both at n = 1).
    """
    return stewart_weight(np.tanh(_numbers(x)), bits)


def symmetric(x: ArrayLike, bits: int, max_abs: float, *, narrow: bool = True) -> Floats:
    """`x` rounded to `symmetric_grid(bits, max_abs, narrow=narrow)`, same shape."""
    return symmetric_grid(bits, max_abs, narrow=narrow)(x)


def affine(x: ArrayLike, bits: int, low: float, high: float) -> Floats:
    """`x` rounded to `affine_grid(bits, low, high)`, same shape."""
    return affine_grid(bits, low, high)(x)


def fixed_point(x: ArrayLike, bits: int, fraction_bits: int, *, signed: bool = True) -> Floats:
    """`x` rounded to `fixed_point_grid(bits, fraction_bits, signed=signed)`, same shape."""
    return fixed_point_grid(bits, fraction_bits, signed=signed)(x)


def integer_range(bits: int, *, signed: bool = True, narrow: bool = False) -> tuple[int, int]:
    """Lowest and highest integer of `bits` bits (1 to 16): Vailakis 2022, Table 3.2.

    `narrow` leaves out the most negative one, so that the signed range is symmetric.
    """
    count = 2 ** _bit_width(bits)
    if not signed:
        return 0, count - 1
    return -count // 2 + narrow, count // 2 - 1


def storage_bits(numbers: int, bits: int) -> int:
    """Bits that `numbers` stored numbers of `bits` bits each take (1 to 64 bits, nothing else)."""
    if not _is_whole(numbers) or numbers < 0:
        raise ValueError(f"numbers must be a whole number of at least 0, not {numbers!r}.")
    return int(numbers) * _bit_width(bits, most=64)


def _sign_grid(magnitude: float) -> Grid:
    """One bit: −magnitude and +magnitude; zero, halfway, goes up."""
    return Grid(2 * magnitude, 0.5, 0, 1, ties="up")


def _bit_width(bits: int, most: int = MAX_BITS) -> int:
    if not _is_whole(bits) or not 1 <= bits <= most:
        raise ValueError(f"bits must be a whole number from 1 to {most}, not {bits!r}.")
    return int(bits)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _numbers(x: ArrayLike) -> Floats:
    values = np.asarray(x, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("x must hold numbers only, not NaN.")
    return values
