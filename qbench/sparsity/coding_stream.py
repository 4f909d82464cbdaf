"""What both streams of ternary weights share: the differences, the bits, the header.

Weights are taken in C order (the last index fastest). The first non-zero's index difference counts
from -1, so every difference is at least 1; zeros after the last non-zero cost nothing, as the
header has the shape.

A stream is stored as (little-endian)

    magic 4 bytes · CRC-32 of all else 4 · dimensions 1 · each dimension 4 · fields of the coding,
    its code table where it has one, its payload

so that any change of up to 32 bits in a row is noticed, a flipped sign among them.
"""

import math
import struct
import zlib
from collections.abc import Collection
from numbers import Integral
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .errors import SparsityError

MOST = 2**32 - 1  # weights of one stream: the header's numbers have 32 bits
_CHUNK = 2**16  # codewords at a time; a multiple of 8, so that every chunk ends with a whole byte


def ternary(weights: ArrayLike) -> np.ndarray:
    """`weights` as int8; a tensor of PyTorch is taken too. Raises `SparsityError`."""
    if hasattr(weights, "detach"):
        weights = weights.detach().cpu()
    try:
        array = np.asarray(weights)
    except (TypeError, ValueError):  # ragged lists; PyTorch's own types of number
        raise SparsityError(
            "weights must be a rectangular array of numbers of a type that NumPy has, and this "
            f"{type(weights).__name__} is not."
        ) from None
    if array.dtype.kind not in "iuf":
        raise SparsityError(f"weights must be an array of numbers, not of {array.dtype}.")
    check_shape("weights", array.shape)
    wrong = (array != 0) & (array != 1) & (array != -1)
    if wrong.any():
        raise SparsityError(f"weights must be -1, 0 or 1, not {array[wrong][0]}.")
    return array.astype(np.int8, copy=False)


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Refuse what the header cannot say, or NumPy not make; a dimension of 0 changes neither."""
    if len(shape) > 64 or math.prod(max(1, size) for size in shape) > MOST:
        raise SparsityError(
            f"{name} must have at most 64 dimensions with a product of at most {MOST:,}, not "
            f"{len(shape)} with one of {math.prod(max(1, size) for size in shape):,}."
        )


def differences(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index differences between non-zeros (int64), and which of them are negative (bool)."""
    flat = weights.reshape(-1)
    places = np.flatnonzero(flat)
    return np.diff(places, prepend=-1), flat[places] < 0


def restore(shape: tuple[int, ...], places: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """int8 weights of `shape`, ±1 at `places` (ascending) and 0 elsewhere."""
    if len(places) and places[-1] >= math.prod(shape):
        raise SparsityError(
            f"the stream has a weight at index {places[-1]:,}, and its shape {shape} only "
            f"{math.prod(shape):,}."
        )
    flat = np.zeros(math.prod(shape), np.int8)
    flat[places] = 1 - 2 * negative.astype(np.int8)
    return flat.reshape(shape)


def check_width(name: str, width: object, least: int, most: int) -> int:
    if not isinstance(width, Integral) or isinstance(width, bool) or not least <= width <= most:
        raise SparsityError(f"{name} must be a whole number from {least} to {most}, not {width!r}.")
    return int(width)


def pack(words: np.ndarray, bits: int) -> bytes:
    """The low `bits` (1 to 32) of each word, most significant first; zeros fill the last byte."""
    packed = []
    for at in range(0, len(words), _CHUNK):
        columns = words[at : at + _CHUNK].astype(">u4")[:, None].view(np.uint8)
        packed.append(np.packbits(np.unpackbits(columns, axis=1)[:, 32 - bits :]).tobytes())
    return b"".join(packed)


def unpack(data: bytes, bits: int, count: int) -> np.ndarray:
    """`count` words of `bits` each (uint32), as `pack` wrote them."""
    check_payload(data, bits * count)
    raw = np.frombuffer(data, np.uint8)
    words = np.zeros(count, ">u4")
    for at in range(0, count, _CHUNK):
        some = min(_CHUNK, count - at)
        padded = np.zeros((some, 32), np.uint8)
        first = at * bits // 8
        chunk = np.unpackbits(raw[first : first + -(-some * bits // 8)], count=some * bits)
        padded[:, 32 - bits :] = chunk.reshape(some, bits)
        words[at : at + some] = np.packbits(padded, axis=1).view(">u4")[:, 0]
    return words.astype(np.uint32)


def check_payload(data: bytes, bits: int) -> None:
    """Refuse bytes that do not hold exactly `bits`, or that end in anything but zeros."""
    if len(data) != -(-bits // 8):
        raise SparsityError(
            f"the stream must have {-(-bits // 8):,} bytes of codewords, not {len(data):,}."
        )
    if data and data[-1] & ((1 << -bits % 8) - 1):
        raise SparsityError("the stream must end in zeros after its last codeword.")


def seal(magic: bytes, shape: tuple[int, ...], fields: bytes, rest: bytes) -> bytes:
    """A stream's bytes; `fields` and `rest` are the coding's own."""
    content = struct.pack(f"<B{len(shape)}I", len(shape), *shape) + fields + rest
    return magic + zlib.crc32(content).to_bytes(4, "little") + content


class Stream:
    """What both codings have: ternary weights of `shape`, behind a header with their `FIELDS`."""

    shape: tuple[int, ...]
    MAGIC: ClassVar[bytes]
    FIELDS: ClassVar[struct.Struct]

    @property
    def header_bits(self) -> int:
        """Magic, checksum, shape, and the coding's own fields."""
        return 8 * (9 + 4 * len(self.shape) + self.FIELDS.size)


def start(data: bytes, kinds: Collection[bytes]) -> bytes:
    """The magic bytes, one of `kinds`."""
    magic = bytes(data[:4])
    if magic not in kinds:
        known = " or ".join(repr(kind) for kind in kinds)
        raise SparsityError(f"a stream of ternary weights starts with {known}, not {magic!r}.")
    return magic


def unseal(
    data: bytes, magic: bytes, fields: struct.Struct
) -> tuple[tuple[int, ...], tuple[int, ...], bytes]:
    """Shape, the coding's fields and the rest of what `seal` wrote. Raises `SparsityError`."""
    start(data, [magic])
    content = bytes(data[8:])
    if zlib.crc32(content) != int.from_bytes(data[4:8], "little") or not content:
        raise SparsityError("the stream is damaged or cut off: its checksum differs.")
    ends = 1 + 4 * content[0]
    if len(content) < ends + fields.size:
        raise SparsityError(f"the stream's header is cut off after {len(data)} bytes.")
    shape = struct.unpack_from(f"<{content[0]}I", content, 1)
    check_shape("the stream", shape)
    return shape, fields.unpack_from(content, ends), content[ends + fields.size :]
