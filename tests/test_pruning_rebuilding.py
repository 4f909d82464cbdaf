"""Networks without some filters: dense and masked compute the same, with others added, refused."""

import copy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qbench.models import small
from qbench.pruning import PruningError, rebuilding
from qbench.pruning.networks import Rounding, shapes

ROUNDINGS = {
    "binary": Rounding("binary", 2, 1),
    "ternary": Rounding("ternary", 4, 2),
    "float32": Rounding("float32", 32, None),
}
IMAGES = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@cache  # nothing may change it
def network(name="alexnet_small", weights="binary", width=0.05):
    """Small, in float64, with averages and scales of batch norm that let feature maps through."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ROUNDINGS[weights].put_into(small.build(name, width)).double()
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.5, 0.5)
                part.momentum = 0.5
        for _ in range(4):  # averages follow the images
            model.train()(IMAGES)
    return model.eval()


@st.composite
def kept(draw, counts):
    """Filters that stay in each of some layers, in any order."""
    names = draw(st.lists(st.sampled_from(sorted(counts)), unique=True, min_size=1))
    found = {}
    for name in names:
        some = st.lists(st.integers(0, counts[name] - 1), unique=True, min_size=1)
        found[name] = torch.tensor(draw(some))
    return found


@pytest.mark.parametrize("weights", ROUNDINGS)
@pytest.mark.parametrize("name", ["alexnet_small", "vgg_small"])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_rebuilt_computes_what_masked_computes(name, weights, data):
    model = network(name, weights)
    hidden = {one.name: one.filters for one in rebuilding.links(model)[:-1]}
    keep = data.draw(kept(hidden))
    small_one, masked = rebuilding.rebuilt(model, keep), rebuilding.masked(model, keep)
    whole = model(IMAGES)
    torch.testing.assert_close(small_one(IMAGES), masked(IMAGES), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model(IMAGES), whole, rtol=0, atol=0)  # the network stays as it was
    counts = {one.name: one.filters for one in rebuilding.links(small_one)[:-1]}
    assert counts == hidden | {layer: len(places) for layer, places in keep.items()}


def test_masks_matter_and_the_first_training_step_is_the_same_too():
    model = network("vgg_small", "binary", 0.1)
    keep = {"conv1": torch.arange(1, 13, 2), "conv4": torch.arange(20), "conv6": torch.arange(40)}
    small_one, masked = rebuilding.rebuilt(model, keep), rebuilding.masked(model, keep)
    whole = model(IMAGES)
    assert whole.std(0).min() > 0.01, "the network must tell images apart for this test to fail"
    assert (masked(IMAGES) - whole).abs().max() > 0.1
    torch.testing.assert_close(
        small_one.train()(IMAGES), masked.train()(IMAGES), rtol=1e-9, atol=1e-9
    )


def test_a_mask_alone_without_its_batch_norm_would_leave_a_constant():
    """Zeroed weights are no pruning: batch norm makes a constant of them, which reaches on."""
    model = copy.deepcopy(network("alexnet_small", "float32", 0.1))
    keep, gone = {"conv1": torch.tensor([1, 3, 4, 5])}, torch.tensor([0, 2])
    with torch.no_grad():
        model.conv1_norm.bias[gone] = 5
    masked = rebuilding.masked(model, keep)(IMAGES)
    with torch.no_grad():
        model.conv1.weight[gone] = 0
    assert (model(IMAGES) - masked).abs().max() > 1e-3


@pytest.mark.parametrize("weights", ["binary", "ternary"])
def test_scales_are_those_of_the_filters_left(weights):
    model = network(weights=weights)
    keep = {"conv2": torch.tensor([0, 3, 5]), "conv3": torch.tensor([2, 4])}
    made = rebuilding.rebuilt(model, keep)
    real, used = rebuilding.weights(made, "conv3")
    old, _ = rebuilding.weights(model, "conv3")
    assert torch.equal(real, old[keep["conv3"]][:, keep["conv2"]])
    size = real.abs()
    left = size > (0.7 * size.mean() if weights == "ternary" else -1)
    torch.testing.assert_close(used.abs().max(), size[left].mean())


def test_filters_are_added_behind_the_old_ones_which_keep_their_weights():
    model = network("alexnet_small", "binary", 0.1)
    keep = {"conv5": torch.tensor([3, 1])}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = rebuilding.rebuilt(model, keep, {"conv5": 4, "conv2": 3})
    assert rebuilding.filters(made) == rebuilding.filters(model) | {"conv2": 22, "conv5": 6}
    for name, rows in (("conv2", 19), ("conv3", 38)):
        old, new = rebuilding.weights(model, name)[0], rebuilding.weights(made, name)[0]
        assert torch.equal(new[:rows, : old.shape[1]], old)
    assert made.conv3.layer.in_channels == 22 and made.conv3.layer.weight[:, 19:].std() > 0
    assert torch.equal(made.conv5_norm.running_mean[:2], model.conv5_norm.running_mean[[3, 1]])
    assert made.conv5_norm.running_var[2:].tolist() == [1] * 4
    flat = model.fc1.layer.weight.view(102, 26, 16)[:, [3, 1]].reshape(102, 32)
    assert made.fc1.layer.in_features == 6 * 16
    assert torch.equal(made.fc1.layer.weight[:, :32], flat)
    assert made(IMAGES).shape == (2, 10)


def test_the_cost_models_see_the_network_as_it_is():
    model = rebuilding.rebuilt(network("alexnet_small", width=0.1), {"conv2": torch.arange(7)})
    seen = shapes(model, 3, ROUNDINGS["binary"], name="toy")
    assert seen.filters == {"conv1": 6, "conv2": 7, "conv3": 38, "conv4": 26, "conv5": 26}
    units = {name: group[0] for name, group in seen.units().items()}
    assert [u.vectors for u in units.values()] == [1024, 256, 64, 64, 64, 1, 1, 1]
    assert [u.weight_bits for u in units.values()] == [8, *[1] * 6, 8]
    assert [u.act_bits for u in units.values()] == [8, *[2] * 7]
    for name, unit in units.items():
        assert unit.mw * unit.mh == model.get_submodule(name).layer.weight.numel(), name
    assert seen.units({"conv5": 3})["fc1"][0].mw == 3 * 16
    with pytest.raises(PruningError, match="must not be float32"):
        shapes(model, 3, ROUNDINGS["float32"], name="toy")


REFUSED = {
    "empty": ({"conv2": []}, {}, r"must leave conv2 at least 1 of its 10 filters"),
    "twice": ({"conv2": [1, 1]}, {}, r"different places from 0 to 9"),
    "beyond": ({"conv2": [10]}, {}, r"different places from 0 to 9"),
    "negative": ({"conv2": [-1, 2]}, {}, r"different places from 0 to 9"),
    "unknown": ({"conv9": [1]}, {}, r"no layer 'conv9'.*there are conv1, conv2"),
    "last": ({"fc3": [1]}, {}, r"fc3 is the last layer"),
    "added-less": ({}, {"conv2": -1}, r"to add to conv2 must be a whole number of at least 0"),
    "added-last": ({}, {"fc3": 1}, r"fc3 is the last layer"),
}


@pytest.mark.parametrize(("keep", "add", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(keep, add, words):
    with pytest.raises(PruningError, match=words) as refused:
        rebuilding.rebuilt(network(), keep, add)
    assert "\n" not in str(refused.value) and str(refused.value).endswith(".")


def test_residual_and_grouped_networks_are_refused():
    with pytest.raises(PruningError, match=r"is a Block: .*as in residual networks"):
        rebuilding.links(small.build("resnet20", 0.1))
    with pytest.raises(PruningError, match="groups"):
        rebuilding.links(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.ReLU()))
    with pytest.raises(PruningError, match=r"not in a Linear\."):
        rebuilding.links(nn.Linear(2, 2))
    with pytest.raises(PruningError, match="no convolution"):
        rebuilding.links(nn.Sequential(nn.ReLU()))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("septenary", 2, 1), "weights must be one of binary, ternary, float32"),
        (("binary", 0, 1), "act_bits must be a whole number from 1 to 16, or 32"),
        (("binary", 32, None), "both be float32 or both rounded"),
        (("float32", 2, 1), "both be float32 or both rounded"),
        (("float32", 32, 1), "fraction_bits must be None"),
        (("binary", 2, 99), "fraction_bits cannot be 99"),
    ],
)
def test_roundings_that_cannot_be(given, words):
    with pytest.raises(PruningError, match=words):
        Rounding(*given)
