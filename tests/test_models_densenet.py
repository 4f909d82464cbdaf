"""The DenseNets in both forms: their order, their joints, their counts, what learns."""

import itertools
import re
from functools import cache

import numpy as np
import pytest
import torch
from torch import fx, nn

from qbench.models.convolutional import NETWORKS, build, parameters
from qbench.models.densenet import BLOCKS, FORMS, Concatenate, DenseLayer, densenet
from qbench.models.errors import ModelError
from qbench.runtimes import macs

NAMES = [f"{name}{suffix}" for name in BLOCKS for suffix in ("", "_modified")]


@cache
def made(name: str) -> nn.Sequential:
    """The network for 100 classes, without memory for its numbers."""
    with torch.device("meta"):
        return build(name, 100)


def kinds(module: nn.Sequential) -> list[str]:
    short = {"BatchNorm2d": "BN", "Conv2d": "Conv"}
    return [short.get(type(part).__name__, type(part).__name__) for part in module]


def test_names_choose_blocks_and_form():
    assert [name for name in NETWORKS if name.startswith("densenet")] == sorted(
        NAMES, key=lambda name: ("modified" in name, NAMES.index(name))
    )
    for name in NAMES:
        model = made(name)
        first = "Conv" if name.endswith("modified") else "BN"
        assert kinds(model.block1_1.body)[0] == first
        layers = [part for part, _ in model.named_children() if part.startswith("block")]
        found = [sum(part.startswith(f"block{block}_") for part in layers) for block in range(1, 5)]
        assert tuple(found) == BLOCKS[name.removesuffix("_modified")]


def test_the_number_in_the_name_counts_convolutions_and_the_classifier():
    for name, blocks in BLOCKS.items():
        assert name == f"densenet{2 * sum(blocks) + 3 + 2}"


@pytest.mark.parametrize("name", BLOCKS)
def test_the_docstring_counts_parameters_and_multiplications(name):
    number = name.removeprefix("densenet")
    (row,) = re.findall(rf"DenseNet-{number}  +([\d, ]+)\n", densenet.__doc__)
    blocks, *counts = re.split(" {2,}", row)
    assert tuple(map(int, blocks.split(", "))) == BLOCKS[name]
    models = [made(name), made(f"{name}_modified")]
    work = macs(models[0], torch.empty(1, 3, 32, 32, device="meta"))
    assert [f"{count:,}" for count in (*map(parameters, models), work)] == counts


def test_both_forms_multiply_as_much():
    images = torch.empty(2, 3, 32, 32, device="meta")
    assert macs(made("densenet37"), images) == macs(made("densenet37_modified"), images)


def counted(blocks: np.ndarray) -> np.ndarray:
    """Parameters of the original form at 100 classes, a row of `blocks` each: by hand."""
    width = np.full(len(blocks), 64)
    total = 27 * width
    for block, count in enumerate(blocks.T):
        if block:
            total += 2 * width + width * (width // 2)
            width = width // 2
        inputs = count * width + 32 * count * (count - 1) // 2  # of all layers together
        total += 2 * inputs + 128 * inputs + count * (2 * 128 + 9 * 128 * 32)
        width = width + 32 * count
    return total + 2 * width + 100 * width + 100


def test_four_networks_have_the_parameters_of_densenet_105():
    known = np.array(list(BLOCKS.values()))
    assert counted(known).tolist() == [parameters(made(name)) for name in BLOCKS]
    cuts = np.array(list(itertools.combinations(range(1, 50), 3)))
    blocks = np.diff(cuts, axis=1, prepend=0, append=50)
    found = [tuple(row) for row in blocks[counted(blocks) == 5_358_244].tolist()]
    assert found == [(2, 16, 9, 23), (4, 9, 16, 21), (4, 19, 1, 26), (4, 20, 5, 21)]
    said = " ".join(densenet.__doc__.split())
    assert all(str(row) in said for row in found)
    grows = [row for row in found if row[0] < row[1] < row[2]]
    assert grows == [BLOCKS["densenet105"]]
    assert all(first < second < third for first, second, third, _ in BLOCKS.values())


def test_the_order_of_each_form():
    original, modified = (densenet((1, 1), form=form, growth=4) for form in FORMS)
    assert kinds(original) == [
        *("Conv", "DenseLayer", "Sequential", "DenseLayer", "BN", "ReLU"),
        *("AdaptiveAvgPool2d", "Flatten", "Linear"),
    ]
    assert kinds(modified) == [
        *("Conv", "BN", "ReLU", "DenseLayer", "Sequential", "DenseLayer"),
        *("AdaptiveAvgPool2d", "Flatten", "Linear"),
    ]
    assert kinds(original.block1_1.body) == ["BN", "ReLU", "Conv"] * 2
    assert kinds(modified.block1_1.body) == ["Conv", "BN", "ReLU"] * 2
    assert kinds(original.transition1) == ["BN", "Conv", "AvgPool2d"]
    assert kinds(modified.transition1) == ["Conv", "BN", "AvgPool2d"]


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_passes_its_input_on_beside_what_it_adds(form):
    layer = DenseLayer(3, 5, form)
    images = torch.randn(2, 3, 6, 6)
    found = layer(images)
    assert found.shape == (2, 8, 6, 6)
    assert torch.equal(found[:, :3], images) and found[:, 3:].abs().sum() > 0


class Modules(fx.Tracer):
    """Sees Concatenate as a quantiser does that takes modules only."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, Concatenate) or super().is_leaf_module(module, name)


@pytest.mark.parametrize("form", FORMS)
def test_everything_that_happens_is_a_module(form):
    model = densenet((1, 2), form=form, growth=4)
    graph = Modules().trace(model)
    assert {node.op for node in graph.nodes} == {"placeholder", "call_module", "output"}
    joins = [
        isinstance(model.get_submodule(str(n.target)), Concatenate)
        for n in graph.nodes
        if n.op == "call_module"
    ]
    assert sum(joins) == 3
    images = torch.randn(2, 3, 8, 8)
    model.eval()
    assert torch.equal(fx.symbolic_trace(model)(images), model(images))


@pytest.mark.parametrize("name", NAMES)
def test_images_become_logits(name):
    model, sides = made(name), []
    hooks = [
        module.register_forward_hook(lambda m, x, y: sides.append(y.shape[-1]))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 100)
    for hook in hooks:
        hook.remove()
    assert [side for side, _ in itertools.groupby(sides)] == [32, 16, 8, 4]


@pytest.mark.parametrize("form", FORMS)
def test_everything_learns_in_channels_last_memory(form):
    model = densenet(BLOCKS["densenet21"], 7, form=form, inputs=2).to(
        memory_format=torch.channels_last
    )
    seen = []
    model.pool.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = torch.randn(4, 2, 32, 32).to(memory_format=torch.channels_last)
    logits = model(images)
    assert logits.shape == (4, 7) and logits.isfinite().all()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    assert all(weights.grad.abs().sum() > 0 for weights in model.parameters())


def test_a_form_that_cannot_be():
    with pytest.raises(ModelError, match="^form must be one of original, modified, not 'post'.$"):
        densenet((1, 2), form="post")
