"""Run-length coding of ternary weights: Faraone 2021, sections 3.2.4 and 3.4.1.

A codeword has `width + 1` bits: the sign (1 is negative), then `width` bits that hold the index
difference to the previous non-zero less 1, from 0 to 2**width - 2. All ones are an escape: they
advance the index by 2**width - 1 and give no weight; an escape's sign is 0. So a decompressor does
one addition a codeword. Codewords are packed most significant bit first.

Of N weights n are not zero. The payload has (width + 1) · (n + escapes) bits, and as each escape
passes 2**width - 1 zeros, there are at most (N - n) // (2**width - 1) of them. At width 1 that is
2 · N bits, so that with the best width a payload never exceeds 2 bits a weight, dense storage.
"""

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from .coding_stream import (
    Stream,
    check_width,
    differences,
    pack,
    restore,
    seal,
    ternary,
    unpack,
    unseal,
)
from .errors import SparsityError

WIDEST = 31  # a codeword fits in 32 bits


@dataclass(frozen=True)
class RunLength(Stream):
    """Ternary weights of `shape` as `codewords` of `width` bits and a sign, packed in `payload`."""

    shape: tuple[int, ...]
    width: int
    nonzeros: int
    codewords: int  # non-zeros and escapes
    payload: bytes

    MAGIC: ClassVar[bytes] = b"tRL1"
    FIELDS: ClassVar[struct.Struct] = struct.Struct("<BII")  # width, nonzeros, codewords
    table_bits: ClassVar[int] = 0

    @property
    def escapes(self) -> int:
        return self.codewords - self.nonzeros

    @property
    def payload_bits(self) -> int:
        """Without the zeros that fill the last byte."""
        return (self.width + 1) * self.codewords

    def words(self) -> np.ndarray:
        """The codewords, (codewords,) uint32. Raises `SparsityError` as `decode` does."""
        return unpack(self.payload, check_width("width", self.width, 1, WIDEST) + 1, self.codewords)

    def decode(self) -> np.ndarray:
        """The weights, int8. Raises `SparsityError` for what `run_length` would never write."""
        words = self.words()
        span = 2**self.width - 1
        difference, negative = words & span, words > span
        escape = difference == span
        if (escape & negative).any():
            raise SparsityError("an escape must have the sign 0, and one has 1.")
        if len(words) and escape[-1]:
            raise SparsityError("the last codeword must be a weight, not an escape.")
        if np.count_nonzero(~escape) != self.nonzeros:
            raise SparsityError(
                f"the stream has {np.count_nonzero(~escape):,} weights, and its header says "
                f"{self.nonzeros:,}."
            )
        # An escape holds what it advances by, a weight one less.
        places = np.cumsum(difference + ~escape, dtype=np.int64) - 1
        return restore(self.shape, places[~escape], negative[~escape])

    def tobytes(self) -> bytes:
        fields = self.FIELDS.pack(self.width, self.nonzeros, self.codewords)
        return seal(self.MAGIC, self.shape, fields, self.payload)

    @classmethod
    def frombytes(cls, data: bytes) -> Self:
        """What `tobytes` wrote. Raises `SparsityError` for anything else."""
        shape, fields, payload = unseal(data, cls.MAGIC, cls.FIELDS)
        stream = cls(shape, *fields, payload)
        stream.decode()
        return stream


def run_length(weights: ArrayLike, width: int | None = None) -> RunLength:
    """Encode weights of -1, 0 and 1, of any shape; `width` None takes the one of fewest bits.

    Raises `SparsityError` for other values, for 2**32 weights or more, and for a width that is not
    from 1 to 31.
    """
    if width is not None:
        width = check_width("width", width, 1, WIDEST)
    array = ternary(weights)
    gaps, negative = differences(array)
    gaps -= 1
    if width is None:
        width = _narrowest(gaps)
    span = 2**width - 1
    escapes, rest = np.divmod(gaps, span)
    ends = np.cumsum(escapes + 1)  # of each weight's codewords, of which its own is the last
    words = np.full(ends[-1] if len(ends) else 0, span, np.uint32)
    words[ends - 1] = rest | negative.astype(np.int64) << width
    return RunLength(array.shape, width, len(gaps), len(words), pack(words, width + 1))


def best_width(weights: ArrayLike) -> int:
    """The width whose payload has the fewest bits; of equals the narrowest."""
    return _narrowest(differences(ternary(weights))[0] - 1)


def _narrowest(gaps: np.ndarray) -> int:
    counts = np.bincount(gaps)
    found = np.flatnonzero(counts)
    counts = counts[found]
    bits = []
    for width in range(1, WIDEST + 1):
        escapes = counts @ (found // (2**width - 1))
        bits.append((width + 1) * (len(gaps) + int(escapes)))
        if not escapes:  # any wider is only longer
            break
    return 1 + bits.index(min(bits))
