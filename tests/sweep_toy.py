"""Small sweeps to test with, and one training step of both the fused network and Brevitas'."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from qbench.data.loading import Dataset, Split
from qbench.models.tfc import quant_tfc
from qbench.sweep.network import Network

CLASSES = 4


def images(n=300, pixels=36, seed=0):
    """A data set of random 8-bit images that a small network can learn: (Dataset)."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (CLASSES, pixels))

    def split(count):
        labels = rng.integers(0, CLASSES, count)
        noisy = centres[labels] + rng.normal(0, 60, (count, pixels))
        levels = noisy.clip(0, 255).round().astype(np.float32) / 255
        return Split(torch.from_numpy(levels), torch.from_numpy(labels))

    return Dataset("toy", tuple("abcd"), split(n), split(100), split(100))


class Mask(nn.Module):
    """In the place of dropout: multiplies by what it is told to."""

    factor: torch.Tensor

    def forward(self, x):
        return x * self.factor


def batch(members, inputs, hidden, count=50, seed=1):
    """Codes, masks, labels as `Network.train_step` takes them, in float64, for one stream."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (count, inputs), generator=generator).double()
    first = (torch.rand(count, inputs, generator=generator) > 0.2).double()
    keep = (torch.rand(3, hidden, count, generator=generator) > 0.2).double()
    labels = torch.randint(0, 10, (1, count), generator=generator)
    return levels, first, keep, labels


def unsettled(network, seed=2):
    """Give batch norm and activation scales other values than they start from."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.gamma:
        tensor.uniform_(0.5, 1.5, generator=generator)
    for tensor in network.beta:
        tensor.uniform_(-0.5, 0.5, generator=generator)
    for tensor in network.sigma:
        noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
        tensor.copy_(1 + 0.3 * network.act_learns * noise)
    return network


def layers(model):
    """The parameters of a Brevitas model in the order of `Network.parameters()`."""
    numbers = (1, 2, 3, 4)
    found = [getattr(model, f"linear{n}").weight for n in numbers]
    found += [getattr(model, f"norm{n}").weight for n in numbers]
    found += [getattr(model, f"norm{n}").bias for n in numbers]
    return found + [
        parameter for n in (1, 2, 3) for parameter in getattr(model, f"act{n}").parameters()
    ]


def brevitas(network, index, masks, dropout=0.2):
    """The member as a float64 Brevitas model in training mode, with these dropout masks."""
    member = network.members[index]
    model = quant_tfc(
        inputs=network.sizes[0][0],
        hidden=network.sizes[0][1],
        weight_bits=member.weight_bits,
        act_bits=member.act_bits,
    ).double()
    first, keep = masks
    for name, factor in {
        "drop_input": first,
        **{f"drop{n + 1}": keep[n].t() for n in range(3)},
    }.items():
        model._modules[name] = mask = Mask()
        mask.factor = factor / (1 - dropout)
    ours = [tensor[index] for tensor in network.parameters()]
    if len(layers(model)) < len(ours):  # constant activation scales are no parameters of Brevitas'
        ours = ours[:12]
    with torch.no_grad():
        for theirs, value in zip(layers(model), ours, strict=True):
            theirs.copy_(value.reshape(theirs.shape))
        for n in range(4):
            norm = getattr(model, f"norm{n + 1}")
            norm.running_mean.copy_(network.running_mean[n][index, :, 0])
            norm.running_var.copy_(network.running_var[n][index, :, 0])
    return model.train()


def gradients(network, levels, first, keep, labels):
    """Logits, losses and the gradients of `parameters()` of every member; nothing is updated."""
    logits, tapes = network.forward([levels * first], [keep])
    log = logits.log_softmax(1)
    target = labels[network.stream].unsqueeze(1)
    losses = -log.gather(1, target).mean((1, 2))
    slope = log.exp()
    slope.scatter_add_(1, target, -torch.ones_like(target, dtype=slope.dtype))
    rest = network.backward(slope / labels.shape[1], tapes)
    found = [network.first_gradient(), *rest]
    network._last = None
    return logits, losses, found


def theirs(model, levels, labels):
    """Logits, loss and gradients of a Brevitas model, in the same order."""
    logits = model(levels / 255)
    loss = F.cross_entropy(logits, labels[0])
    model.zero_grad()
    loss.backward()
    return logits.detach(), loss.detach(), [parameter.grad for parameter in layers(model)]


def deviation(a, b):
    """Largest difference, relative to the largest magnitude."""
    scale = max(float(b.abs().max()), 1e-12)
    return float((a.reshape(b.shape) - b).abs().max()) / scale


def network_of(members, inputs=60, hidden=16):
    return Network(members, inputs=inputs, classes=10, hidden=hidden, dtype=torch.float64)
