"""RCCMs and generic multipliers as Verilog: every product, tables counted, what is refused."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import store_toy

from qbench import reference, store
from qbench.hardware import HardwareError
from qbench.hardware.rccm import WIRING, Adder, Circuit, published
from qbench.hardware.rccm_sets import FOURTH, SYMMETRIC
from qbench.hardware.synthesis import (
    Multiplier,
    Resources,
    SynthesisError,
    check_multiplier,
    lut_slopes,
    multiplier_grid,
    multiplier_verilog,
    multiply,
    simulation,
    synthesise_multipliers,
    yosys,
)
from qbench.hardware.synthesis.multipliers import product_bits

home = pytest.fixture(store_toy.home)
installed = pytest.mark.skipif(not yosys.available(), reason="needs Yosys")
compiled = pytest.mark.skipif(not simulation.compiler(), reason="needs a C++ compiler")
FAST = {"engine": "interpreted"}
TWO = published("2-Add")


def refused(ask) -> str:
    with pytest.raises(HardwareError) as caught:
        ask()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


def random_circuit(name: str, seed: int) -> Circuit:
    """Shifts in any order, B with every kind of operation: carries in that the select decides."""
    rng = np.random.default_rng(seed)
    early = [
        Adder("A", rng.permutation([*FOURTH[:3], "A3+B1"]).tolist(), rng.integers(0, 4, 4).tolist())
        for _ in WIRING[name][1:]
    ]
    some = [*SYMMETRIC, "A1+B1", "A2+B1", "A1", "-A2", "B1", "-B1"]
    last = rng.choice(some, 4, replace=False).tolist()
    return Circuit(name, (*early, Adder("B", last, rng.integers(0, 4, 3).tolist())))


# Products


@installed
@compiled
@pytest.mark.parametrize("name", WIRING)
def test_every_product_of_the_published_circuits_at_8_bits(name):
    count = check_multiplier(published(name), 8, engine="compiled")
    assert count == 2 ** (8 + published(name).select_bits)


@installed
@pytest.mark.parametrize(
    ("unit", "bits"),
    [
        (random_circuit("2-Add", 0), 3),
        (random_circuit("3-Add", 1), 2),
        (Multiplier(2), 3),
        (Multiplier(5), 3),
        (Multiplier(4, "booth"), 3),
        (Multiplier(3, "operator"), 3),
    ],
    ids=str,
)
def test_every_product_of_small_ones(unit, bits):
    assert check_multiplier(unit, bits, stalls=0.2, **FAST) == 2 ** (bits + unit.select_bits)


@installed
def test_the_synthesised_netlist_does_the_same():
    assert check_multiplier(TWO, 3, gates=True, **FAST) == 2**7


@installed
@compiled
@pytest.mark.parametrize("name", WIRING)
def test_every_product_of_the_published_netlists_at_8_bits(name):
    unit = published(name)
    count = check_multiplier(unit, 8, gates=True, engine="compiled")
    assert count == 2 ** (8 + unit.select_bits)


@installed
@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"\.CYINIT\(1'b1\)", ".CYINIT(1'b0)"),
        (r"64'h[0-9a-f]{4}", "64'h0000"),
        (r"code\[3\]", "code[2]"),
        (r"\.CI\(s2_c0\[3\]\)", ".CI(1'b0)"),
    ],
)
def test_a_fault_is_seen(pattern, instead):
    text, count = re.subn(pattern, instead, multiplier_verilog(TWO, 3))
    assert count
    said = refused(lambda: check_multiplier(TWO, 3, text=text, **FAST))
    assert re.match(r"\d+ of 128 products differ, the first of -?\d+ by -?\d+ \(code \d+\)", said)


def test_products_have_the_bits_they_need():
    for unit in (*map(published, WIRING), random_circuit("4-Add", 3), Multiplier(8)):
        for bits in (2, 8):
            most = 2 ** (product_bits(unit, bits) - 1)
            products = np.outer(unit.coefficients, [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1])
            assert -most <= products.min() and products.max() < most
            assert products.max() >= most // 2 or products.min() < -(most // 2)


# Tables


def test_hand_made_pairs_are_tables():
    found = yosys.count({"LUT6_2": 5, "LUT6": 2}, {"estimated_num_lc": 2}, "Yosys 0.70")
    assert (found.lut, found.lut_logic, found.lut_packed) == (7, 7, 7)


@installed
def test_a_2_add_grows_by_two_tables_a_bit(home):
    found = synthesise_multipliers([TWO], [3, 6])
    row = lut_slopes(found).iloc[0]
    rows = reference.load("faraone2021", "figure_6_8").query("quantity == 'lut_per_input_bit'")
    assert row["lut_per_input_bit"] == pytest.approx(
        float(rows.set_index("rccm")["value"]["2-Add"])
    )
    assert (found["dsp"] == 0).all() and (found["coefficients"] == 15).all()
    cells = [text.count(" LUT6") for text in (multiplier_verilog(TWO, w) for w in (3, 6))]
    assert (found["lut"] - cells).between(0, 1).all(), "and an inverter"


def test_cells_of_a_generic_multiplier():
    """A table a bit of each adder: what the page of these multipliers says."""
    for w in (3, 8):
        array = multiplier_verilog(Multiplier(8), w).count(" LUT6")
        assert array == 7 * (w + 1) and "wire p0 = " in multiplier_verilog(Multiplier(8), w)
        assert multiplier_verilog(Multiplier(8, "booth"), w).count(" LUT6") == 4 * (w + 2)


@pytest.fixture
def counted(home, monkeypatch):
    """Multipliers that were synthesised, each with as many LUTs as its text has cells."""
    made = []

    def stand_in(text: str, top: str) -> Resources:
        made.append(text.splitlines()[0])
        return Resources(text.count(" LUT6"), 1, 0, 0, 0, 0, 0, 7, "none")

    monkeypatch.setattr(multiplier_grid, "synthesise", stand_in)
    return made


def test_multipliers_are_stored_one_by_one(counted):
    units = [TWO, random_circuit("2-Add", 0), Multiplier(4)]
    first = synthesise_multipliers(units, [4, 5])
    assert first["multiplier"].tolist() == ["2-Add"] * 4 + ["4-bit array"] * 2
    assert first["input_bits"].tolist() == [4, 5] * 3 and len(counted) == 6
    assert first["select_bits"].eq(4).all() and first["coefficients"].iloc[-1] == 16
    again = synthesise_multipliers(units, [np.int64(5)])
    assert len(counted) == 6, "what is stored is not made again"
    pd.testing.assert_frame_equal(again, first.iloc[1::2].reset_index(drop=True))
    asked = {**multiplier_grid.parameters(TWO), "input_bits": 4}
    assert store.find(store.spec(multiplier_grid.synthesise_rccm, **asked))


def test_slopes_of_straight_and_bent_lines():
    table = pd.DataFrame({"multiplier": list("aaabbb"), "input_bits": [3, 4, 6] * 2})
    table["lut"] = [7, 9, 13, 1, 2, 9]
    found = lut_slopes(table).set_index("multiplier")
    assert found.loc["a"].tolist() == pytest.approx([2, 1, 0])
    assert found.loc["b", "residual"] > 0.5
    said = refused(lambda: lut_slopes(table.head(1)))
    assert said == "a slope needs two widths of input, and a has one."


# What is refused


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (partial(Multiplier, 1), "coefficient_bits must be a whole number from 2 to 32, not 1."),
        (partial(Multiplier, 7, "booth"), "coefficient_bits of kind 'booth' must be even, not 7."),
        (partial(Multiplier, 8, "dadda"), "kind must be one of array, booth, operator, not 'dadda"),
        (partial(multiplier_verilog, TWO, 1), "input_bits must be a whole number from 2 to 32, no"),
        (partial(multiplier_verilog, TWO, 8, "a b"), "name must be a Verilog identifier, not 'a b"),
        (partial(multiply, TWO, [4], [0], input_bits=3), "x must be from -4 to 3, and one is 4."),
        (partial(multiply, TWO, [3], [16], input_bits=3), "codes must be from 0 to 15, and one is"),
        (partial(multiply, TWO, [], [], input_bits=3), "x must be one or more whole numbers, in a"),
        (partial(multiply, TWO, [0, 1], [0], input_bits=3), "x and codes must be as many, not 2 a"),
        (partial(multiply, TWO, [0], [0], input_bits=3, stalls=1), "stalls must be from 0 to 0.9"),
        (partial(synthesise_multipliers, []), "units and input_bits must name at least one each."),
        (partial(synthesise_multipliers, [TWO], [4, 40]), "input_bits must be a whole number from"),
    ],
)
def test_what_cannot_be(ask, said, monkeypatch):
    monkeypatch.setattr(yosys, "run", None)  # it must not start
    assert refused(ask).startswith(said)
    assert issubclass(SynthesisError, HardwareError)
