"""Sweeps that take no time, and one step of a fused network beside Brevitas'; not a test itself.

A test module makes its own fixture of `home`.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from store_toy import empty_stores
from torch import Tensor, nn
from torch.nn import functional as F

from qbench import data, sweep
from qbench.data.loading import Dataset, Split
from qbench.models.tfc import quant_tfc
from qbench.sweep import Member
from qbench.sweep.network import Network

CLASSES = 4
DROPOUT = 0.2  # of the steps beside Brevitas'
KINDS = ("weights", "gain", "offset", "scale")
NAMES = [f"{kind} {n}" for kind in KINDS for n in range(1, 5)][:-1]  # of `Network.parameters()`


# Sweeps


def images(count: int = 300, pixels: int = 36, classes: int = CLASSES) -> Dataset:
    """Random 8-bit images around one centre a class, so easy that a few epochs learn them."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (classes, pixels))

    def split(size: int) -> Split:
        labels = rng.integers(0, classes, size)
        noisy = centres[labels] + rng.normal(0, 60, (size, pixels))
        levels = noisy.clip(0, 255).round().astype(np.float32) / 255
        return Split(torch.from_numpy(levels), torch.from_numpy(labels))

    return Dataset("toy", tuple("abcdefghijkl"[:classes]), split(count), split(101), split(97))


def run(members: Iterable[Member], toy: Dataset | None = None, **options) -> sweep.Outcome:
    """`sweep.train` of a few epochs."""
    settings = {"epochs": 3, "hidden": 16, "batch_size": 50} | options
    return sweep.train(list(members), toy or images(), **settings)


def home(tmp_path, monkeypatch):
    """Empty stores, and `images()` in place of every data set."""
    empty_stores(tmp_path, monkeypatch)
    monkeypatch.setattr(data, "load", lambda name, **_: images())
    return tmp_path


def same(tables: dict[Member, pd.DataFrame], expected: dict[Member, pd.DataFrame]) -> None:
    """The members of `tables` have the tables that they have in `expected`, to the last bit."""
    assert tables
    for member, table in tables.items():
        pd.testing.assert_frame_equal(table, expected[member], check_exact=True, obj=str(member))


def trained(outcome: sweep.Outcome, member: Member) -> Tensor:
    """All that a member has learnt, and the averages of batch norm."""
    network, index = outcome.network(member)
    tensors = [*network.parameters(), *network.running_mean, *network.running_var]
    return torch.cat([tensor[index].flatten() for tensor in tensors])


def same_networks(outcome: sweep.Outcome, expected: sweep.Outcome) -> None:
    """Tables, weights and averages of all members of `outcome` are those in `expected`."""
    same(outcome.tables, expected.tables)
    for member in outcome.tables:
        assert torch.equal(trained(outcome, member), trained(expected, member)), member


# One step beside Brevitas'


def network_of(members: list[Member], inputs: int = 60, hidden: int = 16) -> Network:
    """In float64, with batch norm and activation scales other than at the start.

    Offsets above all: where they are 0, a sum of few codes can equal its mean, and then the order
    of additions decides on the sign of what is left.
    """
    network = Network(members, inputs=inputs, classes=10, hidden=hidden, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    for tensor in network.gamma:
        tensor.uniform_(0.5, 1.5, generator=generator)
    for tensor in network.beta:
        tensor.uniform_(-0.5, 0.5, generator=generator)
    for tensor, act in zip(network.sigma, network.acts, strict=True):
        noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
        tensor.copy_(1 + 0.3 * act.learns * noise)
    return network


class Batch:
    """Images, dropout masks and labels for one stream, in float64."""

    def __init__(self, network: Network, seed: int, count: int = 50):
        (inputs, hidden), generator = network.sizes[0], torch.Generator().manual_seed(seed)
        self.levels = torch.randint(0, 256, (count, inputs), generator=generator).double()
        self.first = (torch.rand(count, inputs, generator=generator) >= DROPOUT).double()
        self.keep = (torch.rand(3, hidden, count, generator=generator) >= DROPOUT).double()
        self.labels = torch.randint(0, 10, (1, count), generator=generator)

    def step(self, network: Network) -> Tensor:
        """One step of training; the losses."""
        loss = network.train_step([self.levels * self.first], [self.keep], self.labels)
        network.finish(1.0)
        return loss

    def gradients(self, network: Network) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Logits, losses and the gradients of `parameters()`, of all members; updates nothing."""
        logits, tapes = network.forward([self.levels * self.first], [self.keep])
        logits = logits.clone()
        log = logits.log_softmax(1)
        target = self.labels[network.stream].unsqueeze(1)
        losses = -log.gather(1, target).mean((1, 2))
        slope = log.exp()
        slope.scatter_add_(1, target, -torch.ones_like(target, dtype=slope.dtype))
        rest = network.backward(slope / self.labels.shape[1], tapes)
        found = [network.first_gradient(), *rest]
        network._last = None
        return logits, losses, found


class Mask(nn.Module):
    """In the place of dropout: multiplies by what it is told to."""

    factor = torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Beside:
    """A member of a network as Brevitas has it, with the same weights, in float64."""

    def __init__(self, network: Network, index: int):
        self.member = network.members[index]
        (inputs, hidden), bits = network.sizes[0], self.member.layer_bits
        self.model = quant_tfc(
            inputs=inputs, hidden=hidden, weight_bits=bits[0], act_bits=bits[1]
        ).double()
        names = ["drop_input", "drop1", "drop2", "drop3"]
        self.masks = [Mask() for _ in names]
        for name, mask in zip(names, self.masks, strict=True):
            self.model._modules[name] = mask
        norms = [self.model.get_submodule(f"norm{n}") for n in range(1, 5)]
        ours = [tensor[index] for tensor in network.parameters()]
        averages = network.running_mean + network.running_var
        with torch.no_grad():
            for name, parameter in self.parameters().items():
                parameter.copy_(ours[NAMES.index(name)].reshape(parameter.shape))
            self.averages = [n.running_mean for n in norms] + [n.running_var for n in norms]
            for average, value in zip(self.averages, averages, strict=True):
                average.copy_(value[index, :, 0])
        self.model.train()

    def parameters(self) -> dict[str, Tensor]:
        """By the names of NAMES; constant activation scales are none."""
        parts = {"linear": "weight", "norm": "weight", " norm": "bias", "act": ""}
        found = {}
        for kind, (part, leaf) in zip(KINDS, parts.items(), strict=True):
            for n in range(1, 4 if part == "act" else 5):
                layer = self.model.get_submodule(f"{part.strip()}{n}")
                own = [getattr(layer, leaf)] if leaf else list(layer.parameters())
                found |= {f"{kind} {n}": parameter for parameter in own}
        return found

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and loss with the batch's masks; the gradients are there afterwards."""
        self.masks[0].factor = batch.first / (1 - DROPOUT)
        for mask, keep in zip(self.masks[1:], batch.keep, strict=True):
            mask.factor = keep.t() / (1 - DROPOUT)
        self.model.zero_grad()
        logits = self.model(batch.levels / 255)
        loss = F.cross_entropy(logits, batch.labels[0])
        loss.backward()
        return logits.detach(), loss.detach()

    @torch.no_grad()
    def classes(self, levels: Tensor) -> Tensor:
        """What it takes the images for in evaluation mode."""
        for mask in self.masks:
            mask.factor = Mask.factor
        classes = self.model.eval()(levels / 255).argmax(1)
        self.model.train()
        return classes


def deviation(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to the largest magnitude of `b`."""
    assert a.numel() == b.numel()
    return float((a.reshape(b.shape) - b).abs().max() / b.abs().max().clamp_min(1e-12))
