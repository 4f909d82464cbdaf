"""Sizes of ternary networks, and what Tables 3.2 and 3.3 of Faraone 2021 can mean by theirs."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest

from qbench import reference
from qbench.sparsity import coding
from qbench.sparsity.coding import ENCODINGS, SparsityError, sizes
from qbench.sparsity.coding_sizes import packed

TABLES = ("table_3_2", "table_3_3")


def random(count: int, density: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random(count) < density) * rng.choice(np.array([-1, 1], np.int8), count)


@pytest.fixture(scope="module")
def frame():
    return sizes(
        {
            "conv": random(3456, 0.5).reshape(128, 3, 3, 3),
            "fc": random(100_000, 0.024, 1).reshape(100, 1000),
            "dead": np.zeros((10, 10)),
        }
    )


def bits(frame: pd.DataFrame, layer: str, column: str = "bits") -> pd.Series:
    return frame[frame["layer"] == layer].set_index("encoding")[column]


def test_a_row_for_each_layer_and_encoding(frame):
    assert list(frame.columns) == [
        *("layer", "weights", "nonzeros", "encoding", "width"),
        *("header_bits", "table_bits", "payload_bits", "bits", "megabytes"),
    ]
    expected = [(layer, name) for layer in ("conv", "fc", "dead") for name in ENCODINGS]
    assert list(zip(frame["layer"], frame["encoding"], strict=True)) == expected
    np.testing.assert_allclose(frame["megabytes"], frame["bits"] / 8e6)
    whole = frame.groupby("encoding")["bits"].sum()
    assert whole["ternary"] == 2 * whole["binary"] == 2 * (3456 + 100_000 + 100)


def test_streams_are_counted_as_they_are(frame):
    weights = random(100_000, 0.024, 1).reshape(100, 1000)
    for name, stream in {"RLE": coding.run_length(weights), "HC": coding.huffman(weights)}.items():
        row = frame[(frame["layer"] == "fc") & (frame["encoding"] == name)].iloc[0]
        for column in ("header_bits", "table_bits", "payload_bits"):
            assert row[column] == getattr(stream, column)
        assert row["bits"] == 8 * len(stream.tobytes())
        assert row["nonzeros"] == stream.nonzeros
    assert bits(frame, "fc", "width")["RLE"] == coding.best_width(weights)
    assert frame[frame["encoding"] != "RLE"]["width"].isna().all()
    narrow = sizes({"fc": weights}, width=3, encodings=["RLE"])
    assert narrow.loc[0, "width"] == 3 and narrow.loc[0, "bits"] > bits(frame, "fc")["RLE"]


def test_entropies(frame):
    half = bits(sizes({"half": [0, 0, 0, 1, 0, 0, 0, -1] * 100}), "half")
    assert half["symbol_entropy"] == pytest.approx(200), "one difference, two signs"
    assert half["iid_entropy"] == pytest.approx(600 * math.log2(4 / 3) + 200 * 3)
    for layer in ("conv", "fc", "dead"):
        payload, all_of_it = bits(frame, layer, "payload_bits"), bits(frame, layer)
        assert payload["symbol_entropy"] <= payload["HC"] <= payload["RLE"] <= 2 * 100_000
        assert all_of_it["iid_entropy"] <= all_of_it["ternary"]
    assert bits(frame, "dead")[["symbol_entropy", "iid_entropy"]].tolist() == [0, 0]
    # Zeros after the last non-zero are free for neither, so these two nearly agree.
    assert bits(frame, "fc")["iid_entropy"] == pytest.approx(
        bits(frame, "fc")["symbol_entropy"], rel=0.02
    )


def test_weights_packed_to_two_bits():
    weights = np.int8([[1, 0, -1], [0, 1, -1]])
    assert packed(weights) == bytes([0b01_00_11_00, 0b01_11_00_00])
    assert packed(np.zeros((0, 3), np.int8)) == b""


def test_expected_bits_are_what_independent_weights_take():
    """Within 4 %: four standard deviations of the non-zeros' number at the least density."""
    for density, width in ((0.024, 7), (0.1, 3), (0.5, 1), (1, 1)):
        weights = random(400_000, density)
        measured = coding.run_length(weights, width).payload_bits / weights.size
        assert coding.expected_bits(density, width) == pytest.approx(measured, rel=0.04)
    assert coding.expected_bits(1) == 2 and coding.iid_bits(1) == 1
    assert coding.iid_bits(2 / 3) == pytest.approx(math.log2(3))
    for density in np.geomspace(1e-9, 1, 40):
        best = min(coding.expected_bits(density, width) for width in range(1, 32))
        assert coding.iid_bits(density) <= coding.expected_bits(density) == best <= 2


@pytest.mark.parametrize("density", [0, -0.1, 1.1, math.nan, "0.5", None])
def test_a_density_that_cannot_be(density):
    for ask in (coding.iid_bits, coding.expected_bits):
        with pytest.raises(SparsityError, match="density must be a number above 0 and at most 1"):
            ask(density)


@pytest.mark.parametrize(
    ("layers", "options", "said"),
    [
        ({}, {}, "sizes needs at least one layer, and there is none."),
        ({"a": [1], "b": [3]}, {}, "layer 'b': weights must be -1, 0 or 1, not 3."),
        ({"a": [1]}, {"width": 0}, "width must be a whole number from 1 to 31, not 0."),
        (
            {"a": [1]},
            {"encodings": ["RLE", "gzip"]},
            f"encodings must be some of {', '.join(ENCODINGS)}, not RLE, gzip.",
        ),
        ({"a": [1]}, {"encodings": []}, "not none."),
    ],
)
def test_sizes_that_cannot_be(layers, options, said):
    with pytest.raises(SparsityError) as caught:
        sizes(layers, **options)
    assert str(caught.value).endswith(said)


# Tables 3.2 and 3.3


def published() -> list[dict]:
    """A printed size each, with its network's parameters (10**6) and share of zeros."""
    rows = []
    for table in TABLES:
        whole = reference.load("faraone2021", table)
        for _, group in whole.groupby(["model", "act_bits"], sort=False):
            of = group.drop_duplicates("quantity").set_index("quantity")["value"]
            for _, row in group[group["quantity"] == "size"].iterrows():
                rows.append(
                    {"network": f"{row['network']}-{row['act_bits']}", "bits": row["weight_bits"]}
                    | {"encoding": row["encoding"], "size": row["value"]}
                    | {"parameters": of["parameters"], "density": 1 - of["zeros"] / 100}
                )
    return rows


DENSE = [row for row in published() if row["encoding"] == "none"]
SPARSE = [row for row in published() if row["encoding"] != "none"]


def test_the_thesis_means_megabytes_of_a_million_bytes():
    """Every dense size is nearer to parameters · bits / 8 in 10**6 bytes, within 1.1 %.

    In 2**20 bytes each is at least 3.6 % too small, more than any rounding of a digit.
    """
    assert len(DENSE) == 8 and len(SPARSE) == 8 and coding.MEGABYTE == 10**6
    for row in DENSE:
        size = row["parameters"] * 1e6 * row["bits"] / 8
        assert abs(size / 1e6 - row["size"]) < 0.011 * row["size"]
        assert size / 2**20 < row["size"] * (1 - 0.036)
        assert size / 2**20 < row["size"] - 0.0125


LAYERS = {  # weights: the perceptrons' 3 hidden layers, and BinaryNet's convolutional network
    "MLP-1": [784 * 4096, 4096**2, 4096**2, 4096 * 10],
    "MLP-32": [784 * 1024, 1024**2, 1024**2, 1024 * 10],
    "VGG-1": [
        *(9 * a * b for a, b in ((3, 128), (128, 128), (128, 256), (256, 256))),
        *(9 * a * b for a, b in ((256, 512), (512, 512))),
        *(8192 * 1024, 1024 * 1024, 1024 * 10),
    ],
}
LAYERS["VGG-32"] = LAYERS["VGG-1"]


def least_megabytes(layers: list[int], nonzeros: float) -> float:
    """Least entropy of independent weights, however the non-zeros are shared among the layers.

    A layer's entropy is concave in its non-zeros, so the least is where all layers but one are
    empty or full; a full one has its signs only.
    """
    least = math.inf
    for partial, layer in enumerate(layers):
        others = layers[:partial] + layers[partial + 1 :]
        for full in product((False, True), repeat=len(others)):
            taken = sum(n for n, is_full in zip(others, full, strict=True) if is_full)
            if 0 < nonzeros - taken <= layer:
                density = (nonzeros - taken) / layer
                least = min(least, (taken + layer * coding.iid_bits(density)) / 8e6)
    return least


def test_the_sparse_sizes_against_what_weights_of_such_density_carry():
    """The first printed number against the entropy at one density for all layers, and the least.

    0.83 and 0.96 MB need layers of unequal density. 0.07 MB for 2.91 million weights of which
    92.8 % are zero is less than any densities of the layers give, even without a bit for the signs;
    97.5 % of zeros would give it.
    """
    assert [row["encoding"] for row in SPARSE] == ["RLE", "HC"] * 4
    found = {}
    for first in SPARSE[::2]:
        nonzeros = first["parameters"] * 1e6 * first["density"]
        even = first["parameters"] * coding.iid_bits(first["density"]) / 8
        least = least_megabytes(LAYERS[first["network"]], nonzeros)
        size = first["size"] + 0.005  # as printed, rounded
        found[first["network"]] = (round(even, 3), even < size, least < size)
    assert found == {
        "MLP-1": (0.852, False, True),
        "MLP-32": (0.162, False, False),
        "VGG-1": (0.821, True, True),
        "VGG-32": (0.990, False, True),
    }
    nonzeros = 2.91e6 * 0.072
    assert least_megabytes(LAYERS["MLP-32"], nonzeros) - nonzeros / 8e6 > 0.07 + 0.005
    assert 2.91 * coding.iid_bits(0.025) / 8 == pytest.approx(0.07, abs=0.005)


def test_the_second_number_cannot_be_huffman_coding():
    """Huffman's payload is at most run-length coding's; its tables are too small to make it up.

    k different differences sum to at least k (k + 1) / 2, so k < sqrt(2 N); the header has
    up to 45 lengths of 32 bits, and the table the bits of N for a difference.
    """
    for first, second in zip(SPARSE[::2], SPARSE[1::2], strict=True):
        tables = sum(
            45 * 32 + math.sqrt(2 * layer) * math.ceil(math.log2(layer))
            for layer in LAYERS[first["network"]]
        )
        assert second["size"] - first["size"] - 0.01 > tables / 8e6
