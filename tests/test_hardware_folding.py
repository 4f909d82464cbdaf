"""Foldings: the published throughputs, and what follows from one."""

import math

import pytest

from qbench import reference
from qbench.hardware import (
    MEASURED_OVERHEAD,
    Fold,
    Folding,
    HardwareError,
    Layer,
    Window,
    conv_layer,
    fit,
    mlp,
    performance,
    uniform,
)

TFC = mlp(weight_bits=3, act_bits=3)


def published(table, entries):
    rows = reference.load("ducasse2021", table).dropna(subset="value").to_dict("records")
    assert len(rows) == entries
    return rows


@pytest.mark.parametrize(
    "row",
    [*published("table_2", 16), *published("table_3", 8)],
    ids=lambda r: f"{r['where']} W{r['weight_bits']} {r['pe']}x{r['simd']} {r['quantity']}",
)
def test_every_published_throughput_and_bandwidth(row):
    """Ducasse et al. 2021, Tables II and III, within 0.1 %: the bandwidth in MB/s, see errata."""
    layers = mlp(weight_bits=row["weight_bits"], act_bits=row["act_bits"])
    found = performance(uniform(layers, row["pe"], row["simd"]), overhead_cycles=MEASURED_OVERHEAD)
    ours = {"throughput": found.frame_rate, "dram_bandwidth": found.input_bandwidth / 1e6}
    assert ours[row["quantity"]] == pytest.approx(row["value"], rel=0.001)
    assert found.initiation_interval == 1024 * 64 // (row["pe"] * row["simd"]) + 12
    assert found.bottleneck == "linear1"


def test_the_published_fit_needs_the_thresholds():
    """W4A4 with PE = SIMD = 16 is too large for the Z7020, W3A3 is not (Section III-C)."""

    def fits(bits, thresholds):
        layers = mlp(weight_bits=bits, act_bits=bits)
        folding = uniform(layers, 16, 16, threshold_storage=thresholds)
        return fit(folding.cost, "Z7020").fits

    assert [fits(bits, "lut") for bits in (2, 3, 4)] == [True, True, False]
    assert [fits(bits, "none") for bits in (2, 3, 4)] == [True, True, True]


def test_a_layer_gets_the_largest_divisor_where_the_same_does_not_divide():
    folding = uniform(TFC, 8, 48)
    assert folding.folds == (*[Fold(8, 32)] * 3, Fold(5, 32))
    assert uniform(TFC, 1000, 5000).folds == (Fold(64, 1024), *[Fold(64, 64)] * 2, Fold(10, 64))
    assert uniform(TFC, 1, 1, weight_storage="lut").folds[0] == Fold(1, 1, "lut")


def test_costs_of_a_network():
    folding = uniform(TFC, 8, 8, threshold_storage="lut")
    for layer, fold, cost in zip(TFC, folding.folds, folding.costs, strict=True):
        alone = layer.cost(fold.pe, fold.simd, threshold_storage="lut")
        assert (cost.lut, cost.bram18) == (alone.lut, alone.bram18)
    total = folding.cost
    assert total.lut == sum(cost.lut for cost in folding.costs)
    assert total.bram18 == sum(cost.bram18 for cost in folding.costs)
    assert total.ff == sum(cost.ff for cost in folding.costs)
    assert total.cycles == 1024
    table = folding.table()
    assert table["name"].tolist() == ["linear1", "linear2", "linear3", "linear4"]
    assert table["lut"].sum() == total.lut and table["cycles"].max() == total.cycles
    assert table["pe"].tolist() == [8, 8, 8, 5]


def test_speed_by_hand():
    """Layers of 1024, 64, 64 and 16 cycles at 200 MHz."""
    found = performance(uniform(TFC, 8, 8), clock=200e6, overhead_cycles=10)
    assert found.initiation_interval == 1034 and found.frame_rate == 200e6 / 1034
    assert found.latency == pytest.approx((1024 + 64 + 64 + 2 * 8 + 10) / 200e6)
    assert found.input_bandwidth == pytest.approx(200e6 / 1034 * 1024)
    ideal = performance(uniform(TFC, 8, 8))
    assert ideal.frame_rate == 100e6 / 1024


def test_speed_of_a_convolutional_network():
    window = Window(3, 8, 3, padding=1)
    layers = (
        conv_layer("conv", window, 4, 2, 4, out_bits=2, signed_input=False),
        Layer("dense", 256, 10, 2, 2),
    )
    folding = Folding(layers, (Fold(2, 3), Fold(10, 256)))
    found = performance(folding)
    cycles = 64 * (4 // 2) * (27 // 3)  # a vector a pixel
    assert found.initiation_interval == cycles and found.bottleneck == "conv"
    assert found.input_bandwidth == pytest.approx(100e6 / cycles * 3 * 8 * 8 * 4 / 8)
    fed = Folding(layers, (Fold(4, 27), Fold(10, 256)))  # three channels a cycle, no more
    assert performance(fed).initiation_interval == 3 * 10 + 8 * (8 * 9)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Folding((), ()), "layers must be one or more hardware.Layer, as mlp and "),
        (lambda: Folding([3], [Fold(1, 1)]), "layers must be one or more hardware.Layer, as mlp "),
        (lambda: Folding(TFC, [Fold(1, 1)]), "folds must be one for each of the 4 layers, not 1."),
        (
            lambda: Folding(TFC, [Fold(1, 1)] * 3 + [Fold(4, 1)]),
            "pe of linear4 must divide its mh, and 4 does not divide 10.",
        ),
        (
            lambda: Folding(TFC, [Fold(1, 1), Fold(1, 24)] + [Fold(1, 1)] * 2),
            "simd of linear2 must divide its mw, and 24 does not divide 64.",
        ),
        (
            lambda: Folding(TFC, [Fold(0, 1)] * 4),
            "pe of linear1 must be a whole number of at least 1, not 0.",
        ),
        (
            lambda: Folding(TFC, [Fold(1, 1, "dram")] * 4),
            "weight_storage of linear1 must be one of bram, lut, not 'dram'.",
        ),
        (
            lambda: uniform(TFC, 1, 1, threshold_storage="all"),
            "threshold_storage must be one of none, lut, bram, not 'all'.",
        ),
        (lambda: uniform(TFC, 0, 1), "pe must be a whole number of at least 1, not 0."),
        (lambda: uniform(TFC, 1, 1.5), "simd must be a whole number of at least 1, not 1.5."),
        (
            lambda: performance(uniform(TFC, 1, 1), clock=0),
            "clock must be a positive finite number, not 0.",
        ),
        (
            lambda: performance(uniform(TFC, 1, 1), clock=math.nan),
            "clock must be a positive finite number, not nan.",
        ),
        (
            lambda: performance(uniform(TFC, 1, 1), overhead_cycles=-1),
            "overhead_cycles must be a whole number of at least 0, not -1.",
        ),
    ],
)
def test_what_cannot_be(build, said):
    with pytest.raises(HardwareError) as caught:
        build()
    assert str(caught.value).startswith(said) and str(caught.value).endswith(".")
