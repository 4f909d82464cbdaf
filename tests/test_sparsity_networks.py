"""Ternary weights, the penalty's gradient and pruning, against the equations of Faraone 2021."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sparsity_toy import KINDS, convolutions, images, network, perceptron, train
from torch.nn import functional as F

from qbench.quantizers.ternary import ternary
from qbench.sparsity import SparsityError

etas = st.floats(2**-10, 1 - 2**-10, width=32)
reals = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40)


@given(etas, reals)
def test_equation_3_1(eta, values):
    values = [*values, eta, -eta, 1.0, -1.0, 0.0]
    said = ternary(torch.tensor(values), eta).tolist()
    assert said == [1 if value > eta else -1 if value < -eta else 0 for value in values]


@given(reals)
def test_no_threshold_is_the_sign_of_equation_2_16(values):
    said = ternary(torch.tensor(values), 0.0).tolist()
    assert said == [math.copysign(1, value) for value in values]


def test_the_threshold_is_the_share_of_zeros_at_first():
    for eta in (0.0, 1 / 3, 0.9):
        made = perceptron(eta, width=200)
        zeros = 1 - sum(made.nonzeros().values()) / made.count
        assert zeros == pytest.approx(eta, abs=0.01)
        assert all((real != 0).all() and real.abs().max() < 1 for real in made.real.values())


def test_convolutions_and_connected_layers_have_thresholds_of_their_own():
    made = convolutions((0.2, 0.8))
    shares = {name: count / made.real[name].numel() for name, count in made.nonzeros().items()}
    assert shares["conv6"] == pytest.approx(0.8, abs=0.05)
    assert shares["fc1"] == pytest.approx(0.2, abs=0.05)


def test_the_penalty_pulls_only_at_weights_that_are_not_zero():
    """g + λ w_q with g = 1, 2, 3, 4, λ = 0.1 and w_q = 1, −1, 0, 0."""
    made = perceptron(0.9)
    made.real["fc1"].view(-1)[:4] = torch.tensor([0.95, -0.95, 0.5, -0.9])
    made.quantise()
    for layer in made.layers.values():
        layer.weight.grad = torch.zeros_like(layer.weight)
    made.layers["fc1"].weight.grad.view(-1)[:4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    made.gradients(0.1)
    torch.testing.assert_close(
        made.real["fc1"].grad.view(-1)[:4], torch.tensor([1.1, 1.9, 3.0, 4.0])
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_equations_3_3_and_3_4_by_the_ternary_weights(kind):
    one, two, split = network(kind), network(kind), images(kind).train
    F.cross_entropy(one.model(split.images), split.labels).backward()
    one.gradients(0.3)
    cost = F.cross_entropy(two.model(split.images), split.labels)
    for layer in two.layers.values():
        cost = cost + 0.3 * (layer.weight**2).sum() / 2
    cost.backward()
    for name, layer in two.layers.items():
        expected = layer.weight.grad * two.mask.get(name, 1)
        torch.testing.assert_close(one.real[name].grad, expected)


@given(st.floats(0.001, 0.999))
def test_a_sigma_of_eta_prunes_exactly_the_zeros(eta):
    made = perceptron(eta)
    edges = torch.tensor([eta, -eta, 1.0, -1.0])
    for real in made.real.values():
        real.view(-1)[:4] = edges
    made.quantise()
    zero = {name: layer.weight == 0 for name, layer in made.layers.items()}
    assert made.prune((eta, eta)) == 0
    pruned = made.state()["pruned"]
    assert all(torch.equal(pruned[name], which) for name, which in zero.items())
    assert all((made.real[name][which] == 0).all() for name, which in zero.items())
    assert made.pruned() == sum(int(which.sum()) for which in zero.values())


def test_a_greater_sigma_counts_what_else_it_prunes():
    made = perceptron(0.5)
    lost = sum(int(((real.abs() > 0.5) & (real.abs() <= 0.7)).sum()) for real in made.real.values())
    assert made.prune((0.7, 0.7)) == lost > 0


@pytest.mark.parametrize("eta", [0.0, 0.6])
@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_pruned_weights_stay_zero_and_the_others_learn(eta, strength):
    made = perceptron(eta)
    made.prune((0.6, 0.6))
    pruned, before = made.state()["pruned"], {n: r.clone() for n, r in made.real.items()}
    train(made=made, strength=strength)
    for name, which in pruned.items():
        assert (made.real[name][which] == 0).all()
        assert (made.layers[name].weight[which] == 0).all()
        assert not torch.equal(made.real[name], before[name])
        if eta == 0:
            assert (made.layers[name].weight[~which].abs() == 1).all()


def test_a_layer_without_weights_is_refused_and_nothing_is_pruned():
    made = perceptron(0.6)
    made.real["fc3"].mul_(0.5)
    with pytest.raises(SparsityError) as refused:
        made.prune((0.6, 0.6))
    assert str(refused.value).startswith("sigma = 0.6 would prune all 81 weights of fc3, whose ")
    assert made.pruned() == 0 and (made.real["fc1"] != 0).all()


def test_real_weights_stay_between_minus_one_and_one():
    made, _ = train(learning_rate=0.5)
    largest = max(float(real.abs().max()) for real in made.real.values())
    assert largest == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_taken_back_says_the_same(kind):
    made, _ = train(kind)
    again = network(kind, seed=5)
    again.load(made.state())
    shown = images(kind).test.images
    assert torch.equal(made.model.eval()(shown), again.model.eval()(shown))
