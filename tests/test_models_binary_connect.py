"""The networks of Faraone 2021, chapter 3: what tables 3.2 and 3.3 count, shapes, refusals."""

import pytest
import torch
from torch import nn

from qbench.models import binary_connect
from qbench.models.convolutional import parameters
from qbench.models.errors import ModelError


def count(model: nn.Module, *, all_but_last: bool = False) -> int:
    sizes = [layer.weight.numel() for layer in binary_connect.weights(model).values()]
    return sum(sizes[:-1] if all_but_last else sizes)


def million(number: int) -> str:
    return f"{number / 1e6:.2f}"


@pytest.fixture(autouse=True)
def no_numbers():
    with torch.device("meta"):
        yield


def test_the_perceptron_has_the_weights_of_table_3_2_only_with_its_last_layer():
    made = binary_connect.build("mlp", inputs=784)
    assert count(made) == 2_910_208
    assert million(count(made)) == "2.91"
    assert million(count(made, all_but_last=True)) == "2.90"
    assert million(parameters(made)) == "2.92"  # with batch norm
    assert count(binary_connect.build("mlp", 4096, inputs=784)) == 36_806_656


def test_the_vgg_has_the_weights_of_table_3_3_only_without_biases_and_batch_norm():
    made = binary_connect.build("vgg", inputs=3)
    assert count(made) == 14_022_016
    assert million(count(made)) == "14.02"
    assert million(parameters(made)) == "14.03"
    outputs = sum(layer.weight.shape[0] for layer in binary_connect.weights(made).values())
    assert million(count(made) + outputs) == "14.03"  # with biases
    assert list(binary_connect.weights(made)) == [f"conv{n}" for n in range(1, 7)] + [
        *("fc1", "fc2", "fc3")
    ]


@pytest.mark.parametrize("act_bits", [1, 32])
@pytest.mark.parametrize(("name", "shape"), [("mlp", (4, 784)), ("vgg", (4, 3, 32, 32))])
def test_images_become_logits(name, shape, act_bits):
    made = binary_connect.build(name, 4, act_bits=act_bits, inputs=shape[1], classes=7)
    assert made(torch.empty(shape)).shape == (4, 7)
    signs = sum(isinstance(part, binary_connect.Sign) for part in made.modules())
    assert signs == (len(binary_connect.weights(made)) - 1 if act_bits == 1 else 0)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (("mlb",), "network must be one of mlp, vgg, not 'mlb' (did you mean mlp?)."),
        (("mlp", 0), "width of mlp must be a whole number from 1 to 8192, not 0."),
        (("vgg", 513), "width of vgg must be a whole number from 1 to 512, not 513."),
        (("mlp", 8.0), "width of mlp must be a whole number from 1 to 8192, not 8.0."),
    ],
)
def test_refused(values, sentence):
    with pytest.raises(ModelError) as refused:
        binary_connect.build(*values, inputs=3)
    assert str(refused.value) == sentence


def test_refused_activations():
    with pytest.raises(ModelError, match="act_bits must be 1, for the sign, or 32, for ReLU, not"):
        binary_connect.build("mlp", act_bits=2, inputs=3)
