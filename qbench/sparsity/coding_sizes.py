"""What ternary weights take when they are stored: Faraone 2021, Tables 3.2 and 3.3."""

import lzma
import zlib
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike

from .coding_huffman import huffman
from .coding_run_length import WIDEST, run_length
from .coding_stream import check_width, differences, pack, ternary
from .errors import SparsityError

# Bytes. The thesis's dense sizes are parameters x bits / 8 in units of 10**6, not of 2**20: 14.02
# million at 2 bits are 3.505 or 3.343, and Table 3.3 has 3.52.
MEGABYTE = 10**6

_COMPRESSORS = {
    "zlib": lambda data: zlib.compress(data, 6),
    "lzma": lambda data: lzma.compress(data, preset=6),
    "zstd": lambda data: pa.Codec("zstd", compression_level=9).compress(data, asbytes=True),
}
ENCODINGS = (
    *("ternary", "binary", "RLE", "HC", "symbol_entropy", "iid_entropy"),
    *(f"{name}_{form}" for form in ("2bit", "int8") for name in _COMPRESSORS),
)


def sizes(
    layers: Mapping[str, ArrayLike],
    *,
    encodings: Sequence[str] = ENCODINGS,
    width: int | None = None,
) -> pd.DataFrame:
    """Bits of each layer's weights in each of `encodings`, a row a layer and encoding.

    - `ternary` and `binary`: 2 bits and 1 bit a weight;
    - `RLE` and `HC`: real streams of `run_length` (at `width`, or each layer's best) and `huffman`;
    - `symbol_entropy`: zeroth-order entropy of the (index difference, sign) symbols, which neither
      payload can be below;
    - `iid_entropy`: N times the entropy of the layer's shares of -1, 0 and 1. A bound for weights
      that are drawn independently, not for each tensor: order can be exploited;
    - `zlib_2bit` and so on: general compressors (zlib and lzma at 6, zstd at 9, with their own
      headers) on the weights packed to 2 bits each, or one to a byte. lzma and zlib are slow, up
      to a few seconds a million weights: `encodings` may leave them out.

    Columns: `layer`, `weights`, `nonzeros`, `encoding`, `width` (missing but for RLE),
    `header_bits`, `table_bits`, `payload_bits`, `bits` (all of a stream, with what fills its last
    bytes) and `megabytes` (of 10**6 bytes). Sums over the layers are a network's.
    Raises `SparsityError` as `run_length` does, and where there is no layer.
    """
    if not layers:
        raise SparsityError("sizes needs at least one layer, and there is none.")
    if not encodings or not set(encodings) <= set(ENCODINGS):
        asked = ", ".join(map(str, encodings)) or "none"
        raise SparsityError(f"encodings must be some of {', '.join(ENCODINGS)}, not {asked}.")
    if width is not None:
        check_width("width", width, 1, WIDEST)
    checked = {}
    for name, weights in layers.items():
        try:
            checked[name] = ternary(weights)
        except SparsityError as error:
            raise SparsityError(f"layer {name!r}: {error}") from None
    rows = []
    for name, array in checked.items():
        layer = {"layer": name, "weights": array.size, "nonzeros": np.count_nonzero(array)}
        for encoding in dict.fromkeys(encodings):
            rows.append(layer | {"encoding": encoding} | _parts(array, encoding, width))
    frame = pd.DataFrame(rows).astype({"width": "Int64"})
    return frame.assign(megabytes=frame["bits"] / 8 / MEGABYTE)


def _parts(array: np.ndarray, encoding: str, width: int | None) -> dict[str, object]:
    """Columns `width` to `bits` of `sizes`."""
    if encoding in ("RLE", "HC"):
        stream = run_length(array, width) if encoding == "RLE" else huffman(array)
        return {
            "width": getattr(stream, "width", None),
            "header_bits": stream.header_bits,
            "table_bits": stream.table_bits,
            "payload_bits": stream.payload_bits,
            "bits": 8 * len(stream.tobytes()),
        }
    if encoding in ("ternary", "binary"):
        bits = {"ternary": 2, "binary": 1}[encoding] * array.size
    elif encoding == "symbol_entropy":
        found, negative = differences(array)
        bits = _entropy_bits(np.bincount(2 * found + negative))
    elif encoding == "iid_entropy":
        bits = _entropy_bits(np.bincount(array.reshape(-1) + 1))
    else:
        name, form = encoding.split("_")
        bits = 8 * len(_COMPRESSORS[name](packed(array) if form == "2bit" else array.tobytes()))
    return {"width": None, "header_bits": 0, "table_bits": 0, "payload_bits": bits, "bits": bits}


def packed(weights: np.ndarray) -> bytes:
    """Ternary weights at 2 bits each, two's complement, four to a byte, the first in the high."""
    return pack(weights.reshape(-1).view(np.uint8) & 3, 2)


def iid_bits(density: float) -> float:
    """Entropy in bits a weight where weights are independent, ±1 with `density` / 2 each."""
    _check_density(density)
    return _entropy_bits(np.array([1 - density, density / 2, density / 2]))


def expected_bits(density: float, width: int | None = None) -> float:
    """Run-length coding's bits a weight where a share of `density` is not zero, independently.

    density · (width + 1) / (1 - (1 - density)**(2**width - 1)): a codeword is an escape where the
    next 2**width - 1 weights are all zero. `width` None takes the best. Raises `SparsityError`.
    """
    _check_density(density)
    widths = range(1, WIDEST + 1) if width is None else [check_width("width", width, 1, WIDEST)]
    # log1p and expm1: a density of 1e-9 would otherwise be lost in rounding.
    with np.errstate(divide="ignore"):
        zero = np.log1p(-density)
    return min(float(density * (w + 1) / -np.expm1(zero * (2**w - 1))) for w in widths)


def _check_density(density: float) -> None:
    if not isinstance(density, Real) or not 0 < density <= 1:
        raise SparsityError(f"density must be a number above 0 and at most 1, not {density!r}.")


def _entropy_bits(counts: np.ndarray) -> float:
    """Sum of counts times the entropy of their shares."""
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum())
