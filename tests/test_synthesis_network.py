"""From a trained network to whole numbers and Verilog: the classes are those of PyTorch."""

from dataclasses import replace

import brevitas.nn as qnn
import numpy as np
import pytest
import store_toy
import sweep_toy
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from qbench import data, store
from qbench.hardware.synthesis import (
    Layer,
    SynthesisError,
    Unit,
    check,
    compute,
    lower,
    network,
    simulation,
    yosys,
)
from qbench.hardware.synthesis.lower import Dense, lower_layer, thresholds
from qbench.models.tfc import quant_tfc
from qbench.quantizers.brevitas_layers import hard_tanh, linear, pixels
from qbench.studies import rtl
from qbench.sweep import Member, to_brevitas, train
from qbench.sweep.network import Network

home = pytest.fixture(sweep_toy.home)
installed = pytest.mark.skipif(not yosys.available(), reason="needs Yosys")


def refused(ask) -> str:
    """The `SynthesisError` of `ask()`: one sentence on one line."""
    with pytest.raises(SynthesisError) as caught:
        ask()
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".") and not said.endswith("..")
    return said


# Thresholds


def rounded(sums: np.ndarray, gain: np.ndarray, offset: np.ndarray, bits: int) -> np.ndarray:
    """What a quantiser of `bits` bits makes of gain·sum + offset, (n, mh), without thresholds."""
    value = gain * sums + offset
    if bits == 1:
        return np.where(value >= 0, 1, -1)
    return np.clip(np.rint(value), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(int)


@given(
    st.integers(1, 8),
    st.lists(
        st.floats(0, 1e6) | st.sampled_from([0.0, 0.25, 0.5, 1.0, 1e-9]), min_size=3, max_size=3
    ),
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([-1.5, 0.0, 0.5, 2.5]), min_size=3, max_size=3),
)
def test_counting_thresholds_is_rounding(bits, gain, offset):
    """On every sum that there can be, ties between two codes included."""
    unit = Unit(3, 3, 1, 1, 4, 3, bits)
    found = thresholds(unit, gain, offset)
    sums = np.arange(unit.sum_range[0], unit.sum_range[1] + 1)[:, None]
    counts = (sums[..., None] >= found).sum(-1)
    codes = 2 * counts - 1 if bits == 1 else counts - 2 ** (bits - 1)
    assert np.array_equal(codes, rounded(sums, np.array(gain), np.array(offset), bits))
    assert np.array_equal(np.sort(found, axis=1), found)


@given(
    st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.booleans(), st.integers(0, 2**32)
)
def test_a_layer_of_any_gain(weight_bits, act_bits, out_bits, signed, seed):
    rng = np.random.default_rng(seed)
    most = max(2 ** (weight_bits - 1) - 1, 1)
    codes = rng.integers(-most, most, (5, 6), endpoint=True)
    codes = np.where(codes < 0, -1, 1) if weight_bits == 1 else codes
    gain, offset = rng.normal(0, 0.5, 5), rng.normal(0, 3, 5)
    gain[0] = 0
    dense = Dense(codes, gain, offset, weight_bits, act_bits, signed, out_bits)
    layer = lower_layer(dense, 1, 2)
    acts = rng.integers(*layer.unit.act_range, (20, 6), endpoint=True)
    acts = np.where(acts < 0, -1, 1) if act_bits == 1 and signed else acts
    found = compute(layer.unit, layer.weights, layer.thresholds, acts)
    assert np.array_equal(found, rounded(acts @ codes.T, gain, offset, out_bits))
    sums = lower_layer(replace(dense, out_bits=None), 1, 2)
    assert np.array_equal(network(sums, acts), acts @ codes.T), "for the host, as they are"


ONE = Dense(np.array([[1, -2], [1, 1]]), np.ones(2), np.zeros(2), 2, 2, True, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gain": np.array([1, np.nan])}, "gain must be finite, and one is not."),
        ({"offset": np.array([np.inf, 1])}, "offset must be finite, and one is not."),
        (
            {"gain": np.array([-1, 1])},
            "row 0 must not hold the weight -2, since its gain is negative and its weights must "
            "change their sign.",
        ),
        ({"weight_bits": 9}, "weight_bits must be a whole number from 1 to 8, not 9."),
        ({"weight_bits": 1}, "weights must be -1 or 1, and one is -2."),
    ],
)
def test_layers_that_cannot_be_lowered(change, said):
    assert refused(lambda: lower_layer(replace(ONE, **change), 1, 1)) == said


@pytest.mark.parametrize("gain", [[-1, 1], [np.nan, 1], [np.inf, 1]])
def test_thresholds_need_a_rising_line(gain):
    said = refused(lambda: thresholds(Unit(2, 2, 1, 1, 2, 2, 2), gain, [0, 0]))
    assert said == "gain must be at least 0, and gain and offset finite."


# Networks


def codes_of(model: nn.Sequential, images: torch.Tensor) -> list[np.ndarray]:
    """What PyTorch computes, layer by layer: codes of the hidden ones, then the logits."""
    found, x = [], images
    with torch.no_grad():
        for name, part in model.named_children():
            x = part(x)
            if name.startswith("act"):
                found.append(np.rint((x / part.act_quant.scale()).numpy()).astype(int))
    return [*found, x.numpy()]


def same_as_pytorch(model: nn.Sequential, images: torch.Tensor, **folding: int) -> None:
    """Every code of every layer equal, and the logits up to the rounding of float64."""
    model, lowered = model.double(), lower(model.double(), **folding)
    values = lowered.codes(images.numpy())
    *hidden, logits = codes_of(model, images.double())
    for layer, expected in zip(lowered.layers, hidden, strict=False):
        values = network(layer, values)
        assert np.array_equal(values, expected)
    sums = network(lowered.layers[-1], values)
    np.testing.assert_allclose(lowered.logits(sums), logits, rtol=0, atol=1e-9)
    assert np.array_equal(lowered.classes(sums), logits.argmax(1))


@pytest.mark.parametrize(
    ("weight_bits", "act_bits"), [(1, 1), (1, 4), (2, 1), (2, 2), (3, 3), (4, 8), (8, 4), (8, 8)]
)
def test_whatever_has_been_learnt(weight_bits, act_bits):
    """Scales and gains of either sign, any averages; sizes that no power of two divides."""
    group = Network([Member(weight_bits, act_bits)], inputs=21, classes=5, hidden=9)
    numbers = torch.Generator().manual_seed(weight_bits * 100 + act_bits)
    scales = group.sigma if act_bits > 1 else []  # the others' stay 1
    for tensor in (*group.gamma, *group.beta, *group.running_mean, *scales):
        tensor.copy_(torch.randn(tensor.shape, generator=numbers))
    for tensor in group.running_var:
        tensor.copy_(torch.rand(tensor.shape, generator=numbers) + 0.1)
    images = torch.randint(0, 256, (200, 21), generator=numbers) / 255
    same_as_pytorch(to_brevitas(group, 0), images, pe=4, simd=8)


def test_foldings_are_the_largest_that_fit():
    model = quant_tfc(weight_bits=3, act_bits=3).eval()
    lowered = lower(model)
    folds = [(layer.unit.pe, layer.unit.simd, layer.unit.cycles) for layer in lowered.layers]
    assert folds == [(8, 8, 1024), (8, 8, 64), (8, 8, 64), (5, 8, 16)]
    bits = [
        (layer.unit.weight_bits, layer.unit.act_bits, layer.unit.out_bits)
        for layer in lowered.layers
    ]
    assert bits == [(3, 8, 3), (3, 3, 3), (3, 3, 3), (3, 3, None)]
    assert [layer.unit.act_signed for layer in lowered.layers] == [False, True, True, True]
    assert lowered.step == pytest.approx(1 / 255)
    levels = np.arange(256) / 255
    assert np.array_equal(lowered.codes(levels[:, None])[:, 0], np.arange(256))
    wide = lower(model, pe=64, simd=100, weights_in="distributed").layers
    assert [(one.unit.pe, one.unit.simd) for one in wide] == [
        (64, 64),
        (64, 64),
        (64, 64),
        (10, 64),
    ]
    assert {one.unit.weights_in for one in wide} == {"distributed"}


def small(**change) -> nn.Sequential:
    """A network of two layers in evaluation mode, with parts in other places."""
    parts = {"input": pixels(), "linear1": linear(6, 4, 2), "norm1": nn.BatchNorm1d(4)}
    parts |= {"act1": hard_tanh(2), "linear2": linear(4, 3, 2), "norm2": nn.BatchNorm1d(3)}
    model = nn.Sequential()
    for name, part in (parts | change).items():
        if part is not None:
            model.add_module(name, part)
    return model.eval()


FLOAT = "must be quantised, and are float32."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input": None}, f"inputs of linear1 {FLOAT}"),
        ({"input": nn.Identity()}, f"inputs of linear1 {FLOAT}"),
        (
            {"act1": nn.Hardtanh()},
            "act1 must be a layer that units can take over, and is Hardtanh.",
        ),
        ({"act1": None}, f"inputs of linear2 {FLOAT}"),
        ({"linear2": nn.Linear(4, 3, bias=False)}, f"weights of linear2 {FLOAT}"),
        (
            {"linear1": qnn.QuantLinear(6, 4, bias=True, weight_bit_width=2)},
            "linear1 must have no bias: batch norm makes up for it.",
        ),
        (
            {"act1": qnn.QuantReLU(bit_width=2)},
            "act1 must be a layer that units can take over, and is QuantReLU.",
        ),
        (
            {"act1": pixels()},
            "outputs of act1 must be signed, and are not.",
        ),
        (
            {"input": nn.Sequential()},
            "input must be a layer that units can take over, and is Sequential.",
        ),
        ({"norm2": hard_tanh(2)}, "the model must end in a fully connected layer and batch norm."),
        (
            {"extra": hard_tanh(2), "last": hard_tanh(2)},
            "last must follow a fully connected layer.",
        ),
    ],
)
def test_models_that_cannot_be_lowered(change, said):
    assert refused(lambda: lower(small(**change))) == said


def test_what_is_no_model():
    assert refused(lambda: lower(small().train())).startswith(
        "the model must be in evaluation mode"
    )
    said = "the model must be an nn.Sequential of Brevitas layers, not Hardtanh."
    assert refused(lambda: lower(nn.Hardtanh())) == said
    assert refused(lambda: lower(small(), pe=0)) == (
        "pe must be a whole number of at least 1, not 0."
    )
    assert lower(small(norm2=None)).gain.shape == (3,), "no batch norm: scales only"
    assert isinstance(lower(small()).layers[0], Layer)


# As Verilog


@installed
def test_a_trained_network_in_verilog_gives_the_classes_of_pytorch():
    """1,024 pixels, trained on real digits; simulated where every machine can."""
    digits, member = data.load("mnist5k", size=32, flatten=True, subset=2000), Member(3, 3)
    outcome = train([member], digits, epochs=1, hidden=8)
    model = to_brevitas(*outcome.network(member))
    images, few = digits.test.images, 3
    lowered = lower(model, pe=2, simd=16)
    with torch.no_grad():
        expected = model(images).argmax(1).numpy()
    assert len(set(expected[:few])) > 1, "the classes differ, so that agreement says something"
    whole = lowered.classes(network(lowered.layers, lowered.codes(images.numpy())))
    assert np.array_equal(whole, expected), "on every test image"
    given = lowered.codes(images[:few].numpy())
    run = check(lowered.layers, given, engine="interpreted")
    assert np.array_equal(lowered.classes(run.outputs), expected[:few])
    assert (np.diff(run.cycles[:, -1]) == lowered.layers[0].unit.cycles).all()
    same_as_pytorch(model, images)


@installed
def test_the_study_stores_both_classes(home, monkeypatch):
    monkeypatch.setattr(simulation, "compiler", lambda: None)
    asked = {"dataset": "toy", "epochs": 2, "hidden": 4, "images": 5, "pe": 2, "simd": 6}
    table = store.run(rtl.trained_network, **asked, stalls=[0.0, 0.4])
    assert len(table) == 10 and (table["rtl"] == table["pytorch"]).all()
    assert table["image"].tolist() == 2 * list(range(5))
    test = data.load("toy").test.labels[:5].tolist()
    assert table["label"].tolist() == 2 * test
    assert set(table["slowest_layer"]) == {36 * 4 // (2 * 6)}
    free, stalled = (part["cycle"] for _, part in table.groupby("stalls"))
    assert (free.diff()[1:] == 12).all() and stalled.iloc[-1] > free.iloc[-1]
    said = rtl.summary(table).set_index("stalls")
    assert said["agree"].tolist() == [5, 5] and said["images"].tolist() == [5, 5]
    assert said.loc[0.0, "cycles_an_image"] == 12 < said.loc[0.4, "cycles_an_image"]
    assert said.loc[0.0, "latency"] == free.iloc[0] + 1
    right = (table["rtl"] == table["label"]).groupby(table["stalls"]).sum()
    assert said["correct"].tolist() == right.tolist()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": 0}, "images must be a whole number of at least 1, not 0."),
        ({"images": 2.5}, "images must be a whole number of at least 1, not 2.5."),
        ({"stalls": []}, "stalls must name at least one probability, and names none."),
        ({"stalls": [0.0, 0.95]}, "stalls must be from 0 to 0.9, not 0.95."),
        ({"pe": 0}, "pe must be a whole number of at least 1, not 0."),
        ({"simd": 2.0}, "simd must be a whole number of at least 1, not 2.0."),
    ],
)
def test_studies_that_cannot_be(home, monkeypatch, change, said):
    monkeypatch.setattr(data, "load", None)
    assert refused(lambda: store.run(rtl.trained_network, **change)) == said
    assert not store_toy.files(home)
