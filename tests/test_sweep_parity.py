"""The fused network against Brevitas' own layers, member by member, in float64.

In float64 no value lies so near a rounding threshold that the order of additions decides; what is
left is the float32 constant 0.1 in Brevitas' 1-bit weights (1.5e-8 of it).
"""

import pytest
import torch
from sweep_toy import batch, brevitas, deviation, gradients, layers, network_of, theirs, unsettled

from qbench.sweep import Member, grid
from qbench.sweep.network import order

EXACT, CONSTANT = 1e-8, 5e-8
NAMES = [*(f"weights {n}" for n in range(1, 5)), *(f"gain {n}" for n in range(1, 5))]
NAMES += [*(f"offset {n}" for n in range(1, 5)), *(f"scale {n}" for n in range(1, 4))]


def worst_of(network, levels, first, keep, labels):
    """(deviation, member, what) of the value that deviates most, weights and the rest apart."""
    logits, losses, ours = gradients(network, levels, first, keep, labels)
    found = {"weights": [], "rest": []}
    for index, member in enumerate(network.members):
        model = brevitas(network, index, (first, keep))
        answer, loss, grads = theirs(model, levels, labels)
        found["rest"].append((deviation(logits[index].t(), answer), member, "logits"))
        found["rest"].append((deviation(losses[index], loss), member, "loss"))
        for name, mine, grad in zip(NAMES, ours, grads, strict=False):
            kind = "weights" if name.startswith("weights") else "rest"
            found[kind].append((deviation(mine[index], grad), member, f"gradient of {name}"))
    return {kind: max(values, key=lambda value: value[0]) for kind, values in found.items()}


@pytest.mark.parametrize("weight_bits", range(1, 9))
def test_outputs_losses_and_gradients_are_brevitas_for_all_64(weight_bits, record_property):
    members = order(grid([weight_bits], range(1, 9)))
    network = unsettled(network_of(members))
    for step in range(2):
        levels, first, keep, labels = batch(members, 60, 16, seed=step)
        for kind, (size, member, what) in worst_of(network, levels, first, keep, labels).items():
            record_property(
                f"largest deviation, step {step}, {kind}", f"{size:.1e} {member} {what}"
            )
            limit = CONSTANT if weight_bits == 1 and kind == "weights" else EXACT
            assert size < limit, f"{what} of {member} deviates most, by {size:.1e} of its largest"
        network.train_step([levels * first], [keep], labels)
        network.finish(1.0)


@pytest.mark.parametrize("bits", [(1, 1), (1, 4), (2, 2), (3, 1), (4, 8), (8, 8), (32, 32)])
def test_training_follows_the_same_path(bits):
    """Five steps of Adam; 1-bit weights are clamped, running averages move.

    From unsettled offsets: where all are 0, a sum of few codes can equal its mean, and the sign of
    0 in one order of additions is not that in another.
    """
    network = unsettled(network_of([Member(*bits)]))
    start = batch(network.members, 60, 16)
    model = brevitas(network, 0, start[1:3])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(5):
        levels, first, keep, labels = batch(network.members, 60, 16, seed=step)
        model.drop_input.factor = first / 0.8
        for n in range(3):
            getattr(model, f"drop{n + 1}").factor = keep[n].t() / 0.8
        loss = network.train_step([levels * first], [keep], labels)
        _, their_loss, _ = theirs(model, levels, labels)
        optimiser.step()
        assert float(loss) == pytest.approx(float(their_loss), rel=1e-6)
    network.finish(1.0)
    with torch.no_grad():  # Brevitas clamps 1-bit weights when it next looks at them
        model.eval()(levels / 255)
    for name, mine, their in zip(NAMES, network.parameters(), layers(model), strict=False):
        assert deviation(mine[0], their.detach()) < 1e-6, name
    for n in range(4):
        norm = getattr(model, f"norm{n + 1}")
        assert deviation(network.running_mean[n][0], norm.running_mean) < 1e-6
        assert deviation(network.running_var[n][0], norm.running_var) < 1e-6
    classes = torch.cat(list(network.predict(levels)), dim=1)[0]
    for n in range(3):
        getattr(model, f"drop{n + 1}").factor = torch.ones(())
    model.drop_input.factor = torch.ones(())
    assert torch.equal(classes, model(levels / 255).argmax(1))


def test_operands_of_the_forward_products_fit_into_eight_bits():
    """So that bfloat16 or TF32 units may multiply them: nothing is lost."""
    network = unsettled(network_of(order(grid(range(1, 9), range(1, 9)))))
    levels, first, keep, _ = batch(network.members, 60, 16)
    _, tapes = network.forward([levels * first], [keep])
    operands = [levels * first, network.quantised(0)[0]]
    operands += [tape.codes for tape in tapes[1:]] + [tape.inputs for tape in tapes[1:]]
    for codes in operands:
        assert torch.equal(codes.bfloat16().double(), codes)
        assert torch.equal((2 * codes).round(), 2 * codes)
    network._last = None
    levels_used = [tapes[1].inputs[i].unique().numel() for i in range(64)]
    assert max(levels_used) > 100, "8-bit activations use their levels"
