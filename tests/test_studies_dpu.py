"""The DPU by model beside Vailakis 2022: the DenseNets' cycles, tables, what stays open, claims."""

import math

import pytest
import torch

from qbench.hardware import HardwareError, dpu_speed
from qbench.hardware.dpu import Dpu, Options
from qbench.models import densenet
from qbench.runtimes import cost
from qbench.studies import dpu as study

MEASURED = {"DenseNet-21": (3674.32, 0.69), "DenseNet-37": (2250.92, 1.11)}
MEASURED["DenseNet-63"] = (1317.68, 1.78)


def convolutions(blocks):
    """(inputs, outputs, kernel, side of the image) of a DenseNet of growth 32, written out."""
    yield 3, 64, 3, 32
    width, side = 64, 32
    for block, count in enumerate(blocks):
        if block:
            yield width, width // 2, 1, side
            width, side = width // 2, side // 2
        for _ in range(count):
            yield width, 128, 1, side
            yield 128, 32, 3, side
            width += 32
    yield width, 100, 1, 1


def by_hand(blocks, *, rows: bool) -> int:
    total = 0
    for inputs, outputs, kernel, side in convolutions(blocks):
        steps = side * math.ceil(side / 8) if rows else math.ceil(side * side / 8)
        total += steps * kernel**2 * math.ceil(inputs / 16) * math.ceil(outputs / 16)
    return total


@pytest.mark.parametrize("network", study.NETWORKS)
def test_the_cycles_of_every_densenet(network):
    blocks = densenet.BLOCKS[network.replace("-", "").lower()]
    layers = study.layers(network)
    assert len(layers) == int(network.split("-")[1])
    plain = Dpu("B4096", 3, Options(channel_augmentation=False))
    for pixels in ("image", "row"):
        found = dpu_speed.performance(layers, plain, pixels=pixels)
        assert found.cycles == by_hand(blocks, rows=pixels == "row")
        # augmentation helps the stem alone, whose 27 products are two steps instead of nine
        augmented = dpu_speed.performance(layers, study.thesis(), pixels=pixels)
        assert found.cycles - augmented.cycles == 128 * 7 * 4


def test_the_layers_are_those_that_torch_runs():
    model = densenet.densenet(densenet.BLOCKS["densenet21"], 100, form="modified")
    speed = study.speeds(networks=["DenseNet-21"]).iloc[0]
    assert speed["macs"] == cost.macs(model, torch.zeros(1, 3, 32, 32)) == 88_850_096


def test_the_measured_figures():
    table = study.measured()
    assert len(table) == 12
    values = table.set_index(["network", "quantity", "operating_point"])["value"]
    for network, (throughput, latency) in MEASURED.items():
        assert values[network, "throughput", "best_throughput"] == throughput
        assert values[network, "latency", "best_latency"] == latency
        energy = values[network, "energy_per_image", "best_throughput"]
        assert energy == pytest.approx(1e3 * study.power() / throughput, abs=0.01), "equation 7.4"


@pytest.mark.parametrize("memory", dpu_speed.MEMORY)
def test_the_model_is_a_bound_of_what_was_measured(memory):
    """Faster than measured in every figure, whatever moves through the ports."""
    table = study.compared(memory=memory)
    assert len(table) == 12 and set(table["verdict"]) == {"differs"} and table["why"].all()
    faster = table["quantity"] == "throughput"
    assert ((table["ours"] > table["published"]) == faster).all()
    assert ((table["error"] > 0) == faster).all()


def test_the_figures_are_those_of_the_formulas():
    table = study.compared().set_index(["network", "operating_point", "quantity"])["ours"]
    cycles = by_hand(densenet.BLOCKS["densenet21"], rows=False) - 128 * 7 * 4
    row = table["DenseNet-21"]
    assert row["best_latency", "latency"] == pytest.approx(cycles / 300e3)
    assert row["best_throughput", "throughput"] == pytest.approx(3 * 300e6 / cycles)
    assert row["best_latency", "energy_per_image"] == pytest.approx(22.8 * cycles / 300e3)
    assert row["best_throughput", "energy_per_image"] == pytest.approx(22.8 * cycles / 900e3)


def test_what_stays_open():
    table = study.unexplained().set_index("network")
    for network, (throughput, latency) in MEASURED.items():
        row = table.loc[network]
        assert row["multipliers_ms"] + row["left_ms"] == pytest.approx(latency)
        assert row["left_with_ports_ms"] + row["ports_ms"] == pytest.approx(row["left_ms"])
        assert row["left_share"] == pytest.approx(100 * row["left_ms"] / latency)
        assert row["busy_cores"] == pytest.approx(throughput * latency / 1e3)
    assert table["left_share"].between(65, 80).all() and table["left_share"].is_monotonic_decreasing
    assert (table["left_with_ports_ms"] > 0.4).all()
    assert (table["busy_cores"] < 3).all(), "even by its own latency, the third core is not full"


def test_the_larger_peak_is_not_the_faster_one():
    """Four B3136 have 2 % more multipliers than three B4096, but 14 does not divide 32."""
    many, few = Dpu("B3136", 4), study.thesis()
    assert many.peak_tops > few.peak_tops
    ours, theirs = (study.speeds(on)["images_per_second"] for on in (many, few))
    assert (ours < 0.9 * theirs).all()


def test_the_entries_that_follow_from_the_parallelism():
    table = study.resources()
    assert table.groupby("where").size().to_dict() == {
        "Table 6.4": 24,
        "Table 6.5": 16,
        "Table 6.7": 16,
        "Table 6.9": 8,
    }
    odd = table[table["verdict"] != "exact"].set_index("verdict")
    assert sorted(odd.index) == ["differs", "erratum"]
    assert odd.loc["erratum", ["architecture", "published", "ours"]].tolist() == ["B512", 510, 512]
    assert "512" in odd.loc["erratum", "why"]
    assert odd.loc["differs", ["architecture", "published", "ours"]].tolist() == [
        "B4096",
        317.5,
        317,
    ]


def test_the_utilisation_of_table_6_10():
    table = study.utilisation().set_index("quantity")
    assert set(table["verdict"]) == {"matches"}
    assert table["ours"].round(2).to_dict() == {"lut": 58.6, "bram": 84.54, "dsp": 66.9}
    assert (table["with_softmax"] > table["published"] + 0.4).all(), "softmax is not in it"


def test_the_claims():
    table = study.claims()
    assert table["verdict"].tolist() == ["exact", "differs", "needs hardware"]
    assert "998 of 912" in table["ours"].iloc[1]
    assert set(table.columns) >= {"where", "claim", "ours", "verdict", "why"}


def test_a_network_that_is_not_there():
    with pytest.raises(HardwareError) as caught:
        study.layers("DenseNet-22")
    assert str(caught.value) == (
        "network must be one of DenseNet-21, DenseNet-37, DenseNet-63, DenseNet-121, "
        "DenseNet-201, not 'DenseNet-22'."
    )
