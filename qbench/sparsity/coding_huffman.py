"""Huffman coding of ternary weights: Faraone 2021, section 3.2.4.

Index differences between non-zeros, as in run-length coding, are the symbols of a canonical Huffman
code; each codeword is followed by its weight's sign (1 is negative). No difference is too large, so
there are no escapes. The code table says how many codewords there are of each length, and which
differences have them: by length, and by difference within a length.

Of n non-zeros with k different index differences of entropy H, the payload has at most
n · (max(1, ceil(log2 k)) + 1) bits, and at most n · (H + 2). It never has more than run-length
coding's at any width, as that is a prefix code of the same differences, too.
"""

import struct
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import ClassVar, Self

import numpy as np
from bitarray import bitarray, decodetree
from bitarray.util import canonical_huffman, int2ba
from numpy.typing import ArrayLike

from .coding_stream import (
    Stream,
    check_payload,
    differences,
    pack,
    restore,
    seal,
    ternary,
    unpack,
    unseal,
)
from .errors import SparsityError


@dataclass(frozen=True)
class Huffman(Stream):
    """Ternary weights of `shape` in a canonical Huffman code, packed in `payload`.

    `lengths` has the number of codewords of 1, 2, ... bits, and `symbols` the index differences
    they stand for, in the order of the code.
    """

    shape: tuple[int, ...]
    nonzeros: int
    lengths: tuple[int, ...]
    symbols: tuple[int, ...]
    payload_bits: int  # without the zeros that fill the last byte
    payload: bytes

    MAGIC: ClassVar[bytes] = b"tHC1"
    # bits of a symbol in the table, longest codeword, nonzeros, payload_bits
    FIELDS: ClassVar[struct.Struct] = struct.Struct("<BBIQ")

    @property
    def table_bits(self) -> int:
        return 8 * len(self._table)

    @cached_property
    def _table(self) -> bytes:
        symbols = pack(np.array(self.symbols, np.uint32), self._symbol_bits)
        return struct.pack(f"<{len(self.lengths)}I", *self.lengths) + symbols

    @property
    def _symbol_bits(self) -> int:
        return max(self.symbols, default=1).bit_length()

    def decode(self) -> np.ndarray:
        """The weights, int8. Raises `SparsityError` for what `huffman` would never write."""
        check_payload(self.payload, self.payload_bits)
        _check_table(self.lengths, self.symbols)
        found = np.zeros(0, np.int64)
        if self.symbols or self.payload_bits:
            bits = bitarray(endian="big")
            bits.frombytes(self.payload)
            del bits[self.payload_bits :]
            try:
                tree = decodetree(_code(self.lengths, self.symbols))
                found = np.fromiter(bits.decode(tree), np.int64)
            except ValueError:
                raise SparsityError("the stream holds bits that are no codeword.") from None
        if len(found) != self.nonzeros:
            raise SparsityError(
                f"the stream has {len(found):,} weights, and its header says {self.nonzeros:,}."
            )
        return restore(self.shape, np.cumsum(np.abs(found)) - 1, found < 0)

    def tobytes(self) -> bytes:
        fields = self.FIELDS.pack(
            self._symbol_bits, len(self.lengths), self.nonzeros, self.payload_bits
        )
        return seal(self.MAGIC, self.shape, fields, self._table + self.payload)

    @classmethod
    def frombytes(cls, data: bytes) -> Self:
        """What `tobytes` wrote. Raises `SparsityError` for anything else."""
        shape, fields, rest = unseal(data, cls.MAGIC, cls.FIELDS)
        symbol_bits, longest, nonzeros, payload_bits = fields
        if len(rest) < 4 * longest or not 1 <= symbol_bits <= 32:
            raise SparsityError("the stream's code table is cut off.")
        lengths = struct.unpack_from(f"<{longest}I", rest)
        ends = 4 * longest + -(-symbol_bits * sum(lengths) // 8)
        symbols = unpack(rest[4 * longest : ends], symbol_bits, sum(lengths))
        stream = cls(shape, nonzeros, lengths, tuple(symbols.tolist()), payload_bits, rest[ends:])
        if stream._symbol_bits != symbol_bits:
            raise SparsityError(
                f"the code table's differences must have {stream._symbol_bits} bits, not "
                f"{symbol_bits}."
            )
        stream.decode()
        return stream


def huffman(weights: ArrayLike) -> Huffman:
    """Encode weights of -1, 0 and 1, of any shape.

    Raises `SparsityError` for other values, and for 2**32 weights or more.
    """
    array = ternary(weights)
    found, negative = differences(array)
    bits = bitarray(endian="big")
    if not len(found):
        return Huffman(array.shape, 0, (), (), 0, b"")
    counts = np.bincount(found)
    different = np.flatnonzero(counts)
    frequencies = dict(zip(different.tolist(), counts[different].tolist(), strict=True))
    code, lengths, _ = canonical_huffman(frequencies)
    symbols = tuple(sorted(code, key=lambda symbol: (len(code[symbol]), symbol)))
    lengths = tuple(lengths[1:])
    bits.encode(_code(lengths, symbols), np.where(negative, -found, found).tolist())
    return Huffman(array.shape, len(found), lengths, symbols, len(bits), bits.tobytes())


def _code(lengths: tuple[int, ...], symbols: tuple[int, ...]) -> dict[int, bitarray]:
    """Codewords with their signs: of a difference for +1, of its negative for -1.

    Not the library's order of symbols, which depends on how its heap broke ties, nor its canonical
    decoder, which ends at 31 bits: Fibonacci-like counts need more.
    """
    code, word, rest = {}, 0, iter(symbols)
    for length, count in enumerate(lengths, 1):
        word <<= 1
        for symbol in islice(rest, count):
            code[symbol] = int2ba(2 * word, length + 1, "big")
            code[-symbol] = int2ba(2 * word + 1, length + 1, "big")
            word += 1
    return code


def _check_table(lengths: tuple[int, ...], symbols: tuple[int, ...]) -> None:
    """Refuse a table that is no complete code; that of a single symbol has one bit, 0."""
    longest = len(lengths)
    used = sum(count << longest - length for length, count in enumerate(lengths, 1))
    if symbols and lengths != (1,) and used != 1 << longest:
        raise SparsityError("the code table's lengths must make a complete prefix code.")
    if lengths and not lengths[-1]:
        raise SparsityError("the code table's last length must have a codeword.")
    if len(symbols) != sum(lengths):
        raise SparsityError(
            f"the code table must have a difference for each of its {sum(lengths):,} codewords, "
            f"not {len(symbols):,}."
        )
    rest = iter(symbols)
    groups = [list(islice(rest, count)) for count in lengths]
    if any(group != sorted(group) for group in groups) or len(set(symbols)) < len(symbols):
        raise SparsityError("the code table's differences must ascend and not repeat.")
    if min(symbols, default=1) < 1:
        raise SparsityError("the code table's differences must be at least 1.")
