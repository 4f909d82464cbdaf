"""Ternary weights to store, and what a refusal looks like."""

import math

import numpy as np
import pytest
from hypothesis import strategies as st

from qbench.sparsity.coding import SparsityError, huffman, run_length

ENCODERS = [run_length, huffman]


def refused(ask) -> str:
    """The `SparsityError` of `ask()`: one sentence on one line."""
    with pytest.raises(SparsityError) as caught:
        ask()
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    return said


def random(count: int, density: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random(count) < density) * rng.choice(np.array([-1, 1], np.int8), count)


def at(places, count: int) -> np.ndarray:
    weights = np.zeros(count, np.int8)
    weights[list(places)] = 1 - 2 * (np.arange(len(places)) % 2)
    return weights


@st.composite
def tensors(draw):
    """Any shape of up to three dimensions; dense, sparse, and with long runs of zeros."""
    if draw(st.booleans()):
        shape = draw(st.lists(st.integers(0, 7), max_size=3))
        values = st.sampled_from(draw(st.sampled_from([(-1, 0, 1), (0, 1), (-1, 1), (0,), (-1,)])))
        size = math.prod(shape)
        flat = draw(st.lists(values, min_size=size, max_size=size))
        return np.array(flat, np.int8).reshape(shape)
    runs = draw(st.lists(st.tuples(st.integers(0, 300), st.sampled_from([-1, 1])), max_size=30))
    flat = [value for zeros, sign in runs for value in [0] * zeros + [sign]]
    return np.array(flat + [0] * draw(st.integers(0, 300)), np.int8)
