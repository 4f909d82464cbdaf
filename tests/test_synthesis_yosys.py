"""Yosys: cells counted, failures told, grids stored unit by unit, and the flip-flop model."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import store_toy
from hypothesis import given
from hypothesis import strategies as st

from qbench import store
from qbench.hardware import flip_flops
from qbench.hardware.synthesis import (
    FlipFlopModel,
    Resources,
    SynthesisError,
    fit_ff,
    grid,
    synthesise,
    synthesise_grid,
    synthesise_mvtu,
    yosys,
)

home = pytest.fixture(store_toy.home)
installed = pytest.mark.skipif(not yosys.available(), reason="needs Yosys")


def refused(ask) -> str:
    """The `SynthesisError` of `ask()`: one sentence on one line."""
    with pytest.raises(SynthesisError) as caught:
        ask()
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    return said


# Counting

VERSION = "Yosys 0.70 (git sha1 28ba3cb92, clang++ 18.1.8 -fPIC -O3)"


def test_cells_are_counted():
    cells = {"LUT1": 1, "LUT2": 2, "LUT6": 10, "INV": 3, "MUXF7": 50, "MUXF8": 50}
    cells |= {"FDRE": 5, "FDSE": 1, "FDCE": 2, "FDPE": 4, "CARRY4": 6, "$scopeinfo": 9}
    cells |= {"RAMB18E1": 3, "RAMB36E1": 2, "DSP48E1": 7, "RAM32M": 2, "RAM64X1D": 3, "SRL16E": 1}
    found = yosys.count(cells, {"estimated_num_lc": 11}, VERSION)
    assert found == Resources(
        lut_logic=16, lut_packed=11, lut_memory=15, ff=12, ramb18=3, ramb36=2, dsp=7, carry4=6,
        yosys="0.70 (git sha1 28ba3cb92)",
    )  # fmt: skip
    assert found.lut == 31 and found.bram18 == 7
    assert list(found.row())[0] == "lut" and found.row()["bram18"] == 7
    assert yosys.count({}, {"estimated_num_lc": 0}, VERSION).lut == 0


def test_cells_that_have_no_place_are_an_error():
    said = refused(lambda: yosys.count({"LUT6": 1, "URAM288": 1, "BUFG": 2}, {}, VERSION))
    assert said == "the netlist has cells that are not counted here: BUFG, URAM288."


@installed
def test_a_unit_is_synthesised(home):
    """Weights 32 words deep and 16 bits wide take one block RAM."""
    one = {"mw": 16, "mh": 16, "pe": 2, "simd": 4, "weight_bits": 2, "act_bits": 1}
    one |= {"out_bits": None, "act_signed": False}
    row = store.run(synthesise_mvtu, **one).iloc[0]
    assert (row["ramb18"], row["ramb36"], row["dsp"], row["bram18"]) == (1, 0, 0, 1)
    assert row["lut_memory"] > 0, "inputs are kept in distributed RAM"
    assert 0 < row["lut_packed"] <= row["lut_logic"] == row["lut"] - row["lut_memory"]
    assert row["ff"] > 2 * row["pe"] * row["acc_bits"], "accumulators and outputs"
    assert row["yosys"].startswith("0.") and row["cycles"] == 32 and row["weights_in"] == "block"


# Yosys itself


def test_without_yosys_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr(yosys, "find_spec", lambda name: None)
    assert not yosys.available()
    said = refused(lambda: yosys.run("stat", {}))
    assert said.startswith("synthesis needs Yosys, which is not installed: pip install ")
    assert refused(lambda: synthesise("module mvtu; endmodule")) == said


@installed
@pytest.mark.parametrize(
    ("script", "last"),
    [
        ("read_verilog design.v", "design.v:1: ERROR: syntax error, unexpected TOK_ENDMODULE"),
        ("no_such_pass", "No such command: no_such_pass"),
    ],
)
def test_the_last_word_of_yosys(script, last):
    said = refused(lambda: yosys.run(script, {"design.v": "module a; wire endmodule"}))
    assert said.startswith("Yosys failed with status 1: ")
    assert last.rpartition("ERROR: ")[2] in said


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("reading\nERROR: No such thing.\ndone\n", "status 3: No such thing."),
        ("reading\n\nkilled\n\n", "status 3: killed."),
        ("", "status 3: no reason given."),
    ],
)
def test_whatever_yosys_says_last(output, said, monkeypatch):
    failed = subprocess.CompletedProcess([], 3, output)
    monkeypatch.setattr(yosys, "available", lambda: True)
    monkeypatch.setattr(yosys.subprocess, "run", lambda *_, **__: failed)
    assert refused(lambda: yosys.run("stat", {})) == f"Yosys failed with {said}"


# Grids, with a stand-in for Yosys


@pytest.fixture
def counted(home, monkeypatch):
    """Units that were synthesised, each with as many LUTs as its text has lines."""
    made = []

    def stand_in(text: str, *, dsp: bool = False) -> Resources:
        made.append(text.splitlines()[0])
        return Resources(len(text.splitlines()), 1, 2, 3, 4, 5, int(dsp), 7, "none")

    monkeypatch.setattr(grid, "synthesise", stand_in)
    monkeypatch.setattr(grid, "require", lambda: None)
    return made


SMALL = {"mw": 8, "mh": 4, "weight_bits": [1, 3], "act_bits": [2], "foldings": [1, 2]}


def test_rows_of_a_grid_are_in_order(counted):
    table = synthesise_grid(**SMALL, seed=5)
    order = table[["pe", "simd", "weight_bits", "act_bits", "out_bits"]].to_numpy().tolist()
    assert order == [[1, 1, 1, 2, 2], [1, 1, 3, 2, 2], [2, 2, 1, 2, 2], [2, 2, 3, 2, 2]]
    assert table["cycles"].tolist() == [32, 32, 8, 8] and set(table["seed"]) == {5}
    assert table["dsp_allowed"].tolist() == [False] * 4
    assert (table["lut"] == table["lut_logic"] + 2).all() and (table["bram18"] == 14).all()
    assert list(table.index) == [0, 1, 2, 3] and len(counted) == 4


def test_a_grid_goes_on_where_it_was(counted, monkeypatch):
    first = synthesise_grid(**SMALL | {"weight_bits": [3]})
    assert len(counted) == 2
    whole = synthesise_grid(**SMALL, jobs=2)
    assert len(counted) == 4, "what is stored is not made again"
    part = whole[whole["weight_bits"] == 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, first)
    store_toy.new_process(monkeypatch)
    pd.testing.assert_frame_equal(synthesise_grid(**SMALL), whole)
    assert len(counted) == 4
    synthesise_grid(**SMALL, thresholds=False)
    synthesise_grid(**SMALL, dsp=True)
    synthesise_grid(**SMALL, seed=np.int64(1))
    assert len(counted) == 16, "other units"


def test_what_was_done_before_a_failure_is_kept(counted, monkeypatch):
    make = grid.synthesise

    def fails_at_the_last(text, **how):
        if len(counted) == 3:
            raise SynthesisError("Yosys failed.")
        return make(text, **how)

    monkeypatch.setattr(grid, "synthesise", fails_at_the_last)
    assert refused(lambda: synthesise_grid(**SMALL)) == "Yosys failed."
    assert len(counted) == 3
    monkeypatch.setattr(grid, "synthesise", make)
    assert len(synthesise_grid(**SMALL)) == len(counted) == 4


def test_stored_grids_need_no_yosys(counted, monkeypatch):
    whole = synthesise_grid(**SMALL)
    monkeypatch.setattr(grid, "require", yosys.require)
    monkeypatch.setattr(yosys, "find_spec", lambda name: None)
    pd.testing.assert_frame_equal(synthesise_grid(**SMALL), whole)
    said = refused(lambda: synthesise_grid(**SMALL | {"weight_bits": [1, 2, 3]}))
    assert said.startswith("synthesis needs Yosys") and len(counted) == 4


def test_a_grid_is_recomputed_once_a_process(counted, monkeypatch, capsys):
    synthesise_grid(**SMALL)
    store_toy.new_process(monkeypatch)
    monkeypatch.setenv("QBENCH_RECOMPUTE", "1")
    synthesise_grid(**SMALL, jobs=2)
    synthesise_grid(**SMALL)
    assert len(counted) == 8 and capsys.readouterr().err.count("recomputed, identical") == 4


WHOLE = "must be a whole number of"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"jobs": 0}, f"jobs {WHOLE} at least 1, not 0."),
        ({"jobs": 1.5}, f"jobs {WHOLE} at least 1, not 1.5."),
        ({"seed": -1}, f"seed {WHOLE} at least 0, not -1."),
        ({"seed": None}, f"seed {WHOLE} at least 0, not None."),
        ({"weight_bits": []}, "weight_bits must name at least one value, and names none."),
        ({"foldings": [2, 2]}, "foldings must not repeat a value, and has 2 twice."),
        ({"act_bits": [2, 9]}, "act_bits must be a whole number from 1 to 8, not 9."),
        ({"weight_bits": [True]}, "weight_bits must be a whole number from 1 to 8, not True."),
        ({"mw": 9}, "simd must divide mw, the number of columns, and 2 does not divide 9."),
        ({"foldings": [8]}, "pe must divide mh, the number of rows, and 8 does not divide 4."),
        ({"thresholds": 1}, "thresholds must be True or False, not 1."),
        ({"dsp": "no"}, "dsp must be True or False, not 'no'."),
        ({"thresholds_in": "lut"}, "thresholds_in must be 'block' or 'distributed', not 'lut'."),
        (
            {"pe": 2},
            "what all units share may be out_bits, act_signed, weights_in, thresholds_in, dsp, "
            "not 'pe'.",
        ),
    ],
)
def test_grids_that_cannot_be(counted, home, change, said):
    assert refused(lambda: synthesise_grid(**SMALL | change)) == said
    assert not counted and not store_toy.files(home)


# Flip-flops

TRUE = {"constant": 40.0, "weights": 1.0, "accumulators": 2.0, "outputs": 1.5, "search": 0.8}


def made_up(count: int, noise: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = ("pe", "simd", "weight_bits", "act_bits", "out_bits")
    table = pd.DataFrame({name: rng.integers(1, 9, count) for name in names})
    table["acc_bits"] = table["weight_bits"] + table["act_bits"] + 8
    table["cycles"] = 2 ** rng.integers(4, 12, count)
    values = (table[name] for name in ff_columns())
    features = flip_flops.features(*values)
    table["ff"] = sum(factor * features[name] for name, factor in TRUE.items())
    table["ff"] *= 1 + noise * rng.uniform(-1, 1, count)
    return table.assign(yosys="0.70")


def ff_columns() -> tuple[str, ...]:
    from qbench.hardware.synthesis.ff_model import COLUMNS

    return COLUMNS


def test_known_coefficients_are_found():
    rows = made_up(200)
    model = fit_ff(rows)
    for name, value in model.coefficients.items():
        assert value == pytest.approx(TRUE.get(name, 0.0), abs=1e-6), name
    assert model.error < 1e-6 and model.rows == 200 and model.yosys == ("0.70",)
    np.testing.assert_allclose(model.predict(rows), rows["ff"], rtol=1e-8)
    assert model.predict(rows.iloc[::-1]).index.tolist() == list(range(199, -1, -1))


def test_the_error_is_that_of_units_the_fit_has_not_seen():
    model = fit_ff(made_up(300, noise=0.1))
    assert 3 < model.error < 7, "the mean of |x| for x uniform in ±10 % is 5 %"
    assert model.error < model.worst < 15
    assert all(value >= 0 for value in model.coefficients.values())
    assert fit_ff(made_up(300, noise=0.1)) == model
    assert fit_ff(made_up(300, noise=0.1), seed=1).error != model.error


@given(st.integers(0, 2**32 - 1))
def test_coefficients_are_never_negative(seed):
    rows = made_up(40)
    rows["ff"] = np.random.default_rng(seed).integers(1, 10_000, 40)
    assert min(fit_ff(rows).coefficients.values()) >= 0


def test_units_of_sums_have_no_output_bits():
    rows = made_up(60).astype({"out_bits": float})
    rows.loc[::2, "out_bits"] = None
    zero = rows.fillna({"out_bits": 0})
    assert fit_ff(rows) == fit_ff(zero)


def test_the_fitted_model_is_what_estimates_use(tmp_path, monkeypatch):
    file = tmp_path / "new" / "ff.yml"
    monkeypatch.setattr(flip_flops, "MODEL_FILE", file)
    values = 2, 4, 3, 3, 14, 3, 64
    assert np.isnan(flip_flops.estimate(*values))
    model = fit_ff(made_up(200))
    assert model.write(file) == file
    expected = model.predict(pd.DataFrame([dict(zip(ff_columns(), values, strict=True))]))
    assert flip_flops.estimate(*values) == round(float(expected[0]))
    said = file.read_text()
    assert "200 synthesised MVTUs, Yosys 0.70" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop(columns="simd"), "the rows need a column 'simd', and have "),
        (lambda rows: rows.drop(columns="ff"), "the rows need a column 'ff', and have "),
        (lambda rows: rows.head(19), "a fit needs at least 20 rows, not 19."),
        (lambda rows: rows.assign(ff=0), "ff must be a positive number in every row."),
        (lambda rows: rows.assign(ff=np.nan), "ff must be a positive number in every row."),
    ],
)
def test_rows_that_cannot_be_fitted(change, said):
    assert refused(lambda: fit_ff(change(made_up(40)))).startswith(said)


def test_predicting_needs_the_columns():
    model = FlipFlopModel({"constant": 1.0}, 0.0, 0.0, 16)
    said = refused(lambda: model.predict(made_up(3).drop(columns="cycles")))
    assert said.startswith("the rows need a column 'cycles'")


def test_synthesis_is_imported_without_torch():
    code = "import sys, qbench.hardware.synthesis; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
