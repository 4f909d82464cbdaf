"""The Verilog does what NumPy does, as written and as a netlist; what is wrong in it is seen."""

import re
from dataclasses import replace

import numpy as np
import pytest

from qbench.hardware.synthesis import (
    Layer,
    SynthesisError,
    Unit,
    check,
    network,
    pipeline,
    random_layer,
    simulate,
    simulation,
    yosys,
)

pytestmark = pytest.mark.skipif(not yosys.available(), reason="needs Yosys")
compiled = pytest.mark.skipif(not simulation.compiler(), reason="needs a C++ compiler")
FAST = {"engine": "interpreted"}  # for so few cycles, and everywhere


def vectors(unit: Unit, count: int = 6, seed: int = 0) -> np.ndarray:
    """Random activations (count, mw) behind one of the least and one of the greatest."""
    rng, (low, high) = np.random.default_rng(seed), unit.act_range
    values = rng.integers(low, high, (count, unit.mw), endpoint=True)
    if unit.act_bits == 1 and unit.act_signed:
        values = rng.choice([-1, 1], values.shape)
    values[0], values[1] = low, high
    return values


def layer_of(unit: Unit, seed: int) -> Layer:
    """Random, its thresholds beyond every sum and equal to each other in some rows."""
    layer = random_layer(unit, seed)
    if unit.out_bits is None:
        return layer
    thresholds, (low, high) = layer.thresholds.copy(), unit.sum_range
    thresholds[0, 0], thresholds[0, -1] = low - 5, high + 5
    thresholds[0].sort()
    thresholds[-1] = thresholds[-1, 0]
    return Layer(unit, layer.weights, thresholds)


def refused(ask) -> str:
    with pytest.raises(SynthesisError) as caught:
        ask()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


# mw, mh, PE, SIMD, weight bits, activation bits, output bits, activations signed
UNITS = [
    Unit(12, 6, 2, 3, 1, 1, 2),
    Unit(10, 3, 3, 10, 1, 1, 1),
    Unit(7, 5, 1, 1, 1, 1, None),
    Unit(15, 9, 3, 5, 1, 3, 3),
    Unit(8, 4, 2, 8, 1, 8, 1, False),
    Unit(6, 4, 4, 2, 1, 1, 2, False),
    Unit(10, 6, 2, 5, 3, 1, 2),
    Unit(5, 2, 1, 5, 8, 1, None, False),
    Unit(10, 6, 3, 2, 4, 4, 4),
    Unit(9, 4, 4, 9, 2, 2, None),
    Unit(8, 6, 1, 4, 3, 2, 8, False),
    Unit(6, 7, 7, 3, 8, 8, 5, False),
    Unit(1, 1, 1, 1, 8, 8, 8),
]


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_a_unit_computes_what_numpy_does(unit):
    layer, given = layer_of(unit, seed=unit.mw), vectors(unit)
    run = check(layer, given, **FAST)
    assert run.outputs.shape == (6, unit.mh) and run.cycles.shape == (6, unit.mh // unit.pe)
    assert unit.cycles == unit.mw * unit.mh // (unit.pe * unit.simd)
    assert (np.diff(run.cycles, axis=0) == unit.cycles).all(), "a vector every so many cycles"
    assert (np.diff(run.cycles, axis=1) == unit.synapse_folds).all()

    stalled = check(layer, given, stalls=0.4, seed=unit.mh, **FAST)
    assert stalled.cycles[-1, -1] > run.cycles[-1, -1]


def test_stalls_are_drawn_from_the_seed():
    layer, given = random_layer(UNITS[0]), vectors(UNITS[0])
    cycles = [simulate(layer, given, stalls=0.5, seed=s, **FAST).cycles for s in (1, 1, 2)]
    assert np.array_equal(cycles[0], cycles[1]) and not np.array_equal(cycles[0], cycles[2])


# The second has a slow unit behind a fast one: the FIFO between them is full most of the time.
CHAINS = [
    [Unit(12, 6, 2, 3, 1, 4, 2, False), Unit(6, 8, 4, 2, 3, 2, 1), Unit(8, 5, 5, 4, 1, 1, None)],
    [Unit(4, 4, 1, 4, 2, 2, 2), Unit(4, 8, 1, 1, 2, 2, 2), Unit(8, 3, 3, 1, 2, 2, None)],
    [Unit(6, 6, 6, 6, 1, 1, 1), Unit(6, 12, 1, 6, 1, 1, 3)],
]


@pytest.mark.parametrize("units", CHAINS, ids=lambda units: f"{len(units)} layers")
def test_a_pipeline_computes_what_its_layers_do(units):
    layers = [layer_of(unit, seed) for seed, unit in enumerate(units)]
    given = vectors(units[0], 9)
    run = check(layers, given, **FAST)
    assert np.array_equal(run.outputs, network(layers, given))
    slowest = max(unit.cycles for unit in units)
    assert (np.diff(run.cycles[:, -1])[3:] == slowest).all(), "the slowest unit sets the pace"
    check(layers, given, stalls=0.5, **FAST)


@compiled
def test_both_engines_give_the_same():
    layers = [layer_of(unit, seed) for seed, unit in enumerate(CHAINS[2])]
    given = vectors(CHAINS[2][0], 9)
    one, two = (
        check(layers, given, stalls=0.4, seed=3, engine=engine)
        for engine in ("interpreted", "compiled")
    )
    assert np.array_equal(one.outputs, two.outputs) and np.array_equal(one.cycles, two.cycles)


def test_the_engine_is_chosen_by_the_work(monkeypatch):
    used = []
    for engine in ("interpreted", "compiled"):
        stub = lambda job, engine=engine: used.append(engine) or [(0, 0)] * job.wanted  # noqa: E731
        monkeypatch.setattr(simulation, f"_{engine}", stub)
    monkeypatch.setattr(simulation, "compiler", lambda: "c++")
    few, many = vectors(UNITS[0], 2), vectors(UNITS[0], 1000)
    for given in (few, many):
        simulate(random_layer(UNITS[0]), given)
    monkeypatch.setattr(simulation, "compiler", lambda: None)
    simulate(random_layer(UNITS[0]), many)
    assert used == ["interpreted", "compiled", "interpreted"]


# Gate level

# One after the other, since Yosys takes seconds for the smallest of netlists: a ROM so wide that it
# takes a block RAM with both of its ports, one of LUTs, one of a block RAM and one port; FIFOs.
GATES = [
    Unit(8, 6, 2, 4, 5, 1, 2),
    Unit(6, 4, 1, 2, 3, 2, 1, weights_in="distributed"),
    Unit(4, 4, 2, 1, 1, 1, None),
]


def test_the_netlist_computes_what_numpy_does(monkeypatch):
    layers = [layer_of(unit, seed) for seed, unit in enumerate(GATES)]
    made, make = [], simulation._netlist
    monkeypatch.setattr(simulation, "_netlist", lambda text: made.append(make(text)) or made[-1])
    given, how = vectors(GATES[0]), {"stalls": 0.3, **FAST}
    run = check(layers, given, gates=True, **how)
    assert [made[0].count(f"{cell} #(") for cell in ("RAMB36E1", "RAMB18E1")] == [1, 1]
    assert '.RAM_MODE("SDP")' in made[0] and "LUT6 #(" in made[0]
    assert np.array_equal(run.cycles, simulate(layers, given, **how).cycles), "no other timing"


# What is wrong is seen


def flipped(text: str, rom: str, word: int, bit: int) -> str:
    """Verilog with one bit of a ROM's word turned over."""
    pattern = rf"({rom}\[{word}\] = \d+'h)([0-9a-f]+);"
    assert len(re.findall(pattern, text)) == 1

    def turn(found: re.Match) -> str:
        return f"{found[1]}{int(found[2], 16) ^ 1 << bit:x};"

    return re.sub(pattern, turn, text)


SUMS = Unit(4, 2, 1, 2, 3, 3, None)
# Thresholds 0 and 1 apart tell every sum from the next.
FINE = Layer(Unit(2, 2, 2, 1, 1, 2, 3), [[1, 1], [1, -1]], [range(-3, 4)] * 2)
EVERY = np.stack(np.meshgrid(range(-2, 2), range(-2, 2)), -1).reshape(-1, 2)


@pytest.mark.parametrize(("word", "bit"), [(0, 0), (1, 2), (3, 5)])
def test_a_flipped_weight_bit_is_seen(word, bit):
    layer, given = random_layer(SUMS), vectors(SUMS)
    text = flipped(pipeline(layer), "weights", word, bit)
    said = refused(lambda: check(layer, given, text=text, **FAST))
    assert re.fullmatch(r"\d+ of 12 outputs differ, .* -?\d+ simulated, -?\d+ expected\.", said)
    row = word // 2  # PE 1, two columns a word
    assert f"the first in row {row} of" in said


def in_lane(text: str, lane: int, *where: int | str) -> str:
    """`flipped` in the search of one lane."""
    before, start, rest = text.partition(f"module network_0_search_{lane} ")
    search, end, after = rest.partition("endmodule")
    return before + start + flipped(search, *where) + end + after


@pytest.mark.parametrize(("level", "word"), [(0, 0), (1, 1), (2, 3)])
def test_a_flipped_threshold_bit_is_seen(level, word):
    text = in_lane(pipeline(FINE), 1, f"level_{level}", word, 0)
    assert "row 1 of" in refused(lambda: check(FINE, EVERY, text=text, **FAST))


def test_flipped_bits_are_seen_in_the_netlist():
    """A weight of row 0 and a threshold of row 1 are wrong, row 2 is right."""
    unit = Unit(2, 3, 3, 1, 1, 2, 3)
    layer = Layer(unit, [[1, 1], [1, -1], [-1, 1]], [range(-3, 4)] * 3)
    text = in_lane(flipped(pipeline(layer), "weights", 1, 0), 1, "level_1", 1, 0)
    found = simulate(layer, EVERY, text=text, gates=True, **FAST).outputs
    assert (found == network(layer, EVERY)).all(0).tolist() == [False, False, True]


def test_an_error_in_the_reference_is_seen_as_well(monkeypatch):
    layer = random_layer(UNITS[0])
    other = replace(layer, thresholds=layer.thresholds + 2)
    with pytest.raises(SynthesisError, match="outputs differ"):
        check(other, vectors(UNITS[0]), text=pipeline(layer), **FAST)


@pytest.mark.parametrize("engine", ["interpreted", pytest.param("compiled", marks=compiled)])
def test_a_handshake_that_is_broken(engine):
    unit, how = UNITS[0], {"stalls": 0.5, "engine": engine}
    layer, given = random_layer(unit), vectors(unit)
    text = pipeline(layer)
    assert "wire run = out_ready | ~out_valid;" in text
    restless = re.sub(r"wire run = [^;]*;", "wire run = 1;", text)
    said = refused(lambda: check(layer, given, text=restless, **how))
    assert said == "an output changed or vanished before it was taken."


def test_a_unit_that_gives_nothing():
    text = pipeline(random_layer(UNITS[0]))
    silent = text.replace("    wire fetch = run", "    wire fetch = 0 & run")
    assert silent != text
    said = refused(lambda: simulate(random_layer(UNITS[0]), vectors(UNITS[0]), text=silent, **FAST))
    assert said == "0 of 18 beats came out, and then no more."


def test_undefined_outputs_are_seen():
    layer = random_layer(UNITS[0])
    text = re.sub(r"code <= [^;]*;", "code <= 2'b0x;", pipeline(layer))
    said = refused(lambda: check(layer, vectors(UNITS[0]), text=text, **FAST))
    assert re.fullmatch(r"an output has undefined bits: [x0-9a-fX]+\.", said)


def test_a_compiler_that_fails(monkeypatch, tmp_path):
    file = tmp_path / "c++"
    file.write_text("#!/bin/sh\necho 'x.cc:1: error: no such type.' >&2\nexit 1\n")
    file.chmod(0o755)
    monkeypatch.setenv("CXX", str(file))
    assert simulation.compiler() == str(file)
    said = refused(lambda: simulate(FINE, EVERY, engine="compiled"))
    assert said == "the C++ compiler failed: x.cc:1: error: no such type."
