"""The decoder of run-length coded weights does what plain Python does, as written and as gates."""

import re
from functools import partial

import numpy as np
import pytest
import store_toy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qbench import store
from qbench.hardware.synthesis import (
    Decompressor,
    SynthesisError,
    decompress,
    decompressor_verilog,
    simulation,
    synthesise_decompressor,
    yosys,
)

home = pytest.fixture(store_toy.home)
installed = pytest.mark.skipif(not yosys.available(), reason="needs Yosys")
compiled = pytest.mark.skipif(not simulation.compiler(), reason="needs a C++ compiler")
FAST = {"engine": "interpreted"}
UNIT = Decompressor(magnitude_bits=4, address_bits=13)


def packed(unit: Decompressor, weights: dict[int, int]) -> list[int]:
    """Codewords of weights ±1 by their indices; the format once more, written the other way."""
    sign, escape = 2**unit.magnitude_bits, 2**unit.magnitude_bits - 1
    words, before = [], -1
    for index in sorted(weights):
        escapes, rest = divmod(index - before - 1, escape)
        # An escape's sign is of no account: both must do.
        words += [escape + sign * (place % 2) for place in range(escapes)]
        words.append(rest + sign * (weights[index] < 0))
        before = index
    return words


def refused(ask) -> str:
    with pytest.raises(SynthesisError) as caught:
        ask()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


def compare(unit: Decompressor, weights: dict[int, int], **how):
    """Decode what `packed` makes of the weights, and compare; returns the words and the outcome."""
    words = packed(unit, weights)
    found = decompress(unit, words, **how)
    signed = dict(zip(found.addresses.tolist(), 1 - 2 * found.negative, strict=True))
    assert found.addresses.tolist() == sorted(weights), "each once, in order"
    assert signed == weights
    return words, found


def weights_of(unit: Decompressor):
    """Weights anywhere: mostly near each other, now and then far, so that there are escapes."""
    last = 2**unit.address_bits - 1
    near, far = st.integers(1, 20), st.integers(1, 600)
    steps = st.lists(st.tuples(st.one_of(near, far), st.sampled_from([-1, 1])), min_size=1)
    return steps.map(
        lambda found: {
            int(index): sign
            for index, (_, sign) in zip(
                np.cumsum([step for step, _ in found]) - 1, found, strict=False
            )
            if index <= last
        }
    )


@installed
@compiled
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(weights_of(UNIT), st.sampled_from([0.0, 0.4]), st.integers(0, 99))
def test_any_list_is_decoded(weights, stalls, seed):
    words, found = compare(UNIT, weights, stalls=stalls, seed=seed, engine="compiled")
    if not stalls:  # a codeword a cycle, its address in the next
        escape = np.array(words) % 16 == 15
        assert found.cycles.tolist() == (np.flatnonzero(~escape) + 1).tolist()


# One bit of each, addresses as wide as differences; every weight, and few that need escapes
@installed
@pytest.mark.parametrize(("widths", "step"), [((1, 1), 1), ((3, 3), 1), ((1, 4), 5), ((2, 5), 31)])
def test_narrow_units_reach_the_last_address(widths, step):
    unit = Decompressor(*widths)
    weights = {index: 1 - 2 * (index % 3 == 1) for index in range(0, 2**unit.address_bits, step)}
    assert max(weights) == 2**unit.address_bits - 1
    compare(unit, weights, stalls=0.3, **FAST)


@installed
def test_the_netlist_does_the_same():
    unit = Decompressor(3, 9)
    compare(unit, {3: -1, 4: 1, 40: 1, 47: -1, 48: 1, 511: -1}, stalls=0.3, gates=True, **FAST)


@installed
def test_both_engines_give_the_same_and_escapes_alone_nothing():
    engines = ("interpreted", "compiled") if simulation.compiler() else ("interpreted",)
    words = packed(UNIT, {0: 1, 30: -1, 31: 1, 500: -1})
    runs = [decompress(UNIT, words, stalls=0.5, seed=3, engine=engine) for engine in engines]
    for run in runs:
        assert run.cycles.tolist() == runs[0].cycles.tolist()
        assert run.addresses.tolist() == [0, 30, 31, 500]
    nothing = decompress(UNIT, [15, 31, 15], **FAST)
    assert not len(nothing.addresses) and not len(nothing.cycles)


# What is wrong is seen


@installed
@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"\{ADDRESS\{1'b1\}\}", "0"),  # the first index is counted from 0
        (r"in_data\[MAGNITUDE - 1:0\], weight", "in_data[MAGNITUDE - 1:0], 1'b1"),
        (r"if \(in_valid\) reached", "reached"),  # what is no codeword is added
        (r"negative <= in_data", "negative <= ~in_data"),
        (r"in_valid & weight", "in_valid"),  # an escape counts as a weight
    ],
)
def test_a_fault_is_seen(pattern, instead):
    text, count = re.subn(pattern, instead, decompressor_verilog(UNIT, "network"))
    assert count == 1
    weights = {3: 1, 4: -1, 60: 1, 90: -1, 91: 1, 300: 1}
    with pytest.raises(AssertionError):
        compare(UNIT, weights, stalls=0.5, seed=1, text=text, **FAST)


# What it takes


@installed
def test_a_decoder_is_synthesised(home):
    row = store.run(synthesise_decompressor, magnitude_bits=4, address_bits=13).iloc[0]
    assert (row["magnitude_bits"], row["address_bits"]) == (4, 13)
    assert row["ff"] == 13 + 2, "the index, its sign, and whether there is one"
    assert row["carry4"] == 4, "one adder of 14 bits"
    assert row["lut_memory"] == row["bram18"] == row["dsp"] == 0
    assert 4 < row["lut"] < 112, "an adder of 4 bits and some more; the thesis has 112"
    assert store.find(store.spec(synthesise_decompressor, magnitude_bits=4, address_bits=13))


# What is refused


def unit_of(magnitude_bits=4, address_bits=13):
    return Decompressor(magnitude_bits, address_bits)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (partial(unit_of, 0), "magnitude_bits must be a whole number from 1 to 13, the address_"),
        (partial(unit_of, 14), "magnitude_bits must be a whole number from 1 to 13, the address_"),
        (partial(unit_of, True), "magnitude_bits must be a whole number from 1 to 13, the address"),
        (partial(unit_of, 4, 33), "address_bits must be a whole number from 1 to 32, not 33."),
        (partial(unit_of, 4, None), "address_bits must be a whole number from 1 to 32, not None."),
        (lambda: decompressor_verilog(UNIT, "a b"), "name must be a Verilog identifier, not 'a b'"),
        (partial(decompress, UNIT, []), "codewords must be one or more whole numbers, in a row."),
        (partial(decompress, UNIT, [[1]]), "codewords must be one or more whole numbers, in a row"),
        (partial(decompress, UNIT, [[1], [1, 2]]), "codewords must be one or more whole numbers, "),
        (partial(decompress, UNIT, [0.5]), "codewords must be one or more whole numbers, in a row"),
        (partial(decompress, UNIT, [1, 32]), "codewords must be from 0 to 31, and one is 32."),
        (partial(decompress, UNIT, [-1]), "codewords must be from 0 to 31, and one is -1."),
        (
            partial(decompress, Decompressor(2, 3), [2, 2, 2]),
            "codewords must end at 7, the last address of 3 bits, and end at 8.",
        ),
        (partial(decompress, UNIT, [1], stalls=1), "stalls must be from 0 to 0.9, not 1."),
        (partial(decompress, UNIT, [1], seed=-1), "seed must be a whole number of at least 0"),
        (partial(decompress, UNIT, [1], engine="gpu"), "engine must be 'interpreted' or 'compile"),
    ],
)
def test_what_cannot_be(ask, said, monkeypatch):
    monkeypatch.setattr(yosys, "run", None)  # it must not start
    assert refused(ask).startswith(said)


def test_numbers_of_numpy_become_plain():
    unit = Decompressor(np.int64(4), np.int32(13))
    assert unit == UNIT and type(unit.magnitude_bits) is type(unit.address_bits) is int
