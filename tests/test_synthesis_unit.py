"""Units and chains that cannot be built or simulated: one sentence, before any work."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.errors import UserError
from qbench.hardware.synthesis import (
    Layer,
    SynthesisError,
    Unit,
    check,
    compute,
    network,
    pipeline,
    random_layer,
    simulate,
    simulation,
    verilog,
    yosys,
)
from qbench.hardware.synthesis.generator import pack, unpack

SIZES = {"mw": 6, "mh": 4, "pe": 2, "simd": 3, "weight_bits": 2, "act_bits": 2, "out_bits": 2}
UNIT = Unit(**SIZES)
WHOLE = "must be a whole number of at least 1, not"
BITS = "must be a whole number from 1 to 8"
NONE = ", or None for the sums themselves"
WEIGHTS = np.zeros((4, 6), int)
ASCENDING = np.tile([-1, 0, 2], (4, 1))


def refused(ask) -> str:
    """The `SynthesisError` of `ask()`: one sentence on one line."""
    with pytest.raises(SynthesisError) as caught:
        ask()
    assert isinstance(caught.value, UserError)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".") and not said.endswith("..")
    return said


@pytest.fixture
def idle(monkeypatch):
    """Neither Yosys nor a compiler may start."""
    monkeypatch.setattr(yosys, "run", None)
    monkeypatch.setattr(simulation.subprocess, "run", None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mw": 0}, f"mw {WHOLE} 0."),
        ({"mh": -4}, f"mh {WHOLE} -4."),
        ({"pe": 2.0}, f"pe {WHOLE} 2.0."),
        ({"simd": True}, f"simd {WHOLE} True."),
        ({"mw": "6"}, f"mw {WHOLE} '6'."),
        ({"mw": None}, f"mw {WHOLE} None."),
        ({"pe": 3}, "pe must divide mh, the number of rows, and 3 does not divide 4."),
        ({"pe": 8}, "pe must divide mh, the number of rows, and 8 does not divide 4."),
        ({"simd": 4}, "simd must divide mw, the number of columns, and 4 does not divide 6."),
        ({"weight_bits": 0}, f"weight_bits {BITS}, not 0."),
        ({"weight_bits": 9}, f"weight_bits {BITS}, not 9."),
        ({"act_bits": True}, f"act_bits {BITS}, not True."),
        ({"act_bits": 2.5}, f"act_bits {BITS}, not 2.5."),
        ({"act_bits": None}, f"act_bits {BITS}, not None."),
        ({"out_bits": 0}, f"out_bits {BITS}{NONE}, not 0."),
        ({"out_bits": 9}, f"out_bits {BITS}{NONE}, not 9."),
        ({"out_bits": "2"}, f"out_bits {BITS}{NONE}, not '2'."),
        ({"act_signed": 1}, "act_signed must be True or False, not 1."),
        ({"act_signed": None}, "act_signed must be True or False, not None."),
        ({"weights_in": "bram"}, "weights_in must be 'block' or 'distributed', not 'bram'."),
        ({"thresholds_in": None}, "thresholds_in must be 'block' or 'distributed', not None."),
    ],
)
def test_a_unit_that_cannot_be(change, said):
    assert refused(lambda: Unit(**SIZES | change)) == said


def test_numbers_of_numpy_become_plain():
    unit = Unit(**{name: np.int64(value) for name, value in SIZES.items()}, act_signed=np.bool_(0))
    assert unit == dataclasses.replace(UNIT, act_signed=False)
    assert {type(value) for value in dataclasses.astuple(unit)} == {int, bool, str}


@pytest.mark.parametrize(
    ("weights", "thresholds", "said"),
    [
        (WEIGHTS[:, :5], ASCENDING, "weights must have the shape (4, 6), not (4, 5)."),
        (WEIGHTS[0], ASCENDING, "weights must have the shape (4, 6), not (6,)."),
        (
            [[1], [1, 1]],
            ASCENDING,
            "weights must have the shape (4, 6), not rows of several lengths.",
        ),
        (None, ASCENDING, "weights must have the shape (4, 6), not ()."),
        (WEIGHTS + 2, ASCENDING, "weights must be from -2 to 1, and one is 2."),
        (WEIGHTS - 3, ASCENDING, "weights must be from -2 to 1, and one is -3."),
        (WEIGHTS + 0.5, ASCENDING, "weights must be whole numbers."),
        (WEIGHTS + np.nan, ASCENDING, "weights must be whole numbers."),
        (WEIGHTS - np.inf, ASCENDING, "weights must be whole numbers."),
        (WEIGHTS == 0, ASCENDING, "weights must be whole numbers."),
        (WEIGHTS.astype(str), ASCENDING, "weights must be whole numbers."),
        (WEIGHTS, None, "2-bit outputs need thresholds, not None."),
        (WEIGHTS, ASCENDING[:, :2], "thresholds must have the shape (4, 3), not (4, 2)."),
        (WEIGHTS, ASCENDING + 0.5, "thresholds must be whole numbers."),
        (WEIGHTS, ASCENDING + 1e300, "thresholds must be whole numbers."),
        (
            WEIGHTS,
            np.array([[-1, 0, 2], [0, 0, 0], [-1, 3, 2], [2, 1, 0]]),
            "thresholds must ascend in every row, and row 2 has 3 before 2.",
        ),
    ],
)
def test_weights_and_thresholds_that_do_not_fit(weights, thresholds, said, idle):
    for ask in (Layer, verilog, lambda *layer: compute(*layer, np.zeros((1, 6)))):
        assert refused(lambda ask=ask: ask(UNIT, weights, thresholds)) == said


def test_more_that_does_not_fit():
    binary = dataclasses.replace(UNIT, weight_bits=1)
    said = refused(lambda: Layer(binary, WEIGHTS, ASCENDING))
    assert said == "weights must be -1 or 1, and one is 0."
    sums = dataclasses.replace(UNIT, out_bits=None)
    said = refused(lambda: Layer(sums, WEIGHTS, ASCENDING))
    assert said == "thresholds must be None for a unit that gives the sums themselves."
    assert refused(lambda: Layer("unit", WEIGHTS)) == "unit must be a Unit, not 'unit'."
    assert Layer(UNIT, WEIGHTS, ASCENDING.astype(float)).thresholds.dtype == np.int64


@pytest.mark.parametrize("name", ["", "1st", "a b", "a-b", "größe", None, 3])
def test_names_that_verilog_cannot_have(name):
    said = f"name must be a Verilog identifier, not {name!r}."
    assert refused(lambda: verilog(UNIT, WEIGHTS, ASCENDING, name)) == said
    assert refused(lambda: pipeline([Layer(UNIT, WEIGHTS, ASCENDING)], name)) == said


NEXT = Unit(mw=4, mh=3, pe=1, simd=2, weight_bits=1, act_bits=2, out_bits=None)


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ([], "a pipeline needs at least one layer, and there is none."),
        (
            [UNIT, dataclasses.replace(NEXT, mw=6)],
            "mw of layer 1 must be 4, mh of the layer before, not 6.",
        ),
        (
            [UNIT, dataclasses.replace(NEXT, simd=4)],
            "simd of layer 1 must be 2, pe of the layer before, not 4.",
        ),
        (
            [UNIT, dataclasses.replace(NEXT, act_bits=3)],
            "act_bits of layer 1 must be 2, out_bits of the layer before, not 3.",
        ),
        (
            [UNIT, dataclasses.replace(NEXT, act_signed=False)],
            "act_signed of layer 1 must be True: the layer before gives signed numbers.",
        ),
        (
            [dataclasses.replace(UNIT, out_bits=None), NEXT],
            "out_bits of layer 0 must be a number, not None: only the last layer may give sums.",
        ),
    ],
)
def test_layers_that_do_not_fit_each_other(units, said, idle):
    layers = [random_layer(unit) for unit in units]
    for ask in (
        pipeline,
        lambda x: network(x, []),
        lambda x: simulate(x, []),
        lambda x: check(x, []),
    ):
        assert refused(lambda ask=ask: ask(layers)) == said


def test_what_is_no_layer(idle):
    said = "layer 1 must be a Layer, not 'b'."
    assert refused(lambda: pipeline([random_layer(UNIT), "b"])) == said
    assert refused(lambda: simulate([random_layer(UNIT), "b"], np.zeros((1, 6)))) == said


VECTORS = np.zeros((2, 6), int)


@pytest.mark.parametrize(
    ("vectors", "how", "said"),
    [
        (VECTORS[:, :5], {}, "vectors must have the shape (n, 6), not (2, 5)."),
        (VECTORS[0], {}, "vectors must have the shape (n, 6), not (6,)."),
        (3, {}, "vectors must have the shape (n, 6), not ()."),
        (VECTORS + 0.5, {}, "vectors must be whole numbers."),
        (VECTORS + 2, {}, "activations must be from -2 to 1, and one is 2."),
        (VECTORS[:0], {}, "vectors must have at least one row, and there is none."),
        (VECTORS, {"stalls": -0.1}, "stalls must be from 0 to 0.9, not -0.1."),
        (VECTORS, {"stalls": 1}, "stalls must be from 0 to 0.9, not 1."),
        (VECTORS, {"stalls": float("nan")}, "stalls must be from 0 to 0.9, not nan."),
        (VECTORS, {"stalls": "often"}, "stalls must be from 0 to 0.9, not 'often'."),
        (VECTORS, {"seed": -1}, "seed must be a whole number of at least 0, not -1."),
        (VECTORS, {"seed": 0.5}, "seed must be a whole number of at least 0, not 0.5."),
        (VECTORS, {"engine": "gpu"}, "engine must be 'interpreted' or 'compiled', not 'gpu'."),
    ],
)
def test_simulations_that_cannot_be(vectors, how, said, idle):
    assert refused(lambda: simulate(random_layer(UNIT), vectors, **how)) == said


def test_activations_of_one_bit_and_without_sign():
    one = dataclasses.replace(UNIT, act_bits=1)
    said = refused(lambda: simulate(random_layer(one), VECTORS))
    assert said == "activations must be -1 or 1, and one is 0."
    unsigned = dataclasses.replace(UNIT, act_bits=1, act_signed=False)
    said = refused(lambda: simulate(random_layer(unsigned), VECTORS - 1))
    assert said == "activations must be from 0 to 1, and one is -1."


def test_the_compiled_engine_needs_a_compiler(idle, monkeypatch):
    monkeypatch.setattr(simulation, "compiler", lambda: None)
    said = "the compiled engine needs a C++ compiler, and there is none."
    assert refused(lambda: simulate(random_layer(UNIT), VECTORS, engine="compiled")) == said


@pytest.mark.parametrize("seed", [-1, 1.5, True, None, "0"])
def test_seeds_of_random_layers(seed):
    said = f"seed must be a whole number of at least 0, not {seed!r}."
    assert refused(lambda: random_layer(UNIT, seed)) == said


# What units say of themselves


@given(st.integers(1, 8), st.integers(1, 8), st.booleans(), st.integers(1, 40))
def test_the_accumulator_holds_every_sum_and_a_threshold_above_it(w, a, signed, mw):
    unit = Unit(mw, 1, 1, 1, w, a, None, signed)
    acts = [-1, 1] if (a, signed) == (1, True) else range(*np.add(unit.act_range, (0, 1)))
    weights = [-1, 1] if w == 1 else range(-(2 ** (w - 1)), 2 ** (w - 1))
    products = np.multiply.outer(list(weights), list(acts))
    low, high = mw * products.min(), mw * products.max()
    assert unit.sum_range == (low, high)
    if unit.binary:  # counts 0 … mw of the products that are +1
        assert 2 ** (unit.acc_bits - 1) <= mw + 1 < 2**unit.acc_bits
    else:
        held = range(-(2 ** (unit.acc_bits - 1)), 2 ** (unit.acc_bits - 1))
        assert low in held and high + 1 in held
        half = 2 ** (unit.acc_bits - 2)
        assert low < -half or high + 1 >= half, "no bit too many"
    assert -(2 ** (unit.element_bits - 1)) <= low and high < 2 ** (unit.element_bits - 1)


def test_outputs_are_counted_by_hand():
    """One row, three thresholds: what lies at a threshold has reached it."""
    unit = Unit(1, 1, 1, 1, 2, 4, 2)
    acts = np.arange(-8, 8)[:, None]
    found = compute(unit, [[1]], [[-3, 0, 5]], acts)[:, 0]
    assert found.tolist() == [-2] * 5 + [-1] * 3 + [0] * 5 + [1] * 3
    one = dataclasses.replace(unit, out_bits=1)
    assert compute(one, [[-1]], [[2]], acts)[:, 0].tolist() == [1] * 7 + [-1] * 9
    sums = dataclasses.replace(unit, out_bits=None)
    assert compute(sums, [[-2]], None, acts)[:, 0].tolist() == [-2 * a for a in range(-8, 8)]


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_packed_words_come_apart_again(bits, count, seed):
    codes = np.random.default_rng(seed).integers(0, 2**bits, (5, count))
    words = pack(codes, bits)
    assert words[0] == sum(int(code) << bits * place for place, code in enumerate(codes[0]))
    assert np.array_equal(unpack(words, count, bits), codes)
