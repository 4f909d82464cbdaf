"""The DPUCZDX8G: its published tables, cores that fit an FPGA; what is refused."""

from dataclasses import replace
from functools import cache

import pytest

from qbench import reference
from qbench.hardware import HardwareError, device, dpu, fit
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


def test_as_many_cores_fit_if_table_6_4_is_without_the_options_we_take_to_be_in_it():
    for name in NAMES:
        least = dpu.resources(name)
        bare = dpu.resources(name, 1, replace(BARE, depthwise=True))
        assert least.lut < 2 * least.lut - bare.lut + 706 < 1.25 * least.lut
        most = replace(least, lut=2 * least.lut - bare.lut + 706)
        fits = [fit(most * cores, "ZCU102").fits for cores in range(1, 5)]
        assert sum(fits) == dpu.most_cores(name)
    assert most.lut < 1.11 * least.lut, "a tenth of a B4096"


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


# What is refused


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
    ],
)
def test_what_cannot_be(ask, said):
    assert said in refused(ask)


def test_an_fpga_without_a_clock_can_be_given_one():
    assert Dpu("B512", 1, device="ZU5EV", clock_mhz=200).device == device("ZU5EV")
