"""The DPUCZDX8G: its published tables, cores that fit, cycles of layers; what is refused."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from qbench import reference
from qbench.hardware import (
    HardwareError,
    Layer,
    Window,
    conv_layer,
    device,
    dpu,
    dpu_speed,
    fit,
    layers_of,
)
from qbench.hardware.dpu import Architecture, Dpu, Options

NAMES = ["B512", "B800", "B1024", "B1152", "B1600", "B2304", "B3136", "B4096"]
BIG = Options(ram_usage="high", dsp_usage="high")
BARE = Options(channel_augmentation=False, depthwise=False, average_pool=False)


def refused(ask) -> str:
    with pytest.raises(HardwareError) as caught:
        ask()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


@cache
def printed(table: str) -> dict:
    """The values of a table by architecture, quantity and RAM usage where there is one."""
    rows = reference.load("vailakis2022", table)
    keys = [key for key in ("architecture", "quantity", "ram_usage") if key in rows]
    return rows.set_index(keys)["value"].astype(float).to_dict()


# The published tables


def test_the_architectures_are_those_of_table_6_4():
    table = printed("table_6_4")
    assert dpu.names() == NAMES
    for name in NAMES:
        one = dpu.architecture(name)
        assert one.pixels == table[name, "pixel_parallelism"]
        assert one.inputs == table[name, "input_channel_parallelism"]
        assert one.outputs == table[name, "output_channel_parallelism"]
        assert f"B{one.operations}" == name
        slip = table[name, "operations_per_cycle"] != one.operations
        assert slip == (name == "B512"), "the only one misprinted"


@pytest.mark.parametrize("name", NAMES)
def test_a_core_without_a_word_is_that_of_table_6_4(name):
    table, core = printed("table_6_4"), dpu.resources(name)
    assert core.lut == table[name, "lut"] and core.ff == table[name, "register"]
    assert core.bram18 == 2 * table[name, "bram"] and core.dsp == table[name, "dsp"]


@pytest.mark.parametrize("name", NAMES)
def test_each_option_costs_what_its_table_prints(name):
    core, ram = dpu.resources(name), printed("table_6_5")
    more = dpu.resources(name, 1, Options(ram_usage="high"))
    assert (
        more.bram18 == 2 * ram[name, "bram", "high"] and core.bram18 == 2 * ram[name, "bram", "low"]
    )
    assert (more.lut, more.ff, more.dsp) == (core.lut, core.ff, core.dsp)
    for field, table in (
        ("channel_augmentation", "table_6_6"),
        ("depthwise", "table_6_7"),
        ("average_pool", "table_6_8"),
    ):
        off, extra = dpu.resources(name, 1, Options(**{field: False})), printed(table)
        assert core.lut - off.lut == extra[name, "extra_lut"] and core.ff == off.ff
        assert core.bram18 - off.bram18 == 2 * extra.get((name, "extra_bram"), 0)
        assert core.dsp - off.dsp == extra.get((name, "extra_dsp"), 0)
    high, low = dpu.resources(name, 1, Options(dsp_usage="high")), printed("table_6_9")
    assert core.lut - high.lut == low[name, "extra_lut"]
    assert core.ff - high.ff == low[name, "extra_bram"], "registers, headed block RAMs"
    assert core.dsp - high.dsp == low[name, "extra_dsp"] < 0
    assert core.bram18 == high.bram18


# DSPs with low and with high usage and block RAMs of 36 kbit, all without depthwise convolution
OLDER = {  # Xilinx PG338 v1.2 (2019), Table 9
    "B512": (66, 98, 69.5),
    "B800": (102, 142, 87),
    "B1024": (130, 194, 101.5),
    "B1152": (146, 194, 117.5),
    "B1600": (202, 282, 123),
    "B2304": (290, 386, 161.5),
    "B3136": (394, 506, 203.5),
    "B4096": (514, 642, 249.5),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_core_of_table_6_4_is_an_older_one_and_depthwise_convolution(name):
    """So `Options()` is right in saying that depthwise is in it, and that DSP usage is low."""
    low, high, bram = OLDER[name]
    without = Options(depthwise=False)
    for ours in (vars(dpu.resources(name, 1, without)), dpu.structure(name, without)):
        assert (ours["dsp"], ours["bram18"]) == (low, 2 * bram)
    more = Options(depthwise=False, dsp_usage="high")
    assert dpu.resources(name, 1, more).dsp == dpu.structure(name, more)["dsp"] == high


@pytest.mark.parametrize("name", NAMES)
def test_table_6_4_cannot_be_of_high_dsp_usage(name):
    fewer = printed("table_6_4")[name, "dsp"] + printed("table_6_9")[name, "extra_dsp"]
    assert fewer < dpu.architecture(name).macs / 4, "too few to multiply"


@pytest.mark.parametrize("name", NAMES)
def test_dsps_and_block_rams_follow_from_the_parallelism(name):
    for options in (Options(), BARE, BIG, replace(BARE, dsp_usage="high")):
        ours, table = dpu.structure(name, options), dpu.resources(name, 1, options)
        assert ours["dsp"] == table.dsp
        odd = name == "B4096" and options.ram_usage == "high"
        assert table.bram18 - ours["bram18"] == (1 if odd else 0)


def test_softmax_is_there_once():
    for cores in (1, 3):
        with_, without = (dpu.resources("B4096", cores, Options(softmax=s)) for s in (True, False))
        assert [
            getattr(with_, r) - getattr(without, r) for r in ("lut", "ff", "bram18", "dsp")
        ] == [
            9580,
            8019,
            8,
            12,
        ]
    assert dpu.resources("B4096", 3).ff == 3 * 105008


# Cores that fit


def test_the_cores_of_a_zcu102():
    """Three, as Table 6.10 has it; block RAM keeps a fourth out whatever the options are."""
    assert dpu.most_cores("B4096") == dpu.most_cores("B4096", options=BARE) == 3
    assert dpu.most_cores("B4096", options=BIG) == 2
    assert dpu.most_cores("B4096", "ZU3EG") == 0 and dpu.most_cores("B512", "ZU3EG") == 2
    full = fit(dpu.resources("B4096", 4), "ZCU102")
    assert full.first == "bram18" and not full.fits
    table = dpu.architectures().set_index("architecture")
    assert table["cores"].to_dict() == {**dict.fromkeys(NAMES, 4), "B4096": 3}
    assert table["tops"].idxmax() == "B3136", "four of these have the larger peak"
    bound = dpu.architectures(ram_usage="high").set_index("architecture")
    assert (bound["cores"] <= table["cores"]).all() and bound.loc["B3136", "cores"] == 3


def test_the_peak_is_that_of_the_thesis_and_of_the_manufacturer():
    design = Dpu("B4096", 3)
    assert design.clock_mhz == 300 == printed_clock()
    assert design.peak_tops == pytest.approx(3.6864)
    assert Dpu("B4096", 3, clock_mhz=281).peak_tops == pytest.approx(3.45, abs=0.005), "UG1354"
    assert Dpu("B4096", 1, clock_mhz=325).peak_tops == pytest.approx(1.3312)


def printed_clock() -> float:
    rows = reference.load("vailakis2022", "table_6_10").set_index("quantity")["value"]
    assert float(rows["dsp_clock_frequency"]) == 2 * float(rows["pl_clock_frequency"])
    return float(rows["pl_clock_frequency"])


def test_what_fits_is_what_most_cores_says():
    for name in NAMES:
        for target in ("ZU3EG", "ZU5EV", "ZCU102"):
            for options in (Options(), BIG):
                most = dpu.most_cores(name, target, options)
                if most:
                    assert Dpu(name, most, options, target, 300).resources.lut > 0
                if most < 4:
                    said = refused(
                        lambda n=name, m=most, t=target, o=options: Dpu(n, m + 1, o, t, 300)
                    )
                    assert f"cores of {name} must be at most {most} on the" in said


# Cycles


STEM = conv_layer("stem", Window(3, 32, 3, padding=1), 64, 8, 8)
SMALL = conv_layer("small", Window(100, 4, 1), 20, 8, 8)
DENSE = Layer("dense", 288, 100, 8, 8)


def test_cycles_by_hand():
    """⌈1024/8⌉ · 9 · ⌈3/16⌉ · ⌈64/16⌉, and so on."""
    assert dpu_speed.cycles(STEM, channel_augmentation=False) == 128 * 9 * 1 * 4
    assert dpu_speed.cycles(STEM) == 128 * 2 * 4, "27 products at once, 16 at a time"
    assert dpu_speed.cycles(SMALL) == 2 * 7 * 2
    assert dpu_speed.cycles(SMALL, pixels="row") == 4 * 7 * 2, "half of each step is idle"
    assert dpu_speed.cycles(STEM, pixels="row") == dpu_speed.cycles(STEM), "32 is 4 times 8"
    assert dpu_speed.cycles(DENSE) == dpu_speed.cycles(DENSE, pixels="row") == 18 * 7
    assert dpu_speed.cycles(SMALL, "B800") == 4 * 10 * 2
    assert dpu_speed.cycles(SMALL, Architecture("one", 1, 1, 1)) == 16 * 100 * 20


SIDES, CHANNELS = st.integers(1, 40), st.integers(1, 200)
LAYERS = st.builds(
    lambda channels, size, kernel, filters: conv_layer(
        "a", Window(channels, size, kernel, padding=kernel // 2), filters, 8, 8
    ),
    CHANNELS,
    SIDES,
    st.sampled_from([1, 3, 5]),
    CHANNELS,
) | st.builds(lambda mw, mh: Layer("a", mw, mh, 8, 8), CHANNELS, CHANNELS)
ARRAYS = st.builds(Architecture, st.just("x"), *[st.integers(1, 20)] * 3)
HOW = st.fixed_dictionaries(
    {"channel_augmentation": st.booleans(), "pixels": st.sampled_from(dpu_speed.PIXELS)}
)


@given(LAYERS, ARRAYS, HOW)
def test_no_layer_is_faster_than_the_multipliers(layer, array, how):
    macs = layer.mw * layer.mh * layer.vectors
    assert macs <= array.macs * dpu_speed.cycles(layer, array, **how)
    assert dpu_speed.cycles(layer, Architecture("one", 1, 1, 1), **how) == macs


@given(LAYERS, ARRAYS, HOW, st.sampled_from(["pixels", "inputs", "outputs"]), st.integers(1, 20))
def test_more_parallelism_is_never_slower(layer, array, how, field, more):
    wider = replace(array, **{field: getattr(array, field) + more})
    assert dpu_speed.cycles(layer, wider, **how) <= dpu_speed.cycles(layer, array, **how)


@given(LAYERS, ARRAYS)
def test_what_the_options_do_to_cycles(layer, array):
    plain = {"channel_augmentation": False}
    least = dpu_speed.cycles(layer, array)
    assert least <= dpu_speed.cycles(layer, array, **plain)
    assert least <= dpu_speed.cycles(layer, array, pixels="row")


@given(ARRAYS, *[st.integers(1, 6)] * 3)
def test_multiples_of_the_parallelism_lose_nothing(array, pixels, inputs, outputs):
    sizes = inputs * array.inputs, outputs * array.outputs
    layer = Layer("a", *sizes, 8, 8, vectors=pixels * array.pixels)
    assert dpu_speed.cycles(layer, array) == pixels * inputs * outputs


# Networks


def test_the_rows_of_a_network():
    design = Dpu("B4096", 3)
    table = dpu_speed.by_layer([STEM, SMALL, DENSE], design).set_index("layer")
    assert table["cycles"].tolist() == [dpu_speed.cycles(one) for one in (STEM, SMALL, DENSE)]
    assert table["macs"].tolist() == [27 * 64 * 1024, 100 * 20 * 16, 28800]
    assert table["utilisation"].tolist() == pytest.approx(
        [27 / 32, 32000 / 28 / 2048, 28800 / 126 / 2048]
    )
    assert table["read_bytes"].tolist() == [3 * 1024 + 27 * 64, 1600 + 2000, 288 + 28800]
    assert table["written_bytes"].tolist() == [65536, 320, 100]
    assert table["port_cycles"].tolist() == [2048, 113, 909], "32 bytes a cycle, rounded up"
    assert table["bound"].tolist() == ["ports"] * 3
    assert table["microseconds"].tolist() == pytest.approx([1024 / 300, 28 / 300, 126 / 300])
    off = Dpu("B4096", 3, Options(channel_augmentation=False))
    assert dpu_speed.by_layer([STEM], off)["bound"].tolist() == ["compute"]


def test_the_speed_of_a_network():
    design, layers = Dpu("B4096", 3, clock_mhz=250), [STEM, SMALL, DENSE]
    found = dpu_speed.performance(layers, design)
    assert found.cycles == 1024 + 28 + 126
    assert found.latency_ms == pytest.approx(1178 / 250e3)
    assert found.images_per_second == pytest.approx(3 * 250e6 / 1178)
    assert found.utilisation == pytest.approx(found.macs / 1178 / 2048)
    assert dpu_speed.performance(layers, design, memory="overlapped").cycles == 2048 + 113 + 909
    both = dpu_speed.performance(layers, design, memory="in turn")
    assert both.cycles == 1178 + 2048 + 113 + 909
    one = dpu_speed.performance(layers, replace(design, cores=1))
    assert one.latency_ms == found.latency_ms
    assert 3 * one.images_per_second == pytest.approx(found.images_per_second)


@given(st.lists(LAYERS, min_size=1, max_size=4), st.sampled_from(NAMES), st.integers(1, 3))
def test_no_network_exceeds_the_peak(layers, name, cores):
    design = Dpu(name, cores)
    speeds = [dpu_speed.performance(layers, design, memory=m) for m in dpu_speed.MEMORY]
    for speed in speeds:
        assert 0 < speed.utilisation <= 1
        operations = 2 * speed.macs * speed.images_per_second
        assert operations <= design.peak_tops * 1e12 * (1 + 1e-9)
    assert speeds[0].cycles <= speeds[1].cycles <= speeds[2].cycles <= 2 * speeds[1].cycles


def test_layers_of_a_network_in_float32():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    )
    unsigned = {"signed_input": False}
    assert layers_of(model, input_shape=(3, 4, 4), float_bits=8) == (
        conv_layer("0", Window(3, 4, 3, padding=1), 4, 8, 8, **unsigned),
        Layer("4", 16, 5, 8, 8, **unsigned),
    )
    assert "must be quantised" in refused(lambda: layers_of(model, input_shape=(3, 4, 4)))
    ask = {"input_shape": (3, 4, 4), "float_bits": 17}
    assert refused(lambda: layers_of(model, **ask)) == (
        "float_bits must be a whole number from 1 to 16, not 17."
    )
    said = refused(lambda: layers_of("a.onnx", float_bits=8))
    assert said == "float_bits is for a PyTorch module, and source is a QONNX file."


# What is refused


LARGE = Layer("large", 64, 1024, 8, 8)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: dpu.architecture("B4097"), "architecture must be one of B512, B800, B1024"),
        (lambda: Dpu(4096), "architecture must be one of B512, B800, B1024"),
        (lambda: dpu.resources(Architecture("B512", 8, 8, 8)), "must be one of B512"),
        (lambda: Architecture("x", 0, 8, 8), "pixels of x must be a whole number of at least 1"),
        (lambda: Architecture("x", 8, 1.5, 8), "inputs of x must be a whole number of at least 1"),
        (lambda: Dpu(cores=0), "cores must be a whole number from 1 to 4, not 0"),
        (lambda: Dpu("B512", 5), "cores must be a whole number from 1 to 4, not 5"),
        (lambda: Dpu("B4096", 4), "cores of B4096 must be at most 3 on the ZU9EG, not 4, which"),
        (lambda: Dpu("B4096", 3, BIG), "cores of B4096 must be at most 2 on the ZU9EG, not 3"),
        (lambda: Dpu(device="ZCU103"), "unknown device 'ZCU103'"),
        (lambda: Dpu("B512", device="ZU5EV"), "clock_mhz must be given: no publication runs the"),
        (lambda: Dpu(clock_mhz=0), "clock_mhz must be a positive finite number, not 0"),
        (lambda: Dpu(options="high"), "options must be dpu.Options, not 'high'"),
        (lambda: dpu.structure("B512", 3), "options must be dpu.Options, not 3"),
        (lambda: Options(ram_usage="middle"), "ram_usage must be one of low, high, not 'middle'"),
        (lambda: Options(dsp_usage=True), "dsp_usage must be one of low, high, not True"),
        (lambda: Options(softmax=1), "softmax must be True or False, not 1"),
        (lambda: dpu.architectures(depthwise=None), "depthwise must be True or False, not None"),
        (lambda: dpu_speed.cycles("conv"), "layers must be one or more hardware.Layer"),
        (lambda: dpu_speed.cycles(STEM, pixels="all"), "pixels must be one of image, row, not"),
        (lambda: dpu_speed.cycles(Layer("a", 4, 4, 9, 8)), "a must have at most 8 bits on a DPU"),
        (lambda: dpu_speed.cycles(Layer("a", 4, 4, 8, 16)), "not 8 for weights and 16 for inputs"),
        (lambda: dpu_speed.by_layer([], Dpu()), "layers must be one or more hardware.Layer"),
        (lambda: dpu_speed.by_layer([STEM], "B4096"), "on must be a dpu.Dpu, not 'B4096'"),
        (
            lambda: dpu_speed.by_layer([STEM, LARGE], Dpu(options=Options(softmax=True))),
            "softmax must have at most 1023 labels, and large has 1024: leave it to software",
        ),
        (
            lambda: dpu_speed.performance([STEM], Dpu(), memory="all"),
            "memory must be one of none, overlapped, in turn, not 'all'",
        ),
    ],
)
def test_what_cannot_be(ask, said):
    assert said in refused(ask)


def test_what_is_not_refused():
    assert len(dpu_speed.by_layer([STEM, LARGE], Dpu())) == 2, "no softmax, no limit"
    assert Dpu("B512", 1, device="ZU5EV", clock_mhz=200).device == device("ZU5EV")
