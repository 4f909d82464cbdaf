"""The decoder's RTL gives back the weights of a network that chapter 10 trained."""

import pandas as pd
import pytest
import store_toy

from qbench import chapters, parameters
from qbench.hardware.synthesis import decompressor, yosys
from qbench.sparsity import coding, runs
from qbench.studies import sparse_ternary_decoder as decoder

home = pytest.fixture(store_toy.home)
pytestmark = pytest.mark.skipif(not yosys.available(), reason="needs Yosys")


def asked(**more):
    found = chapters.parameters(chapters.find("10"), "smoke", {})
    small = {"images": 60, "width": 8, "iterations": 1, "seeds": [0], "decompressor": True}
    return parameters.check("10_sparse_ternary", **(found | small | more))


@pytest.fixture
def found(home, monkeypatch):
    """Without a C++ compiler: the last layer of the sparse network."""
    monkeypatch.setattr(decoder.simulation, "compiler", lambda: None)
    return decoder.reproduced(asked())


def test_the_rtl_reproduces_the_weights_of_the_page_s_network(found):
    [row] = found.to_dict("records")
    spec = next(cell.spec for cell in decoder.cells(asked()) if cell.role == "sparse")
    weights = runs.ternary_of(spec)["fc4"]
    assert (row["layer"], row["weights"], row["wrong"]) == ("fc4", 80, 0)
    assert row["nonzeros"] == (weights != 0).sum() > 0
    width = coding.best_width(weights)
    assert row["magnitude_bits"] == width, "one layer: its best width"
    assert row["codewords"] == coding.run_length(weights, width).codewords
    assert row["cycles"] == row["codewords"], "a codeword a cycle, and the address in the next"
    assert "80 weights in fc4, all are reproduced" in decoder.said(found)


@pytest.mark.parametrize(
    ("right", "fault"),
    [
        ("negative <= in_data", "negative <= ~in_data"),  # signs
        ("reached <= {ADDRESS{1'b1}}", "reached <= 0"),  # the first index
    ],
)
def test_a_faulty_decoder_is_noticed(found, monkeypatch, right, fault):
    made = decompressor.decompressor_verilog
    monkeypatch.setattr(
        decompressor,
        "decompressor_verilog",
        lambda *how: made(*how).replace(right, fault),
    )
    spec = next(cell.spec for cell in decoder.cells(asked()) if cell.role == "sparse")
    [row] = decoder.decompressed(study=spec, layers=["fc4"]).to_dict("records")
    assert row["wrong"] > 0
    assert "not reproduced" in decoder.said(pd.DataFrame([row]))


def test_nothing_is_simulated_unless_it_is_asked_for():
    assert decoder.reproduced(asked(decompressor=False)) is None
    assert "-p decompressor true" in decoder.said(None)


def test_every_width_is_beside_the_thesis():
    taken = {"magnitude_bits": [3, 8], "address_bits": 20, "lut": [14, 112], "ff": 22, "carry4": 6}
    found = decoder.beside_decoder(pd.DataFrame(taken))
    assert found["published"].tolist() == [112, 112]
    assert found["verdict"].tolist() == ["differs", "exact"]
