"""The small networks: their sizes, their shortcuts, what they refuse."""

import re

import pytest
import torch
from torch import nn

from qbench.models import resnet, small
from qbench.models.convolutional import parameters
from qbench.models.errors import ModelError

COUNTS = {"alexnet_small": 7_709_642, "vgg_small": 14_029_716, "resnet20": 269_722}
COUNTS |= {"perceptron": 5_259_274}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_as_many_as_the_docstring_says(name):
    with torch.device("meta"):
        found = parameters(small.build(name))
    assert found == COUNTS[name]
    assert f"{found:,}" in re.findall(r"\d+(?:,\d{3})+", small.NETWORKS[name].__doc__)


def layers(model):
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize(
    ("name", "convolutions", "connected"),
    [("alexnet_small", 5, 3), ("vgg_small", 6, 3), ("resnet20", 19, 1), ("perceptron", 0, 4)],
)
def test_depths(name, convolutions, connected):
    kinds = [type(layer) for layer in layers(small.build(name, 0.25))]
    assert kinds == [nn.Conv2d] * convolutions + [nn.Linear] * connected


@pytest.mark.parametrize("width", [1, 0.25])
@pytest.mark.parametrize("name", COUNTS)
def test_width_multiplies_what_is_between_images_and_classes(name, width):
    with torch.device("meta"):
        model = small.build(name, width, 7, inputs=1)
        full = small.build(name, 1, 7, inputs=1)
    for at, (one, other) in enumerate(zip(layers(model), layers(full), strict=True)):
        ratio = one.weight.shape[0] / other.weight.shape[0]
        assert ratio == (1 if at == len(layers(full)) - 1 else width)


@pytest.mark.parametrize("name", COUNTS)
def test_images_become_logits(name):
    found = small.build(name, 0.05, 7, inputs=1).eval()(torch.randn(2, 1, 32, 32))
    assert found.shape == (2, 7) and found.isfinite().all()


def test_shortcuts_of_resnet20_learn_nothing():
    block = resnet.Block(2, 3, 2, padded=True)
    images = torch.randn(1, 2, 4, 4)
    kept = block.shortcut(images)
    assert torch.equal(kept[:, :2], images[:, :, ::2, ::2]) and not kept[:, 2].any()
    assert kept.shape == block(images).shape and not list(block.shortcut.parameters())


@pytest.mark.parametrize("width", [0, -1, 4.5, float("nan"), True, "1"])
def test_refused_widths(width):
    with pytest.raises(ModelError, match=r"^width must be .* not .*\.$"):
        small.build("resnet20", width)


def test_refused_names():
    with pytest.raises(ModelError, match=r"did you mean resnet20"):
        small.build("resnet-20")
