"""How sparse ternary weights are stored (Faraone 2021, section 3.2.4): real streams, and sizes.

    from qbench.sparsity import coding

    stream = coding.run_length(weights)    # -1, 0 and 1, of any shape; or coding.huffman(weights)
    data = stream.tobytes()                # header, code table, payload; with a checksum
    coding.read(data).decode()             # the same weights, int8
    coding.sizes({"fc1": weights}).groupby("encoding", sort=False)["megabytes"].sum()

- `coding_run_length`: index differences in codewords of one width, as a decompressor takes them;
- `coding_huffman`: the same differences in a canonical Huffman code;
- `coding_sizes`: both beside dense storage, entropies and general compressors;
- `coding_stream`: what the streams share.

What cannot be stored, or is no whole stream, is a `SparsityError`.
"""

from .coding_huffman import Huffman, huffman
from .coding_run_length import RunLength, best_width, run_length
from .coding_sizes import ENCODINGS, MEGABYTE, expected_bits, iid_bits, sizes
from .coding_stream import start
from .errors import SparsityError

__all__ = [
    "ENCODINGS",
    "MEGABYTE",
    "Huffman",
    "RunLength",
    "SparsityError",
    "best_width",
    "expected_bits",
    "huffman",
    "iid_bits",
    "read",
    "run_length",
    "sizes",
]


def read(data: bytes) -> RunLength | Huffman:
    """The stream that `tobytes` wrote. Raises `SparsityError` for one that is not whole."""
    kinds = {kind.MAGIC: kind for kind in (RunLength, Huffman)}
    return kinds[start(data, kinds)].frombytes(data)
