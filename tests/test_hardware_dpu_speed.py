"""How fast layers and networks are on a DPUCZDX8G; what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from qbench.hardware import HardwareError, Layer, Window, conv_layer, dpu, dpu_speed, layers_of
from qbench.hardware.dpu import Architecture, Dpu, Options

NAMES = dpu.names()


def refused(ask) -> str:
    with pytest.raises(HardwareError) as caught:
        ask()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


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


def test_many_labels_are_no_matter_without_softmax():
    assert len(dpu_speed.by_layer([STEM, LARGE], Dpu())) == 2
