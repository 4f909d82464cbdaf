"""Layers: of a perceptron, of models in PyTorch, of QONNX files."""

import warnings

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from brevitas.export import export_qonnx as export_brevitas
from brevitas.quant import Uint8ActPerTensorFloat
from hypothesis import given
from hypothesis import strategies as st
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.cleanup import cleanup_model
from torch import nn

from qbench.hardware import HardwareError, Layer, Window, conv_layer, layers_of, mlp
from qbench.models.tfc import quant_tfc
from qbench.sweep import Member, export_qonnx
from qbench.sweep.network import Network


def test_tfc():
    first, *_, last = layers = mlp(weight_bits=3, act_bits=2)
    assert [(one.mw, one.mh) for one in layers] == [(1024, 64), (64, 64), (64, 64), (64, 10)]
    assert [one.weight_bits for one in layers] == [3] * 4
    assert [one.act_bits for one in layers] == [8, 2, 2, 2]
    assert [one.out_bits for one in layers] == [2, 2, 2, None]
    assert [one.signed_input for one in layers] == [False, True, True, True]
    assert first.kind == "dense" and first.input_values == 1024 and last.vectors == 1


@given(st.integers(1, 64), st.integers(1, 5), st.integers(1, 4), st.integers(0, 4))
def test_a_window_sees_what_a_convolution_sees(size, kernel, stride, padding):
    if kernel > size + 2 * padding:
        with pytest.raises(HardwareError, match="^kernel must be at most"):
            Window(2, size, kernel, stride, padding)
        return
    window = Window(2, size, kernel, stride, padding)
    out = nn.Conv2d(2, 1, kernel, stride, padding)(torch.zeros(1, 2, size, size))
    assert out.shape[-1] == window.out_size
    layer = conv_layer("c", window, 5, 2, 3, out_bits=4)
    assert (layer.mw, layer.mh, layer.vectors) == (kernel**2 * 2, 5, window.out_size**2)
    assert layer.kind == "convolution" and layer.input_values == 2 * size**2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mw": 0}, "mw of a must be a whole number of at least 1, not 0."),
        ({"mh": 2.0}, "mh of a must be a whole number of at least 1, not 2.0."),
        ({"vectors": True}, "vectors of a must be a whole number of at least 1, not True."),
        ({"weight_bits": 32}, "weight_bits of a must be a whole number from 1 to 16, not 32."),
        ({"act_bits": 0}, "act_bits of a must be a whole number from 1 to 16, not 0."),
        ({"out_bits": 17}, "out_bits of a must be a whole number from 1 to 16, not 17."),
        ({"mh": np.array([1, 2])}, "mh of a must be one number, not an array of 2."),
        ({"window": Window(1, 4, 3)}, "mw of a must be 9, as its window says, not 4."),
        ({"window": Window(1, 4, 2)}, "vectors of a must be 9, as its window says, not 1."),
    ],
)
def test_a_layer_that_cannot_be(change, said):
    with pytest.raises(HardwareError) as caught:
        Layer(**{"name": "a", "mw": 4, "mh": 2, "weight_bits": 2, "act_bits": 2} | change)
    assert str(caught.value) == said


def test_numbers_of_numpy_become_plain():
    layer = Layer("a", np.int8(100), np.int64(2), np.uint8(1), np.int16(3))
    assert layer == Layer("a", 100, 2, 1, 3) and type(layer.mw) is int


# Models and files

MEMBERS = [Member(1, 1), Member(2, 4), Member(8, 8), Member((4, 1, 2, 8), (1, 4, 3))]


def nameless(layers):
    return [tuple(v for name, v in vars(one).items() if name != "name") for one in layers]


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_a_model_its_file_and_mlp_are_the_same_layers(member, tmp_path):
    w, a = member.weight_bits, member.act_bits
    expected = mlp(36, (8, 8, 8), 4, weight_bits=w, act_bits=a)
    model = quant_tfc(inputs=36, classes=4, hidden=8, weight_bits=w, act_bits=a)
    model.train()
    assert layers_of(model) == expected and model.training, "left as it was"
    file = export_qonnx(Network([member], inputs=36, classes=4, hidden=8), 0, tmp_path / "a.onnx")
    assert nameless(layers_of(file)) == nameless(layers_of(str(file))) == nameless(expected)


@pytest.mark.parametrize(
    ("w", "a", "said"),
    [(32, 2, "weights of linear1"), (2, 32, "inputs of linear1"), (32, 32, "weights of linear1")],
)
def test_float_layers_are_refused(w, a, said, tmp_path):
    model = quant_tfc(inputs=36, classes=4, hidden=8, weight_bits=w, act_bits=a)
    with pytest.raises(HardwareError, match=rf"^the {said} must be quantised, .*\.$"):
        layers_of(model)
    member = Member(w, a)
    file = export_qonnx(Network([member], inputs=36, classes=4, hidden=8), 0, tmp_path / "a.onnx")
    kind = said.split()[0]
    with pytest.raises(HardwareError, match=rf"^the {kind} of MatMul_0 must be quantised"):
        layers_of(file)


def cnn() -> nn.Sequential:
    same = {"bias": False, "weight_bit_width": 2}
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8, act_quant=Uint8ActPerTensorFloat),
        qnn.QuantConv2d(3, 16, 3, padding=1, **same),
        nn.BatchNorm2d(16),
        qnn.QuantReLU(bit_width=3),
        nn.MaxPool2d(2),
        qnn.QuantConv2d(16, 8, 3, stride=2, **same),
        nn.BatchNorm2d(8),
        qnn.QuantReLU(bit_width=4),
        nn.Flatten(),
        qnn.QuantLinear(8 * 3 * 3, 10, bias=True, weight_bit_width=5),
    )


def exported(model, shape, file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = export_brevitas(model.eval(), input_shape=(1, *shape), dynamo=False)
    cleanup_model(ModelWrapper(graph)).save(str(file))
    return file


def test_a_convolutional_network(tmp_path):
    unsigned = {"signed_input": False}
    expected = (
        conv_layer("1", Window(3, 16, 3, 1, 1), 16, 2, 8, out_bits=3, **unsigned),
        conv_layer("5", Window(16, 8, 3, 2), 8, 2, 3, out_bits=4, **unsigned),
        Layer("9", 72, 10, 5, 4, **unsigned),
    )
    assert layers_of(cnn(), input_shape=(3, 16, 16)) == expected
    file = exported(cnn(), (3, 16, 16), tmp_path / "cnn.onnx")
    assert nameless(layers_of(file)) == nameless(expected)


@pytest.mark.parametrize(
    "odd",
    [
        {"groups": 2},
        {"dilation": 2},
        {"kernel_size": (3, 1)},
        {"stride": (1, 2)},
        {"padding": (0, 1)},
    ],
    ids=str,
)
def test_convolutions_that_no_formula_covers(odd, tmp_path):
    shape = {"kernel_size": 3, "bias": False, "weight_bit_width": 2} | odd
    model = nn.Sequential(qnn.QuantIdentity(bit_width=8), qnn.QuantConv2d(4, 4, **shape))
    with pytest.raises(HardwareError, match=r"^1 must be a square convolution without groups"):
        layers_of(model, input_shape=(4, 8, 8))
    with pytest.raises(HardwareError, match=r"^Conv_0 must be .*\.$"):
        layers_of(exported(model, (4, 8, 8), tmp_path / "odd.onnx"))


def test_what_is_no_network(tmp_path):
    with pytest.raises(HardwareError, match=r"^source must be the path .*, not int\.$"):
        layers_of(3)
    with pytest.raises(HardwareError, match=r"none\.onnx must be a QONNX file, and there is no"):
        layers_of(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(HardwareError, match=r"text\.onnx must be a QONNX file, and cannot be"):
        layers_of(tmp_path / "text.onnx")
    with pytest.raises(HardwareError, match="^the network has no fully connected layer and no"):
        layers_of(nn.Sequential(nn.ReLU()))
    with pytest.raises(HardwareError, match=r"^input_shape must be given, as \(channels, "):
        layers_of(cnn())
    with pytest.raises(HardwareError, match=r"^input_shape must be one .*, not \(4, 16, 16\): "):
        layers_of(cnn(), input_shape=(4, 16, 16))
