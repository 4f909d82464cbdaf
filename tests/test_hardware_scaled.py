"""The unit with a scale for each group of columns does what NumPy does, as written and as gates."""

import re
from functools import partial

import numpy as np
import pytest
import store_toy
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench import store
from qbench.hardware.synthesis import (
    ScaledUnit,
    SynthesisError,
    Unit,
    compute_scaled,
    scaled_verilog,
    simulate_scaled,
    synthesise_scaled,
    yosys,
)

home = pytest.fixture(store_toy.home)
installed = pytest.mark.skipif(not yosys.available(), reason="needs Yosys")


def plain(mw=36, mh=4, pe=2, simd=2, weight_bits=1, act_bits=2, out_bits=None, act_signed=False):
    return Unit(mw, mh, pe, simd, weight_bits, act_bits, out_bits, act_signed)


def drawn(scaled: ScaledUnit, seed: int, vectors: int = 3, extreme: bool = False):
    """Weights, scales and vectors; the extreme ones give the largest sums there are."""
    rng, u = np.random.default_rng(seed), scaled.unit
    low, high = u.weight_range
    weights = rng.choice([low, high], (u.mh, u.mw))
    scales = rng.integers(0, 2**scaled.scale_bits, scaled.groups)
    values = rng.integers(*u.act_range, (vectors, u.mw), endpoint=True)
    if extreme:
        weights[0], weights[1:] = low, high
        scales[:], values[:] = 2**scaled.scale_bits - 1, u.act_range[1]
    return weights, scales, values


def compare(scaled: ScaledUnit, seed: int, *, extreme: bool = False, **how):
    given_ = drawn(scaled, seed, extreme=extreme)
    run = simulate_scaled(scaled, *given_, **{"engine": "interpreted"} | how)
    assert run.outputs.tolist() == compute_scaled(scaled, *given_).tolist()
    return run


# A group's sum, scaled: written out once more, with loops
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.sampled_from([2, 3, 6, 9, 18]), st.integers(1, 8))
def test_numpy_scales_every_group(seed, groups, scale_bits):
    scaled = ScaledUnit(plain(), groups, scale_bits)
    weights, scales, values = drawn(scaled, seed)
    size = 36 // groups
    for vector, outputs in zip(
        values, compute_scaled(scaled, weights, scales, values), strict=True
    ):
        for row, out in zip(weights, outputs, strict=True):
            parts = [slice(g * size, (g + 1) * size) for g in range(groups)]
            assert out == sum(s * row[p] @ vector[p] for s, p in zip(scales, parts, strict=True))


@installed
@pytest.mark.parametrize(
    ("unit", "groups"),
    [
        (plain(), 9),
        (plain(weight_bits=2, act_bits=3), 3),
        (plain(mw=18, pe=4, simd=2), 9),  # a group a cycle, every row at once
        (plain(mw=8, mh=2, simd=4, act_bits=1), 2),
        (plain(act_signed=True), 2),
    ],
)
def test_the_unit_does_the_same(unit, groups):
    scaled = ScaledUnit(unit, groups)
    run = compare(scaled, 1, stalls=0.3)
    assert run.outputs.shape == (3, unit.mh)
    compare(scaled, 2, extreme=True)


@installed
def test_scaling_costs_no_cycle():
    unit = plain()
    run = compare(ScaledUnit(unit, 9), 0)
    assert set(np.diff(run.cycles.ravel())) == {unit.synapse_folds}


@installed
def test_the_netlist_does_the_same():
    unit = plain(mw=12, mh=2, pe=2)
    compare(ScaledUnit(unit, 3, 4), 0, stalls=0.3, gates=True)


# What is wrong is seen


@installed
@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"run & summed\) ring", "run) ring"),  # the ring never rests
        (r"first \? 0 : total", "0 ? 0 : total"),  # a row begins with the last one's
        (r"place == 0\}", "column == 0}"),  # a group's sum goes on in the next
        (r"scaled & closes", "scaled & ~closes"),
    ],
)
def test_a_fault_is_seen(pattern, instead):
    scaled = ScaledUnit(plain(), 9)
    written = scaled_verilog(scaled, *drawn(scaled, 0)[:2], "network")
    text, count = re.subn(pattern, instead, written)
    assert count == 1
    with pytest.raises((AssertionError, SynthesisError)):  # or what comes out is not defined
        compare(scaled, 0, text=text)


# What it takes


@installed
def test_a_multiplier_a_lane_is_what_is_added(home):
    """The DSP blocks add up too, and LUTs hold narrower sums: Table 5.7 has fewer with scaling."""
    sizes = {"mw": 72, "mh": 8, "pe": 2, "simd": 4}
    plain_, by_pixel = (
        store.run(synthesise_scaled, **sizes, groups=groups).iloc[0] for groups in (1, 9)
    )
    assert (plain_["dsp"], by_pixel["dsp"]) == (0, 2)
    assert by_pixel["ff"] > plain_["ff"], "the ring"
    assert by_pixel["lut"] <= plain_["lut"]
    assert plain_["bram18"] == by_pixel["bram18"]
    assert (plain_["scale_bits"], by_pixel["scale_bits"]) == (0, 8)
    assert plain_["cycles"] == by_pixel["cycles"] == 72


# What is refused


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (partial(ScaledUnit, None, 9), "unit must be a Unit, not None."),
        (partial(ScaledUnit, plain(), 1), "groups must be a whole number from 2 to 18, not 1."),
        (partial(ScaledUnit, plain(), 19), "groups must be a whole number from 2 to 18, not 19."),
        (partial(ScaledUnit, plain(), 9.0), "groups must be a whole number from 2 to 18, not 9.0."),
        (partial(ScaledUnit, plain(), 4), "groups must divide mw / simd, the cycles of a row, and"),
        (partial(ScaledUnit, plain(), 9, 0), "scale_bits must be a whole number from 1 to 16, not"),
        (
            partial(ScaledUnit, plain(out_bits=2), 9),
            "out_bits of a unit whose sums are scaled must",
        ),
        (
            partial(ScaledUnit, plain(act_bits=1, act_signed=True), 9),
            "a unit whose sums are scaled needs activations of more than one signed bit.",
        ),
        (partial(ScaledUnit(plain(), 3).check_scales, [1, 2]), "scales must be 3 whole numbers"),
        (partial(ScaledUnit(plain(), 3).check_scales, [1, 2, 0.5]), "scales must be 3 whole numb"),
        (
            partial(ScaledUnit(plain(), 3).check_scales, [1, 256, 2]),
            "scales must be from 0 to 255, and one is 256.",
        ),
        (
            partial(synthesise_scaled, mw=36, mh=4, pe=2, simd=2, groups=0),
            "groups must be a whole number from 2 to 18, not 0.",
        ),
    ],
)
def test_what_cannot_be(ask, said, monkeypatch):
    monkeypatch.setattr(yosys, "run", None)  # it must not start
    with pytest.raises(SynthesisError) as caught:
        ask()
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)
