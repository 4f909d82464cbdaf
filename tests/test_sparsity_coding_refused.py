"""What is no ternary weight or no whole stream: one sentence, whatever the bytes."""

import math
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sparsity_coding_toy import ENCODERS, refused, tensors

from qbench.sparsity import coding
from qbench.sparsity.coding import Huffman, RunLength, SparsityError, run_length
from qbench.sparsity.coding_stream import MOST

# What weights may be


@pytest.mark.parametrize("encode", ENCODERS)
def test_any_type_of_number_is_taken(encode):
    values = np.array([[1, 0, -1], [0, 0, 1]])
    stream = encode(values)
    for same in (
        *(values.astype(kind) for kind in (np.int8, np.int64, np.float16, np.float64)),
        *(values.tolist(), np.asfortranarray(values), values * -0.0 + values),
        *(
            torch.tensor(values),
            torch.tensor(values.tolist(), dtype=torch.float, requires_grad=True),
        ),
    ):
        assert encode(same) == stream
    assert encode(np.uint8([0, 1])).decode().tolist() == [0, 1]


@pytest.mark.parametrize("encode", ENCODERS)
@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([0, 2], "weights must be -1, 0 or 1, not 2."),
        ([[0, -2]], "weights must be -1, 0 or 1, not -2."),
        (np.int8([-128]), "weights must be -1, 0 or 1, not -128."),
        (np.uint8([255]), "weights must be -1, 0 or 1, not 255."),
        (np.uint64([2**64 - 1]), f"weights must be -1, 0 or 1, not {2**64 - 1}."),
        (np.float32([0.5]), "weights must be -1, 0 or 1, not 0.5."),
        ([0, math.nan], "weights must be -1, 0 or 1, not nan."),
        ([-math.inf], "weights must be -1, 0 or 1, not -inf."),
        (torch.tensor([0.3]), "weights must be -1, 0 or 1, not 0.3"),
        ([True], "weights must be an array of numbers, not of bool."),
        ([1j], "weights must be an array of numbers, not of complex128."),
        (["1"], "weights must be an array of numbers, not of <U1."),
        (None, "weights must be an array of numbers, not of object."),
        ([[1], [1, 0]], "of a type that NumPy has, and this list is not."),
        (torch.zeros(1, dtype=torch.bfloat16), "NumPy has, and this Tensor is not."),
        (np.broadcast_to(np.int8(0), (2**16, 2**16)), "with a product of at most 4,294,967,295"),
        (np.zeros((0, 2**32), np.int8), "not 2 with one of 4,294,967,296."),
    ],
)
def test_what_is_no_ternary_weight(encode, weights, said):
    assert said.rstrip(".") in refused(lambda: encode(weights))


@pytest.mark.parametrize("width", [0, -1, 32, 4.0, "4", True])
def test_a_width_that_cannot_be(width):
    said = f"width must be a whole number from 1 to 31, not {width!r}."
    assert refused(lambda: run_length([5], width)) == said
    assert refused(lambda: RunLength((1,), width, 0, 0, b"").decode()) == said
    assert run_length([1], np.int64(4)) == run_length([1], 4)


# What is no stream


@pytest.mark.parametrize("encode", ENCODERS)
@given(weights=tensors(), data=st.data())
def test_damaged_or_cut_off_bytes(encode, weights, data):
    whole = encode(weights).tobytes()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    refused(lambda: coding.read(bytes(flipped)))
    refused(lambda: coding.read(whole[: data.draw(st.integers(0, len(whole) - 1))]))
    refused(lambda: coding.read(whole + data.draw(st.binary(min_size=1, max_size=9))))


@given(st.binary(max_size=80), st.sampled_from([b"", RunLength.MAGIC, Huffman.MAGIC]))
def test_any_other_bytes(content, magic):
    said = refused(lambda: coding.read(magic + content))
    assert "starts with" in said or (magic + content).startswith((RunLength.MAGIC, Huffman.MAGIC))


def signed_off(whole: bytes) -> bytes:
    """`whole` with the checksum that its content has."""
    return whole[:4] + struct.pack("<I", zlib.crc32(whole[8:])) + whole[8:]


@given(tensors(), st.sampled_from(ENCODERS), st.data())
def test_a_forged_checksum_lets_nothing_in_that_is_no_stream(weights, encode, data):
    """Bytes after the shape changed, cut or added: refused, or whole weights of that shape."""
    whole = bytearray(encode(weights).tobytes())
    first = 9 + 4 * weights.ndim
    for place in data.draw(st.lists(st.integers(first, len(whole) - 1), min_size=1, max_size=3)):
        whole[place] = data.draw(st.integers(0, 255))
    ends = data.draw(st.integers(first, len(whole)))
    forged = signed_off(bytes(whole[:ends]) + data.draw(st.binary(max_size=4)))
    try:
        stream = coding.read(forged)
    except SparsityError as error:
        assert "\n" not in str(error) and str(error).endswith(".")
        return
    back = stream.decode()
    assert back.shape == weights.shape and set(np.unique(back)) <= {-1, 0, 1}
    assert np.count_nonzero(back) == stream.nonzeros and stream.tobytes() == forged
    if encode is run_length:
        assert run_length(back, stream.width) == stream, "only one stream says it at a width"


def words(*bits: str) -> bytes:
    joined = "".join(bits)
    joined += "0" * (-len(joined) % 8)
    return int(joined, 2).to_bytes(len(joined) // 8, "big")


WRONG = [
    (RunLength((9,), 2, 1, 1, words("111")), "an escape must have the sign 0, and one has 1."),
    (RunLength((9,), 2, 0, 1, words("011")), "the last codeword must be a weight, not an escape."),
    (
        RunLength((9,), 2, 2, 1, words("000")),
        "the stream has 1 weights, and its header says 2.",
    ),
    (
        RunLength((3,), 2, 1, 2, words("011", "000")),
        "the stream has a weight at index 3, and its shape (3,) only 3.",
    ),
    (
        RunLength((9,), 2, 3, 3, words("000")),
        "the stream must have 2 bytes of codewords, not 1.",
    ),
    (
        RunLength((9,), 2, 1, 1, words("00000001")),
        "the stream must end in zeros after its last codeword.",
    ),
    (Huffman((9,), 1, (1,), (4,), 2, words("10")), "the stream holds bits that are no codeword."),
    (Huffman((9,), 1, (2,), (1, 2), 1, words("0")), "the stream holds bits that are no codeword."),
    (Huffman((9,), 0, (), (), 1, words("0")), "the stream holds bits that are no codeword."),
    (
        Huffman((9,), 2, (2,), (1, 2), 2, words("00")),
        "the stream has 1 weights, and its header says 2.",
    ),
    (
        Huffman((9,), 1, (2,), (1, 10), 2, words("10")),
        "the stream has a weight at index 9, and its shape (9,) only 9.",
    ),
    (
        Huffman((9,), 1, (2,), (1, 2), 9, words("00")),
        "the stream must have 2 bytes of codewords, not 1.",
    ),
    (
        Huffman((9,), 1, (2,), (1, 2), 2, words("001")),
        "the stream must end in zeros after its last codeword.",
    ),
    (
        Huffman((9,), 1, (1, 1), (1, 2), 2, words("00")),
        "the code table's lengths must make a complete prefix code.",
    ),
    (
        Huffman((9,), 1, (3,), (1, 2, 3), 2, words("00")),
        "the code table's lengths must make a complete prefix code.",
    ),
    (
        Huffman((9,), 1, (2,), (2, 1), 2, words("00")),
        "the code table's differences must ascend and not repeat.",
    ),
    (
        Huffman((9,), 1, (2,), (1, 1), 2, words("00")),
        "the code table's differences must ascend and not repeat.",
    ),
    (
        Huffman((9,), 1, (2,), (0, 1), 2, words("00")),
        "the code table's differences must be at least 1.",
    ),
    (
        Huffman((9,), 1, (2, 0), (1, 2), 2, words("00")),
        "the code table's last length must have a codeword.",
    ),
]


@pytest.mark.parametrize(("stream", "said"), WRONG)
def test_streams_that_no_encoder_writes(stream, said):
    """Said of the stream itself, and of its bytes."""
    assert refused(stream.decode) == said
    assert refused(lambda: coding.read(stream.tobytes())).startswith(said[:20])


def test_a_table_without_a_difference_for_each_codeword():
    said = "the code table must have a difference for each of its 2 codewords, not 1."
    assert refused(Huffman((9,), 1, (2,), (1,), 2, words("00")).decode) == said


def test_headers_that_no_encoder_writes():
    whole = run_length(np.zeros(3)).tobytes()
    for dimensions in (0, 2, 65, 255):
        refused(lambda n=dimensions: coding.read(signed_off(whole[:8] + bytes([n]) + whole[9:])))
    for shape in ((MOST, 2), (0, MOST, MOST), (1,) * 65):
        header = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
        forged = signed_off(whole[:8] + header + whole[13:])
        said = refused(lambda forged=forged: coding.read(forged))
        assert said.startswith("the stream must have at most 64 dimensions with a product")
    assert "starts with b'tRL1' or b'tHC1', not b''" in refused(lambda: coding.read(b""))
    assert "starts with b'tHC1', not b'tRL1'" in refused(lambda: Huffman.frombytes(whole))
