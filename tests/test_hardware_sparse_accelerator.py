"""What zeros are worth on an FPGA: the thesis's numbers, break-even, tables; what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench import reference
from qbench.hardware import HardwareError, Layer, Window, conv_layer, device
from qbench.hardware import sparse_accelerator as sparse
from qbench.hardware.sparse_accelerator import Accelerator, Operation

BINARY, FLOAT = Accelerator("binary"), Accelerator("float")
GAMMAS, REUSES = st.floats(1e-3, 1), st.integers(1, 10**6)


@pytest.fixture(scope="module")
def printed():
    """The numbers of Sections 3.4.1 and 3.4.3, and of which network they are: 1 binary, 2 float."""
    rows = reference.load("faraone2021", "figure_3_6")
    peak = rows[rows["quantity"] == "peak_throughput"].set_index("network_type")["value"]
    others = rows.drop_duplicates("quantity").set_index("quantity")["value"]
    decoder = reference.load("faraone2021", "figure_3_5").set_index("quantity")["value"]
    return others.astype(float), peak.astype(float), decoder


def refused(ask) -> str:
    with pytest.raises(HardwareError) as caught:
        ask()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


# What the thesis prints


def test_the_constants_are_those_of_the_thesis(printed):
    others, _, decoder = printed
    assert BINARY.operation.lut == others["lut_per_mac"]
    assert BINARY.operation.lut == others["lut_per_operation"] * others["operations_per_mac"]
    assert others["operations_per_mac"] == sparse.OPS_A_MAC
    shares = others[["lut_usable_share", "dsp_usable_share"]].tolist()
    assert [100 * BINARY.lut_share, 100 * BINARY.dsp_share] == shares
    assert BINARY.clock_mhz == others["frequency"] == decoder["decoder_frequency"]
    assert decoder["decoder_lut"] == BINARY.decoder_lut
    assert BINARY.device.dsp == others["dsp_available"]
    assert sparse.PRINTED_LUT == 1000 * others["lut_available"]
    assert BINARY.device.lut == pytest.approx(sparse.PRINTED_LUT, abs=500), "printed in thousands"


def test_both_peaks_follow(printed):
    others, peak, _ = printed
    by_hand = 0.7 * 663_000 / 5 * 250e6 * 2 / 1e12
    assert round(by_hand, 1) == peak[1.0] == round(BINARY.dense_tops, 1)
    assert round(FLOAT.dense_tops, 1) == peak[2.0] == sparse.PRINTED_FLOAT_TOPS
    assert FLOAT.operation.lut == pytest.approx(178.5)


def test_no_whole_number_of_dsps_gives_the_peak_of_floating_point(printed):
    """So look-up tables bound it, at 171.9 to 185.6 an addition; or it counts otherwise."""
    others, peak, _ = printed
    adders = {dsps: others["dsp_available"] // dsps * 250e6 / 1e12 for dsps in (1, 2, 3)}
    for operations in (1, 2):
        assert peak[2.0] not in [round(operations * macs, 1) for macs in adders.values()]
    assert 2 * adders[2] == pytest.approx(1.38)
    luts = [0.7 * 663_000 * 250e6 * 2 / (tops * 1e12) for tops in (1.35, 1.25)]
    assert luts == pytest.approx([171.9, 185.6], abs=0.05)
    for lut, tops in zip(luts, (1.35, 1.25), strict=True):
        assert Accelerator(Operation(lut, 2)).dense_tops == pytest.approx(tops, rel=1e-3)


def test_the_claims_of_section_3_4():
    """A zero is worth more the dearer an operation is, and reuse makes decoders cheap."""
    for gamma, reuse in ((0.024, 1), (0.077, 16), (0.5, 100)):
        assert FLOAT.speedup(gamma, reuse) > BINARY.speedup(gamma, reuse)
    assert FLOAT.largest_gamma(1) == pytest.approx(1 / (1 + 112 / 178.5))
    assert BINARY.largest_gamma(1) == pytest.approx(5 / 117), "4 %, where floating point has 61 %"
    assert BINARY.speedup(0.024, 10**9) == pytest.approx(1 / 0.024), "no more than zeros give"


# The formulas


def test_cost_and_throughput_by_hand():
    usable = 0.7 * 663_360
    assert BINARY.cost(0.5, 4) == pytest.approx(0.5 * (5 + 112 / 4) / usable)
    assert BINARY.tops(0.5, 4) == pytest.approx(2 * 250e6 / BINARY.cost(0.5, 4) / 1e12)
    assert BINARY.tops(0.5, 4) == pytest.approx(46.4352 * BINARY.speedup(0.5, 4))
    found = BINARY.cost(np.array([[0.5], [1]]), np.array([1, 4, 16]))
    assert found.shape == (2, 3) and found[0, 1] == BINARY.cost(0.5, 4)


def test_what_runs_out_first_bounds_an_operation():
    ku = device("KU115")
    assert Accelerator(Operation(1, 2)).operation_share == 2 / ku.dsp
    assert Accelerator(Operation(1, 2), dsp_share=0.5).operation_share == 4 / ku.dsp
    assert Accelerator(Operation(700, 2), lut_share=1).operation_share == 700 / ku.lut
    zu3 = Accelerator("binary", "ZU3EG", clock_mhz=100)
    assert zu3.dense_tops == pytest.approx(0.7 * 70560 / 5 * 100e6 * 2 / 1e12)
    assert Accelerator(device="ZU3EG").clock_mhz == 300, "that of the device"


@given(GAMMAS, REUSES, st.sampled_from([BINARY, FLOAT]), st.floats(1, 1000))
def test_sparse_is_faster_above_the_break_even_and_nowhere_else(gamma, reuse, one, decoder):
    one = Accelerator(one.activations, decoder_lut=decoder)
    even, speedup = one.break_even(gamma), one.speedup(gamma, reuse)
    if not math.isclose(speedup, 1):  # rounded, it may lie on either side
        assert (reuse > even) == (speedup > 1) == (gamma < one.largest_gamma(reuse))
    if gamma < 1:  # in real numbers, R at the break-even gives a speedup of 1
        cost = gamma * (one.operation_share + one.decoder_share / even)
        assert cost == pytest.approx(one.operation_share)
    assert one.break_even(one.largest_gamma(reuse)) == pytest.approx(reuse, rel=1e-4)


def test_a_dense_network_never_gains_from_a_decoder():
    assert BINARY.break_even(1) == math.inf
    assert (BINARY.speedup(1.0, np.array([1, 100, 10**9])) < 1).all()
    assert BINARY.break_even([0.5, 1]).tolist() == [pytest.approx(22.4), math.inf]
    assert BINARY.speedup(0.5, 22) < 1 < BINARY.speedup(0.5, 23), "5 · 23/112 > 1 > 5 · 22/112"


# Tables


def test_the_table_of_the_figures():
    found = sparse.throughputs([0.024, 0.5, 1], [1, 2, 4, 8])
    assert found.groupby("activations", sort=False).size().to_dict() == {"binary": 12, "float": 12}
    assert not found.duplicated(["activations", "gamma", "reuse"]).any()
    for row in found.itertuples():
        one = {"binary": BINARY, "float": FLOAT}[row.activations]
        assert row.cost == one.cost(row.gamma, row.reuse)
        assert row.tops == pytest.approx(row.speedup * row.dense_tops)
    part = found[(found["activations"] == "binary") & (found["gamma"] == 0.5)]
    assert (np.diff(part["tops"]) > 0).all(), "more reuse, more throughput"


def vgg() -> list[Layer]:
    """The network of Table 3.3, of BinaryConnect's sizes: pairs of 3 × 3 convolutions, 3 dense."""
    filters, sizes = (128, 128, 256, 256, 512, 512), (32, 32, 16, 16, 8, 8)
    layers = [
        conv_layer(f"conv{at}", Window(channels, size, 3, padding=1), count, 1, 1)
        for at, (channels, count, size) in enumerate(
            zip((3, *filters[:-1]), filters, sizes, strict=True)
        )
    ]
    dense = zip((8192, 1024, 1024), (1024, 1024, 10), strict=True)
    return layers + [Layer(f"dense{at}", *sizes, 1, 1) for at, sizes in enumerate(dense)]


def test_the_layers_of_a_network():
    layers = vgg()
    rows = reference.load("faraone2021", "table_3_3").query("act_bits == 1")
    rows = rows.set_index(["method", "quantity"])["value"].astype(float)
    millions = sum(layer.mw * layer.mh for layer in layers) / 1e6
    assert round(millions, 2) == rows["sparse_tnn", "parameters"].item()
    gamma = 1 - rows["sparse_tnn", "zeros"].item() / 100
    found = sparse.by_layer(layers, gamma, batch=2)
    assert found["reuse"].tolist() == [2048, 2048, 512, 512, 128, 128, 2, 2, 2]
    assert found["macs"].sum() == sum(layer.mw * layer.mh * layer.vectors for layer in layers)
    assert (found["break_even"] == BINARY.break_even(gamma)).all()
    assert ((found["speedup"] > 1) == (found["reuse"] > found["break_even"])).all()
    for row in found.itertuples():
        assert row.tops == BINARY.tops(gamma, row.reuse)
        seconds = row.macs * BINARY.cost(gamma, row.reuse) / 250e6
        assert row.microseconds == pytest.approx(1e6 * seconds)
        assert row.dense_microseconds == pytest.approx(row.speedup * row.microseconds)

    gammas = np.linspace(0.1, 0.9, len(layers))
    other = sparse.by_layer(layers, gammas, FLOAT)
    assert other["gamma"].tolist() == gammas.tolist()
    assert other["tops"].tolist() == FLOAT.tops(gammas, other["reuse"].to_numpy()).tolist()


# What is refused


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: Accelerator("ternary"), "activations must be one of binary, float, not 'ternary'"),
        (lambda: Accelerator(device="KU116"), "unknown device 'KU116'"),
        (lambda: Accelerator(device="VU3P"), "clock_mhz must be given: no publication runs the "),
        (lambda: Accelerator(decoder_lut=0), "decoder_lut must be a positive finite number, not 0"),
        (lambda: Accelerator(lut_share=1.5), "lut_share must be at most 1, not 1.5"),
        (lambda: Accelerator(dsp_share=math.nan), "dsp_share must be a positive finite number"),
        (lambda: Accelerator(clock_mhz=-1), "clock_mhz must be a positive finite number, not -1"),
        (lambda: Operation(0), "lut or dsp of an operation must be above 0, and both are 0"),
        (lambda: Operation(1, -2), "dsp of an operation must be a positive finite number, not -2"),
        (lambda: BINARY.cost(0, 1), "gamma must be above 0 and at most 1, not 0"),
        (lambda: BINARY.tops([0.5, 1.1], 1), "gamma must be above 0 and at most 1, not [0.5, 1.1]"),
        (lambda: BINARY.break_even(math.nan), "gamma must be above 0 and at most 1, not nan"),
        (lambda: BINARY.speedup("half", 1), "gamma must be above 0 and at most 1, not 'half'"),
        (lambda: BINARY.cost(0.5, 0), "reuse must be a whole number of at least 1, not 0"),
        (lambda: BINARY.largest_gamma(2.5), "reuse must be a whole number of at least 1, not 2.5"),
        (lambda: sparse.reuse_of(vgg()[0], 0), "batch must be a whole number of at least 1, not 0"),
        (lambda: sparse.reuse_of("conv"), "layers must be one or more hardware.Layer"),
        (lambda: sparse.by_layer([], 0.5), "layers must be one or more hardware.Layer"),
        (lambda: sparse.by_layer(vgg(), [0.5] * 8), "each of the 9 layers, not of shape (8,)"),
        (lambda: sparse.throughputs([0.5, 2], [1]), "gamma must be above 0 and at most 1"),
    ],
)
def test_what_cannot_be(ask, said):
    assert said in refused(ask)
