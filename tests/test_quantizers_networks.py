"""Networks of the book whose layers round their weights and inputs: they learn, and come back."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qbench.models.densenet import densenet
from qbench.models.flex_student import flex_student
from qbench.models.resnet import resnet8x4
from qbench.quantizers import networks
from qbench.quantizers.errors import QuantiserError
from qbench.quantizers.networks import Quantised
from qbench.quantizers.scaled import Bwn, Dorefa, Ttq, Twn
from qbench.quantizers.syq import FixedPoint, for_layer


@pytest.mark.parametrize(
    "make",
    [
        lambda: resnet8x4(channels=(16, 16, 16, 16)),
        lambda: densenet([1, 1], growth=8),
        lambda: densenet([1, 1], growth=8, form="modified"),
        lambda: flex_student(channels=(4, 8), neurons=(16,)),
    ],
    ids=["resnet", "densenet", "densenet-modified", "flex_student"],
)
def test_networks_of_the_book_learn_with_it(make):
    torch.manual_seed(7)
    model = make()
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    networks.quantised(model, for_layer, lambda: FixedPoint(4, 2))
    first, last = found[0][0], found[-1][0]
    assert isinstance(model.get_submodule(first), nn.Conv2d)
    assert isinstance(model.get_submodule(last).weights, nn.Identity)
    scales = {name: p for name, p in model.named_parameters() if name.endswith("weights.scale")}
    assert len(scales) == len(found) - 2
    sizes = {found[place][1].weight.shape[2:].numel() for place in range(1, len(found) - 1)}
    assert {scale.numel() for scale in scales.values()} == sizes
    before = {name: scale.detach().clone() for name, scale in scales.items()}

    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    optimiser = torch.optim.Adam(model.parameters(), 0.003)
    losses = []
    for _ in range(6):
        loss = F.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert not any(torch.equal(before[name], scale) for name, scale in scales.items())

    again = networks.quantised(make(), for_layer, lambda: FixedPoint(4, 2)).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(images), model.eval()(images))


@pytest.mark.parametrize("make", [Bwn, Twn, Ttq, lambda: Dorefa(1), lambda: Dorefa(3)])
def test_networks_take_the_other_weights_too(make):
    torch.manual_seed(8)
    model = flex_student(channels=(4, 8), neurons=(16,))
    networks.quantised(model, lambda layer: make(), lambda: FixedPoint(4, 2))
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    inner = [m for m in model.modules() if isinstance(m, Quantised)][:-1]
    assert all(bool(one.layer.weight.grad.any()) for one in inner)


def test_a_network_of_two_layers_has_nothing_to_quantise():
    with pytest.raises(QuantiserError) as caught:
        networks.quantised(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), for_layer)
    assert str(caught.value) == (
        "a network must have at least 3 convolutions and fully connected layers, as the first and "
        "the last keep their weights, not 2."
    )
