"""Fused networks: no batch norm left and the same logits, or one sentence that says why not."""

import copy

import pytest
import torch
from torch import nn

from qbench.models.convolutional import build, parameters
from qbench.models.densenet import BLOCKS
from qbench.models.errors import ModelError
from qbench.models.fusion import batch_norms, fuse
from qbench.models.mlp import mlp

# Rounding: 1e-16 of a product, added up over layers of up to 1,152 and 20 or, in MobileNetV2,
# 53 layers; of the largest logit, as one near 0 may come from large ones that cancel.
ROUNDING = 1e-12


def seen(name, **sizes):
    """A network in float64 whose batch norms have seen images and whose scales are not all 1."""
    torch.manual_seed(3)
    model = build(name, 5, **sizes).double()
    for module in model.modules():
        if hasattr(module, "running_var"):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    with torch.no_grad():
        for mean in (0, 1):
            model(mean + torch.randn(4, 3, 32, 32, dtype=torch.float64))
    return model


def apart(one, other):
    """The largest difference of two models' logits, as a part of the largest logit."""
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        first, second = one(images), other(images)
    return ((first - second).abs().max() / first.abs().max()).item()


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("densenet21_modified", {}),
        ("flex_student", {"channels": (8, 8), "neurons": (6, 6)}),  # has linear layers with BN
        ("resnet8x4", {"channels": (16, 16, 24, 32)}),
        ("mobilenet_v2", {}),
    ],
)
def test_a_fused_network_has_the_same_logits_and_no_batch_norm(name, sizes):
    model = seen(name, **sizes)
    before = copy.deepcopy(model.state_dict())
    channels = sum(model.get_submodule(norm).num_features for norm in batch_norms(model))
    fused = fuse(model)
    assert not batch_norms(fused) and not any(module.training for module in fused.modules())
    assert parameters(fused) == parameters(model) - channels, "a bias for each scale and shift"
    assert model.training and batch_norms(model)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert apart(model.eval(), fused) < ROUNDING
    assert apart(model, build(name, 5, **sizes).double().eval()) > 1e-3, "else nothing was compared"


def test_statistics_matter():
    """A fused network that forgot them would not pass."""
    model = seen("densenet21_modified").eval()
    fresh = copy.deepcopy(model)
    for name in batch_norms(fresh):
        fresh.get_submodule(name).reset_running_stats()
    assert apart(model, fresh) > 1e-3


def test_of_the_original_densenet_the_second_of_each_layer_goes_and_the_others_stay():
    model = seen("densenet21")
    fused = fuse(model, partly=True)
    assert len(batch_norms(model)) == 2 * sum(BLOCKS["densenet21"]) + 4
    gone = set(batch_norms(model)) - set(batch_norms(fused))
    assert gone == {name for name in batch_norms(model) if name.endswith("body.norm2")}
    assert len(gone) == sum(BLOCKS["densenet21"])
    assert apart(model.eval(), fused) < ROUNDING
    with pytest.raises(ModelError) as caught:
        fuse(model)
    assert str(caught.value) == (
        "12 of the model's 20 batch norms cannot be fused, as no convolution or linear layer ends "
        "directly and only in them: block1_1.body.norm1, transition1.norm, block2_1.body.norm1 and "
        "9 more."
    )


def test_memory_format_stays():
    model = build("densenet21_modified", 5).to(memory_format=torch.channels_last)
    weight = fuse(model).get_submodule("block1_1.body.conv2").weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


class Twice(nn.Module):
    """One convolution, called twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images):
        return self.norm(self.conv(self.conv(images)))


class Shared(Twice):
    """What the batch norm takes is taken elsewhere too."""

    def forward(self, images):
        found = self.conv(images)
        return self.norm(found) + found


class Looks(Twice):
    """Decides by the values of its input."""

    def forward(self, images):
        return self.norm(images) if images.sum() > 0 else images


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        (mlp((4, 4)), "the model has no batch norm to fuse."),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
            "1 of the model's 1 batch norms cannot be fused",
        ),
        (Shared(), "no convolution or linear layer ends directly and only in them: norm."),
        (Twice(), "conv is called 2 times in one pass, and cannot be fused."),
        (Looks(), "the model cannot be traced to fuse its batch norms: symbolically traced"),
    ],
)
def test_a_model_that_cannot_be_fused(model, said, partly):
    with pytest.raises(ModelError) as caught:
        fuse(model, partly=partly)
    assert said in str(caught.value)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
