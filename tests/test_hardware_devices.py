"""FPGAs: what the files say, that the publications say the same, and how much a design takes."""

import math

import numpy as np
import pytest
import yaml

from qbench import reference
from qbench.hardware import Cost, Device, HardwareError, device, devices, fit

NAMES = ["Z7020", "ZU3EG", "ZU5EV", "ZU7EV", "ZU9EG", "VU3P", "KU115"]


def printed(source, table, **where):
    """The one value of a published table in the row whose columns are as `where` says."""
    rows = reference.load(source, table)
    for column, value in where.items():
        rows = rows[rows[column] == value]
    (value,) = rows["value"]
    return float(value)


def test_there_are_these_devices():
    assert devices.names() == NAMES, "smallest first"
    for name in NAMES:
        one = device(name)
        assert one.ff == 2 * one.lut, "two flip-flops a look-up table in all of these families"
        assert one.part in ("XC7Z020", f"XC{name}") and "data sheet DS" in one.sources["resources"]


def test_the_publications_say_the_same():
    claims = reference.claims("ducasse2021").set_index("claim")["value"]
    z7020 = device("Pynq-Z1")
    assert z7020.ff == claims["fpga_flip_flops"]
    assert z7020.lut == 4 * claims["fpga_slices"]
    assert z7020.bram18 * 18 / 8 == claims["fpga_bram_size"]
    power = reference.claims("stewart2021").set_index("claim")["value"]["fpga_board_power"]
    assert z7020.power_w == power

    zu3 = device("ZU3")
    found = reference.load("faraone2021", "table_5_7")
    found = found[(found["device"] == "ZU3") & (found["granularity"] == "available")]
    found = found.set_index("quantity")["value"].astype(float)
    assert (zu3.bram18, zu3.dsp) == (found["bram"], found["dsp"])
    assert zu3.lut / 1000 == pytest.approx(found["lut"], abs=0.05)

    ku115, where = device("ADM-PCIE-8K5"), ("faraone2021", "figure_6_7")
    assert ku115.bram18 == 2 * printed(*where, quantity="bram_available")
    assert ku115.dsp == printed(*where, quantity="dsp_available")
    assert ku115.lut == pytest.approx(printed(*where, quantity="lut_available"), abs=500)

    zu9, where = device("ZCU102"), ("vailakis2022", "table_4_3")
    assert zu9.ff == printed(*where, quantity="clb_flip_flops")
    assert zu9.dsp == printed(*where, quantity="dsp_slices")
    assert zu9.power_w == printed(*where, quantity="power_consumption")
    megabits = zu9.bram18 * 18 / 1024
    assert megabits == pytest.approx(printed(*where, quantity="total_block_ram"), abs=0.05)


@pytest.mark.parametrize(
    "name", ["Z7020", "z7020", "XC7Z020", "Zynq Z-7020", "pynq-z2", "PYNQ Z1", "zynq_z7020"]
)
def test_one_device_by_many_names(name):
    assert device(name) is device("Z7020") and device(device(name)) is device(name)


def test_no_name_means_two_devices():
    plain = [
        {devices._plain(alias) for alias in (one.name, one.part, *one.aliases)}
        for one in map(device, NAMES)
    ]
    assert len(set().union(*plain)) == sum(map(len, plain))


@pytest.mark.parametrize("name", ["Z7021", "", "zcu1020", 7020, None])
def test_an_unknown_device(name):
    with pytest.raises(HardwareError) as caught:
        device(name)
    said = str(caught.value)
    assert said.startswith(f"unknown device {name!r}") and "\n" not in said
    assert said.endswith(f": the names are {', '.join(NAMES)}.")


GOOD = {"name": "A", "part": "XA", "lut": 1, "ff": 2, "bram18": 3, "dsp": 4}
GOOD |= {"sources": {"resources": "here"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lut": 0}, "lut: Input should be greater than 0"),
        ({"ff": 2.5}, "ff: Input should be a valid integer"),
        ({"dsp": "4"}, "dsp: Input should be a valid integer"),
        ({"uram": 5}, "uram: Extra inputs are not permitted"),
        ({"sources": {}}, "sources must be given for resources"),
        ({"clock_mhz": 100}, "sources must be given for resources, clock_mhz"),
        ({"power_w": -1, "sources": {"resources": "x", "power_w": "x"}}, "power_w: Input"),
    ],
)
def test_a_file_that_does_not_say_what_it_must(tmp_path, monkeypatch, change, said):
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    with pytest.raises(HardwareError, match="has no devices"):
        devices._devices.__wrapped__()
    (tmp_path / "a.yml").write_text(yaml.safe_dump(GOOD))
    assert devices._devices.__wrapped__() == {"A": Device(**GOOD)}
    (tmp_path / "a.yml").write_text(yaml.safe_dump(GOOD | change))
    with pytest.raises(HardwareError) as caught:
        devices._devices.__wrapped__()
    assert "a.yml" in str(caught.value) and said in str(caught.value)


# How much a design takes


def test_shares_and_what_runs_out_first():
    found = fit(Cost(lut=26600, ff=math.nan, bram18=210, dsp=220, cycles=1), "Z7020")
    assert found.shares == pytest.approx(
        {"lut": 0.5, "ff": math.nan, "bram18": 0.75, "dsp": 1.0}, nan_ok=True
    )
    assert found.fits is True and found.first == "dsp"
    assert str(found) == "50% of the LUTs, 75% of the BRAM18, 100% of the DSPs of the Z7020"
    over = fit(Cost(1, 106401, 0, 0, 1), "Z7020")
    assert over.fits is False and over.first == "ff"


def test_shares_of_many_designs():
    found = fit(
        Cost(np.array([53200, 53201]), math.nan, np.array([281, 0]), np.array([0, 0]), 1), "Z7020"
    )
    assert found.fits.tolist() == [False, False]
    assert found.first.tolist() == ["bram18", "lut"]
    assert found.shares["lut"].tolist() == [1.0, 53201 / 53200]
