"""Vailakis' networks against Section 5.8: how many numbers they learn, and what these take."""

import pytest
import torch

from qbench import reference
from qbench.models import convolutional, mlp
from qbench.models.convolutional import parameters
from qbench.models.errors import ModelError

PUBLISHED = reference.load("vailakis2022", "table_section_5_8")
NETWORKS = {name.lower().replace("-", ""): name for name in PUBLISHED["network"].unique()}


def counted(name):
    with torch.device("meta"):
        if name in mlp.HIDDEN:
            return parameters(mlp.build(name))
        return parameters(convolutional.build(name, 100))


def test_every_published_network_is_there_under_its_name():
    assert len(NETWORKS) == 12
    assert {name for name in NETWORKS if name not in convolutional.NETWORKS} == set(mlp.HIDDEN)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_megabytes_are_the_published_ones(name):
    rows = PUBLISHED[PUBLISHED["network"] == NETWORKS[name]].set_index("quantity")
    found = counted(name)
    assert found == rows.at["parameters", "value"]
    sizes = rows.loc["size"]
    assert sizes["weight_bits"].tolist() == [32, 8, 4]
    for bits, printed in zip(sizes["weight_bits"], sizes["printed"], strict=True):
        assert f"{found * bits / 8 / 2**20:.2f}" == printed


@pytest.mark.parametrize("name", mlp.HIDDEN)
def test_perceptrons_have_two_hidden_layers_and_learn(name):
    model = mlp.build(name)
    linear = [module for module in model if isinstance(module, torch.nn.Linear)]
    count = linear[0].out_features
    widths = [(layer.in_features, layer.out_features) for layer in linear]
    assert widths == [(784, count), (count, count), (count, 10)]
    logits = model(torch.rand(3, 1, 28, 28))
    assert logits.shape == (3, 10)
    logits.square().sum().backward()
    assert all(weights.grad.abs().sum() > 0 for weights in model.parameters())


def test_a_perceptron_of_other_sizes():
    model = mlp.mlp([5, 4, 3], classes=7, inputs=12)
    assert model(torch.rand(2, 3, 4)).shape == (2, 7)
    assert parameters(model) == 13 * 5 + 6 * 4 + 5 * 3 + 4 * 7
    assert model(torch.full((1, 12), -1e9)).isfinite().all()
    assert mlp.build("dnn30", 7, inputs=12)(torch.rand(2, 12)).shape == (2, 7)


def test_a_perceptron_that_cannot_be():
    with pytest.raises(ModelError) as caught:
        mlp.build("dnn3000")
    assert str(caught.value) == (
        "network must be one of dnn30, dnn300, dnn800, dnn1200, kl_mlp_student, kl_mlp_teacher, "
        "not 'dnn3000' (did you mean dnn300?)."
    )
