"""QuantTFC: its parameters, the levels of its weights and activations, what learns."""

import pytest
import torch
import training_toy
from torch import nn
from torch.nn import functional as F
from training_toy import CLASSES, INPUTS, toy

from qbench.models.tfc import quant_tfc
from qbench.quantizers import brevitas_layers

home = pytest.fixture(training_toy.home, autouse=True)


def parameters(model: nn.Module) -> dict[str, int]:
    """How many weights, parameters of batch norm and learnt scales there are."""
    kinds = {"linear": 0, "norm": 0, "scale": 0}
    for name, parameter in model.named_parameters():
        kind = next((kind for kind in ("linear", "norm") if name.startswith(kind)), "scale")
        kinds[kind] += parameter.numel()
    return kinds


@pytest.mark.parametrize(("act_bits", "scales"), [(1, 0), (2, 3), (8, 3), (32, 0)])
@pytest.mark.parametrize("weight_bits", [1, 2, 8, 32])
def test_quant_tfc_has_the_parameters_of_the_papers(weight_bits, act_bits, scales):
    """A hidden layer's activations learn one scale, but not at 1 and 32 bits; pixels learn none."""
    assert parameters(quant_tfc(weight_bits=weight_bits, act_bits=act_bits)) == {
        "linear": 1024 * 64 + 64 * 64 * 2 + 64 * 10,
        "norm": 2 * (3 * 64 + 10),
        "scale": scales,
    }


def test_quant_tfc_of_another_size():
    model = quant_tfc(inputs=20, classes=7, hidden=9)
    assert parameters(model)["linear"] == 20 * 9 + 9 * 9 * 2 + 9 * 7
    assert model(torch.rand(5, 20)).shape == (5, 7)


def quantised(layer: nn.Module) -> torch.Tensor:
    return layer.quant_weight().value.detach()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_of_several_bits_are_a_symmetric_grid_for_every_channel(bits):
    model = quant_tfc(inputs=300, hidden=16, weight_bits=bits, act_bits=2)
    most = 2 ** (bits - 1) - 1
    for name in ("linear1", "linear2", "linear3", "linear4"):
        layer = getattr(model, name)
        weight, grid = layer.weight.detach(), quantised(layer)
        largest = weight.abs().amax(None if name == "linear4" else 1, keepdim=True)
        steps = grid / largest * most
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
        levels = [len(row.round().unique()) for row in steps]
        assert max(levels) <= 2**bits - 1
        assert steps.abs().max().round() == most
        assert ((grid - weight).abs() <= largest / most / 2 * 1.001).all(), "the nearest level"
        if name == "linear1":  # long enough to have every level in every channel
            assert set(levels) == {2**bits - 1}
            assert [len(row.unique()) for row in grid] == levels


def test_weights_of_one_bit_are_their_signs():
    model = quant_tfc(inputs=300, hidden=16, weight_bits=1, act_bits=1)
    for layer in (model.linear1, model.linear2, model.linear3, model.linear4):
        grid = quantised(layer)
        assert len(grid.unique()) == 2 and grid.unique().sum() == 0
        assert torch.equal(grid.sign(), layer.weight.detach().sign())


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_activations_have_as_many_levels_as_their_bits_allow(bits):
    levels = brevitas_layers.hard_tanh(bits)(torch.linspace(-2, 2, 5001)).unique()
    assert len(levels) == 2**bits and levels.abs().max() <= 1
    step = 2 if bits == 1 else 2 / 2**bits  # one bit is -1 and 1
    torch.testing.assert_close(levels.diff(), torch.full((2**bits - 1,), float(step)))


@pytest.mark.parametrize("training_mode", [True, False])
def test_pixels_keep_their_256_levels(training_mode):
    """The constant scale 1/255 changes k/255 by no more than the rounding of float32."""
    layer = brevitas_layers.pixels().train(training_mode)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    levels = torch.arange(256) / 255
    torch.testing.assert_close(layer(levels), levels, rtol=2**-23, atol=0)
    layer(torch.full((1000,), 0.25))  # images as dark as this move no scale
    assert len(layer(levels).unique()) == 2**8
    between = layer(torch.tensor([-0.5, 0.4, 0.6, 100.4, 100.6, 254.6, 300.0]) / 255) * 255
    torch.testing.assert_close(between, torch.tensor([0.0, 0, 1, 100, 101, 255, 255]))
    assert not list(layer.parameters())
    after = layer.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("training_mode", [True, False])
def test_every_layer_of_the_network_sees_quantised_activations(training_mode):
    model, seen = quant_tfc(inputs=50, hidden=16, weight_bits=3, act_bits=2), {}
    for name, layer in model.named_children():
        if name.startswith(("act", "quantise")):
            layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    model.train(training_mode)(torch.rand(400, 50))
    levels = {name: len(out.unique()) for name, out in seen.items()}
    assert levels.pop("quantise_input") == 2**8
    assert levels.keys() == {"act1", "act2", "act3"}
    assert levels["act1"] == max(levels.values()) == 2**2


def test_32_bits_are_float32():
    model = quant_tfc(inputs=300, hidden=16, weight_bits=32, act_bits=32)
    kinds = {type(layer) for layer in model}
    assert kinds == {nn.Linear, nn.BatchNorm1d, nn.Hardtanh, nn.Dropout, nn.Identity}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    images = torch.rand(1000, 300)
    assert torch.equal(model.eval().quantise_input(images), images)
    only_weights = quant_tfc(inputs=30, hidden=8, weight_bits=2, act_bits=32)
    assert isinstance(only_weights.act1, nn.Hardtanh)
    assert max(len(row.unique()) for row in quantised(only_weights.linear1)) == 3


@pytest.mark.parametrize("bits", [1, 2, 8, 32])
def test_every_parameter_learns(bits):
    torch.manual_seed(0)
    model = quant_tfc(inputs=INPUTS, classes=CLASSES, hidden=8, weight_bits=bits, act_bits=bits)
    split = toy().train
    F.cross_entropy(model(split.images), split.labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert name.endswith("value") or parameter.grad.abs().sum() > 0, name
