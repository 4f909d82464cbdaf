"""Joules: RAPL from a folder of the test's own, its wrap, who may read it; stated power; labels.

And what the machine says of itself.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtimes_toy import refused

from qbench.runtimes import energy, machine

RANGE = 262_143_328_850  # µJ, as a real package has it


def powercap(folder, packages=(1_000_000,)):
    """A tree as Linux has it: packages with a core domain inside, and a platform domain."""
    for number, energy_uj in enumerate(packages):
        for name, domain in ((f"package-{number}", f"intel-rapl:{number}"),
                             ("core", f"intel-rapl:{number}:0")):  # fmt: skip
            place = folder / domain
            place.mkdir(parents=True, exist_ok=True)
            (place / "name").write_text(f"{name}\n")
            (place / "energy_uj").write_text(f"{energy_uj}\n")
            (place / "max_energy_range_uj").write_text(f"{RANGE}\n")
    return folder


def test_rapl_counts_all_packages_and_not_what_is_inside_them(tmp_path):
    meter = energy.meter("cpu", watts=95, powercap=powercap(tmp_path, (1_000_000, 5_000_000)))
    assert meter.how == "RAPL" and "2 packages" in meter.note
    before = meter.read()
    powercap(tmp_path, (4_000_000, 5_500_000))
    assert meter.joules(before, seconds=100) == pytest.approx(3.5)


def test_a_counter_that_began_again(tmp_path):
    meter = energy.meter("cpu", powercap=powercap(tmp_path, (RANGE - 1_000_000,)))
    before = meter.read()
    powercap(tmp_path, (2_000_000,))
    assert meter.joules(before, seconds=1) == pytest.approx(3.0, abs=1e-5)


@given(watts=st.floats(0.1, 1e4), seconds=st.floats(0, 1e4))
def test_without_a_counter_it_is_power_times_time_and_says_so(tmp_path_factory, watts, seconds):
    none = tmp_path_factory.getbasetemp() / "none"
    meter = energy.meter("cpu", watts=watts, powercap=none)
    assert meter.how == "power × time" and "not measured" in meter.note
    assert f"{watts:g} W" in meter.note
    assert meter.joules(meter.read(), seconds) == pytest.approx(watts * seconds)


def test_with_neither_there_is_no_energy_and_a_way_to_get_it(tmp_path):
    meter = energy.meter("cpu", powercap=tmp_path)
    assert meter.how == "none" and "intel_rapl_msr" in meter.note
    assert math.isnan(meter.joules(meter.read(), 1.0))


def test_rapl_that_only_root_may_read(tmp_path, monkeypatch):
    place = powercap(tmp_path) / "intel-rapl:0" / "energy_uj"
    read = type(place).read_text

    def denied(self, *how, **more):
        if self == place:
            raise PermissionError(13, "Permission denied")
        return read(self, *how, **more)

    monkeypatch.setattr(type(place), "read_text", denied)
    assert "chmod a+r" in energy.meter("cpu", powercap=tmp_path).note
    stated = energy.meter("cpu", watts=10, powercap=tmp_path)
    assert stated.how == "power × time" and "chmod a+r" in stated.note


@pytest.mark.parametrize("content", ["", "many\n"])
def test_a_counter_that_is_no_number(tmp_path, content):
    (powercap(tmp_path) / "intel-rapl:0" / "energy_uj").write_text(content)
    assert energy.meter("cpu", powercap=tmp_path).how == "none"


def test_nvml_is_used_where_it_can_be_imported(monkeypatch):
    class Nvml:
        class NVMLError(Exception):
            pass

        millijoules = 5_000
        nvmlInit = staticmethod(lambda: None)
        nvmlDeviceGetHandleByIndex = staticmethod(lambda number: number)
        nvmlDeviceGetTotalEnergyConsumption = classmethod(lambda cls, gpu: cls.millijoules)

    monkeypatch.setitem(__import__("sys").modules, "pynvml", Nvml)
    meter = energy.meter("cuda", watts=175)
    before = meter.read()
    Nvml.millijoules = 7_500
    assert meter.how == "NVML" and meter.joules(before, 1.0) == pytest.approx(2.5)


def test_without_nvml_it_says_what_brings_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert "pip install nvidia-ml-py" in energy.meter("cuda").note


@pytest.mark.parametrize("watts", [0, -1, math.inf, math.nan])
def test_watts_that_are_refused(watts):
    assert refused(lambda: energy.meter("cpu", watts=watts)).startswith("watts must be")


# The machine


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16\n", ("AVX2", "AVX-512", "VNNI", "AVX512-BF16")),  # noqa: E501
        ("flags : avx2 avx_vnni\nflags : avx2 avx_vnni\n", ("AVX2", "VNNI")),
        ("Features\t: fp asimd asimddp i8mm\n", ("NEON", "dot product", "I8MM")),
        ("model name : avx2\nbugs : amx_int8\n", ()),
        ("", ()),
    ],
)  # fmt: skip
def test_instructions(cpuinfo, found):
    assert machine.found_in(cpuinfo) == found


def test_the_fingerprint_is_plain_and_the_same_twice():
    import json

    one = machine.fingerprint()
    assert json.loads(json.dumps(one)) == one == machine.fingerprint()
    assert {"torch", "onnxruntime", "openvino"} <= one["versions"].keys()
    assert machine.described(one).startswith(f"{one['processor']}, {one['cores']} cores")


def test_the_clock_of_linux(tmp_path, monkeypatch):
    for number, khz in enumerate((2_000_000, 3_000_000)):
        place = tmp_path / f"cpu{number}" / "cpufreq"
        place.mkdir(parents=True)
        (place / "scaling_cur_freq").write_text(f"{khz}\n")
        (place / "scaling_governor").write_text("performance\n")
    monkeypatch.setattr(machine, "SYSTEM", tmp_path)
    assert (machine.frequency_mhz(), machine.governor()) == (2500, "performance")
    monkeypatch.setattr(machine, "SYSTEM", tmp_path / "none")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    assert (machine.frequency_mhz(), machine.governor()) == (None, "")
