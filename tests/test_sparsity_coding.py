"""Stored ternary weights: both streams bit for bit, back again, and never above their bounds."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sparsity_coding_toy import ENCODERS, at, random, tensors

from qbench.sparsity import coding
from qbench.sparsity.coding import Huffman, huffman, run_length
from qbench.sparsity.coding_stream import pack, unpack


def entropy(symbols) -> float:
    """Zeroth-order entropy of all of them together, in bits."""
    counts = np.unique(symbols, return_counts=True)[1]
    return float((counts * np.log2(counts.sum() / counts)).sum())


# The format, said again without NumPy


def by_hand(weights: np.ndarray, width: int) -> str:
    """The payload's bits as the decompressor's format has them."""
    bits, last = "", -1
    for index, value in enumerate(weights.reshape(-1).tolist()):
        if value:
            while index - last > 2**width - 1:
                bits += "0" + "1" * width
                last += 2**width - 1
            bits += ("1" if value < 0 else "0") + f"{index - last - 1:0{width}b}"
            last = index
    return bits


def decompressor(bits: str, width: int, count: int) -> list[int]:
    """One codeword a cycle; the register has the address of the next weight."""
    weights, address = [0] * count, 0
    for start in range(0, len(bits), width + 1):
        sign, magnitude = bits[start], int(bits[start + 1 : start + 1 + width], 2)
        address += magnitude
        if magnitude != 2**width - 1:
            weights[address] = -1 if sign == "1" else 1
            address += 1
    return weights


def bits_of(stream) -> str:
    return "".join(f"{byte:08b}" for byte in stream.payload)


@given(tensors(), st.integers(1, 9))
@example(at([6, 13], 14), 3)  # both differences are 7: an escape each, then a difference of 0 + 1
@example(at([7], 8), 3)
def test_run_length_is_the_format_that_the_decompressor_reads(weights, width):
    stream = run_length(weights, width)
    expected = by_hand(weights, width)
    assert bits_of(stream) == expected + "0" * (-len(expected) % 8)
    assert stream.payload_bits == len(expected)
    assert decompressor(expected, width, weights.size) == weights.reshape(-1).tolist()
    words = [expected[i : i + width + 1] for i in range(0, len(expected), width + 1)]
    assert [f"{word:0{width + 1}b}" for word in stream.words()] == words


def test_one_stream_written_out():
    """Differences 1, 3, 4 and 9 with two bits: 3 is the escape."""
    stream = run_length([1, 0, 0, -1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0], 2)
    assert bits_of(stream) == "000110011000011011110000"  # the last fills up
    assert (stream.nonzeros, stream.codewords, stream.escapes) == (4, 7, 3)
    assert stream.payload_bits == 21 and stream.shape == (18,)
    assert stream.header_bits == 8 * (4 + 4 + 1 + 4 + 1 + 4 + 4)
    assert 8 * len(stream.tobytes()) == stream.header_bits + 24


def test_one_huffman_stream_written_out():
    """Differences 1 four times, 2 twice, 3 and 5 once: 0, 10, 110 and 111, each with a sign."""
    stream = huffman([1, 1, -1, 1, 0, 1, 0, -1, 0, 0, 1, 0, 0, 0, 0, -1])
    assert (stream.lengths, stream.symbols) == ((1, 1, 2), (1, 2, 3, 5))
    assert bits_of(stream) == "000001001001011100111100"
    assert stream.payload_bits == 22 and stream.nonzeros == 8
    assert stream.header_bits == 8 * (4 + 4 + 1 + 4 + 1 + 1 + 4 + 8)
    assert stream.table_bits == 3 * 32 + 16, "four differences of 3 bits, in whole bytes"
    assert 8 * len(stream.tobytes()) == stream.header_bits + stream.table_bits + 24


# Round trips


@pytest.mark.parametrize("encode", ENCODERS)
@given(weights=tensors())
def test_weights_come_back(encode, weights):
    stream = encode(weights)
    data = stream.tobytes()
    again = coding.read(data)
    assert again == stream and again.tobytes() == data
    back = again.decode()
    assert back.dtype == np.int8 and back.shape == weights.shape
    np.testing.assert_array_equal(back, weights)
    parts = stream.header_bits + stream.table_bits + stream.payload_bits
    assert parts <= 8 * len(data) < parts + 8


MILLION = 10**6
CORNERS = {
    "none": np.zeros(0),
    "a dimension of none": np.zeros((3, 0, 2)),
    "a scalar": np.array(-1),
    "all zeros": np.zeros((4, 5)),
    "no zeros": random(999, 1).reshape(3, 333),
    "one at the far end": at([MILLION - 1], MILLION),
    "a million zeros between": at([0, MILLION], MILLION + 1),
    "a million zeros": np.zeros(MILLION),
    "each difference once": at(np.cumsum(np.arange(1, 1000)) - 1, 499_500),
    "sparse": random(200_000, 0.024).reshape(400, 500),
    "dense": random(200_001, 0.9),
}


@pytest.mark.parametrize("weights", CORNERS.values(), ids=CORNERS.keys())
def test_corners_come_back_and_cost_no_more_than_is_said(weights):
    streams = [run_length(weights, width) for width in (None, 1, 7, 8, 31)] + [huffman(weights)]
    for stream in streams:
        back = coding.read(stream.tobytes()).decode()
        assert back.shape == weights.shape
        np.testing.assert_array_equal(back, weights)
    assert streams[0].payload_bits <= min(stream.payload_bits for stream in streams[1:-1])
    assert streams[0].payload_bits <= 2 * weights.size
    if not weights.any():
        assert {stream.payload for stream in streams} == {b""}


def test_the_deepest_codes():
    """Counts as Fibonacci's, and then the longest code that a header can say.

    The library's own canonical decoder ends at 31 bits.
    """
    counts = [1, 1]
    while len(counts) < 20:
        counts.append(counts[-1] + counts[-2])
    differences = np.repeat(np.arange(len(counts), 0, -1), counts)
    stream = huffman(np.bincount(np.cumsum(differences) - 1))
    assert len(stream.lengths) == 19
    back = stream.decode()
    np.testing.assert_array_equal(np.diff(np.flatnonzero(back), prepend=-1), differences)
    deep = Huffman((300,), 1, (1,) * 254 + (2,), tuple(range(1, 257)), 256, b"\xff" * 31 + b"\xfe")
    np.testing.assert_array_equal(np.flatnonzero(coding.read(deep.tobytes()).decode()), [255])


@pytest.mark.parametrize("bits", [1, 3, 8, 13, 32])
def test_words_over_several_chunks(bits):
    words = np.random.default_rng(bits).integers(0, 2**bits, 2**17 + 5, dtype=np.uint32)
    data = pack(words, bits)
    assert len(data) == math.ceil(len(words) * bits / 8)
    np.testing.assert_array_equal(unpack(data, bits, len(words)), words)
    number = int.from_bytes(data, "big") >> (-len(words) * bits % 8)
    assert number & (2**bits - 1) == words[-1] and number >> bits * (len(words) - 1) == words[0]


# Bounds


@given(weights=tensors(), width=st.integers(1, 31))
def test_no_stream_is_larger_than_stated_or_smaller_than_entropy(weights, width):
    count, flat = np.count_nonzero(weights), weights.reshape(-1)
    differences = np.diff(np.flatnonzero(flat), prepend=-1)
    coded, best, given_width = huffman(weights), run_length(weights), run_length(weights, width)
    escapes = (weights.size - count) // (2**width - 1)
    assert given_width.escapes <= escapes
    assert given_width.payload_bits <= (width + 1) * (count + escapes)
    assert best.payload_bits <= min(given_width.payload_bits, 2 * weights.size)
    different = len(set(differences.tolist()))
    fixed = max(1, math.ceil(math.log2(max(1, different)))) + 1
    assert coded.payload_bits <= count * fixed
    assert coded.payload_bits <= entropy(differences) + 2 * count + 1e-6
    assert coded.payload_bits <= best.payload_bits, "run lengths are a prefix code, too"
    signed = differences * flat[flat != 0]
    assert entropy(signed) <= coded.payload_bits + 1e-6


@settings(max_examples=30)
@given(weights=tensors())
def test_the_best_width_is_the_narrowest_of_the_best(weights):
    bits = [run_length(weights, width).payload_bits for width in range(1, 32)]
    width = coding.best_width(weights)
    assert width == run_length(weights).width == 1 + bits.index(min(bits))


def test_codewords_of_one_length_are_in_the_order_of_their_differences():
    stream = huffman(at(np.cumsum([5, 2, 9, 1, 5, 2, 9, 1]) - 1, 40))
    assert stream.lengths == (0, 4) and stream.symbols == (1, 2, 5, 9)
