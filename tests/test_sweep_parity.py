"""The fused network against Brevitas' own layers, member by member, in float64.

In float64 no value lies so near a rounding threshold that the order of additions decides. What is
left are the roundings of float64, 1e-12 of the largest gradient where the terms of a sum cancel;
and the 0.1 of 1-bit weights, which Brevitas holds in float32: the tests let the fused network take
that value too, but for the one that measures what it does.
"""

import numpy as np
import pytest
import torch
from sweep_toy import DROPOUT, NAMES, Batch, Beside, deviation, network_of
from torch.nn import functional as F

from qbench.sweep import Member, grid, group, network
from qbench.sweep.kernels import peak
from qbench.sweep.network import order

EVERY = order(grid(range(1, 9), range(1, 9)))
LIMIT = 1e-10  # relative; 7e-13 was seen, in the gradient of a scale, a sum whose terms cancel
STEPS = 3


@pytest.fixture
def tenth(monkeypatch):
    """Brevitas' value of a 1-bit weight."""
    for module in (group, network):
        monkeypatch.setattr(module, "BINARY", float(np.float32(0.1)))


def deviations(net: network.Network, batch: Batch) -> list[tuple[float, str]]:
    """Of logits, losses, gradients and running averages of all members, the largest last."""
    models = [Beside(net, index) for index in range(len(net.members))]
    logits, losses, gradients = batch.gradients(net)
    found = []
    for index, model in enumerate(models):
        answer, loss = model.loss(batch)
        pairs = {"logits": (logits[index].t(), answer), "loss": (losses[index], loss)}
        for name, parameter in model.parameters().items():
            mine = gradients[NAMES.index(name)][index]
            pairs[f"gradient of {name}"] = mine, parameter.grad
        averages = [average[index] for average in net.running_mean + net.running_var]
        for place, pair in enumerate(zip(averages, model.averages, strict=True)):
            pairs[f"running {('mean', 'variance')[place // 4]} {place % 4 + 1}"] = pair
        found += [(deviation(*pair), f"{model.member} {what}") for what, pair in pairs.items()]
    return sorted(found)


@pytest.mark.parametrize("weight_bits", range(1, 9))
def test_all_64_are_brevitas_in_outputs_losses_gradients_and_averages(tenth, weight_bits):
    net = network_of([member for member in EVERY if member.weight_bits == weight_bits])
    for step in range(STEPS):
        batch = Batch(net, seed=step)
        averages = [average.clone() for average in net.running_mean + net.running_var]
        size, where = deviations(net, batch)[-1]
        print(f"largest deviation in step {step}: {size:.1e}, {where}")
        assert size < LIMIT, f"{where} deviates most, by {size:.1e} of its largest, in step {step}"
        for average, before in zip(net.running_mean + net.running_var, averages, strict=True):
            average.copy_(before)  # `gradients` has moved them, the step does so again
        batch.step(net)


def test_bits_by_layer_are_brevitas_too(tenth):
    bits = [((1, 4, 2, 8), (3, 1, 8)), ((8, 1, 3, 1), (1, 2, 4)), ((2, 2, 2, 1), 2), (3, (4, 4, 1))]
    net = network_of(order([Member(*each) for each in bits]))
    size, where = deviations(net, Batch(net, seed=0))[-1]
    assert size < LIMIT, f"{where} deviates most, by {size:.1e} of its largest"


def test_the_size_of_the_papers_is_brevitas_too(tenth):
    """Its rows are so long that the largest weight is found in two rounds."""
    net = network_of([m for m in EVERY if m.weight_bits + m.act_bits == 9], 1024, 64)
    size, where = deviations(net, Batch(net, seed=0, count=100))[-1]
    print(f"largest deviation: {size:.1e}, {where}")
    assert size < LIMIT, f"{where} deviates most, by {size:.1e} of its largest"


@pytest.mark.parametrize("length", [1, 2, 31, 255, 256, 257, 260, 784, 1024, 1031])
def test_the_largest_weight_is_found_in_rows_of_any_length(length):
    weights = torch.randn(3, 5, length, generator=torch.Generator().manual_seed(length))
    for place in (0, length // 2, length - 1):
        for value in (9.0, -9.0):
            rows = weights.clone()
            rows[1, 2, place] = value
            largest, index = peak(rows, torch.empty_like(rows))
            assert torch.equal(largest, rows.abs().amax(-1))
            assert torch.equal(rows.gather(-1, index.unsqueeze(-1)).squeeze(-1).abs(), largest)
            assert index[1, 2] == place


def test_what_is_compared_is_not_trivial(tenth):
    """Gradients that are zero, or scales that never learn, would always agree."""
    net = network_of(EVERY)
    _, _, gradients = Batch(net, seed=0).gradients(net)
    for name, gradient in zip(NAMES, gradients, strict=True):
        moving = gradient.flatten(1).abs().amax(1) > 1e-6
        fixed = [m.act_bits == 1 and name.startswith("scale") for m in net.members]
        assert moving.tolist() == [not one for one in fixed], name


def test_all_that_sets_brevitas_apart_is_its_tenth_in_float32():
    """It is 1.5e-8 too large, and with it the products that batch norm normalises."""
    net = network_of([Member(1, bits) for bits in (1, 2, 8)])
    found = {"weights": [], "mean": [], "variance": [], "": []}
    for size, where in deviations(net, Batch(net, seed=0)):
        found[next(kind for kind in found if kind in where)].append(size)
    largest = {kind: max(sizes) for kind, sizes in found.items()}
    print(largest)
    once = float(np.float32(0.1)) / 0.1 - 1
    assert largest["weights"] == pytest.approx(once, rel=0.01)
    assert largest["mean"] == pytest.approx(once, rel=0.01)
    assert largest["variance"] < 2.1 * once, "0.9 of it is 1"
    assert largest[""] < 1e-10


def test_evaluation_gives_the_classes_of_brevitas_for_all_64(tenth, monkeypatch):
    monkeypatch.setattr(network, "MOMENTUM", 1.0)  # averages are those of the last batch
    net = network_of(EVERY)
    for step in range(2):
        Batch(net, seed=step).step(net)
    levels = Batch(net, seed=9, count=130).levels
    classes = torch.cat(list(net.predict(levels, together=50)), dim=1)
    assert all(len(row.unique()) > 2 for row in classes)
    for index, member in enumerate(net.members):
        assert torch.equal(classes[index], Beside(net, index).classes(levels)), member


@pytest.mark.parametrize(
    "bits",
    [(1, 1), (1, 4), (2, 2), (3, 1), (4, 8), (8, 8), (2, 32), (32, 3), (32, 1), (32, 32)],
    ids=lambda bits: "W{}A{}".format(*bits),
)
def test_five_steps_of_adam_follow_the_same_path(tenth, bits):
    """3e-15 was seen; Adam divides by a gradient's size, so a rounding of a tiny one may grow."""
    net = network_of([Member(*bits)])
    model = Beside(net, 0)
    optimiser = torch.optim.Adam(model.model.parameters(), lr=0.01, fused=False)
    for step in range(5):
        batch = Batch(net, seed=step)
        loss = batch.step(net)
        _, theirs = model.loss(batch)
        optimiser.step()
        assert deviation(loss, theirs) < 1e-6, f"loss of step {step}"
    classes = model.classes(batch.levels)  # Brevitas clamps 1-bit weights when it looks at them
    ours = [parameter[0] for parameter in net.parameters()]
    found = [
        (deviation(ours[NAMES.index(name)], parameter.detach()), name)
        for name, parameter in model.parameters().items()
    ]
    averages = [average[0] for average in net.running_mean + net.running_var]
    found += [(deviation(a, b), "averages") for a, b in zip(averages, model.averages, strict=True)]
    size, where = max(found)
    print(f"largest deviation after five steps: {size:.1e}, {where}")
    assert size < 1e-6, f"{where} deviates most, by {size:.1e} of its largest"
    assert torch.equal(torch.cat(list(net.predict(batch.levels)), dim=1)[0], classes)


def test_1_bit_weights_reach_the_limit_at_which_brevitas_clamps_them(tenth):
    """Else the path above would say nothing about it."""
    net = network_of([Member(1, 4)])
    for step in range(5):
        Batch(net, seed=step).step(net)
    for weights in net.weights:
        assert weights.abs().max() == group.BINARY


def test_32_bits_are_plain_torch():
    """No Brevitas: matrix products, batch norm and HardTanh."""
    net = network_of([Member(32, 32)])
    ours = dict(zip(NAMES, (tensor[0] for tensor in net.parameters()), strict=True))
    plain = {name: value.squeeze().clone().requires_grad_() for name, value in ours.items()}
    batch = Batch(net, seed=0)
    x = batch.levels / 255 * batch.first / (1 - DROPOUT)
    for n in range(1, 5):
        norm = plain[f"gain {n}"], plain[f"offset {n}"]
        x = F.batch_norm(F.linear(x, plain[f"weights {n}"]), None, None, *norm, training=True)
        if n < 4:
            x = F.hardtanh(x) * batch.keep[n - 1].t() / (1 - DROPOUT)
    F.cross_entropy(x, batch.labels[0]).backward()
    logits, _, gradients = batch.gradients(net)
    assert deviation(logits[0].t(), x.detach()) < LIMIT
    for name, gradient in zip(NAMES, gradients, strict=True):
        if name.startswith("scale"):
            assert not gradient.any(), "there is none to learn"
        else:
            assert deviation(gradient[0], plain[name].grad) < LIMIT, name


def test_operands_of_the_forward_products_fit_into_bfloat16():
    """So that units for bfloat16 or TF32 may multiply them: nothing is lost."""
    net = network_of(EVERY)
    batch = Batch(net, seed=0)
    _, tapes = net.forward([batch.levels * batch.first], [batch.keep])
    operands = {"pixels": batch.levels * batch.first, "weights 1": net.quantised(0)[0]}
    for layer, tape in enumerate(tapes[1:], 2):
        operands |= {f"weights {layer}": tape.codes, f"activations {layer - 1}": tape.inputs}
    for name, codes in operands.items():
        assert torch.equal(codes.bfloat16().double(), codes), name
        assert torch.equal((2 * codes).round(), 2 * codes), name
    eight = [index for index, member in enumerate(EVERY) if member.act_bits == 8]
    assert all(tapes[1].inputs[index].unique().numel() > 100 for index in eight), "all are used"
