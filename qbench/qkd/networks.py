"""Networks that are trained here: stacks of perceptrons, and single networks, with quantisers.

All of them see images (M, B, …) and give logits (M, B, classes) for M networks that do not know of
each other: member m's logits and gradients are those that it has alone, up to rounding (to the last
bit where a library multiplies one matrix as it multiplies several). Every tensor of a state has M
equal parts along dimension 0, so that states can be cut and joined.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qbench.numbers import whole
from qbench.quantizers.networks import Quantised
from qbench.quantizers.ranges import KINDS

from .errors import StudyError

FLOAT = 32
INPUT_BITS = 8  # images arrive with 256 levels


@dataclass(frozen=True)
class Bits:
    """How a network is quantised: `weights` and `acts` bits (1 to 8, 32 is float32).

    quantiser: "minmax" (running averages, Vailakis 2022, section 5.1.9) or "learnt" (intervals as
    in section 3.6.1). per_channel: a range for each output channel's weights instead of one for the
    tensor. The input keeps 8 bits, and biases and logits stay float32.
    Raises `StudyError` for values that are not allowed.
    """

    weights: int = FLOAT
    acts: int = FLOAT
    quantiser: str = "minmax"
    per_channel: bool = False

    def __post_init__(self) -> None:
        for name, value in (("weight_bits", self.weights), ("act_bits", self.acts)):
            if not whole(value) or not (1 <= value <= 8 or value == FLOAT):
                raise StudyError(
                    f"{name} must be a whole number from 1 to 8, or 32 for float32, not {value!r}."
                )
        if self.quantiser not in KINDS:
            raise StudyError(
                f"quantiser must be one of {', '.join(KINDS)}, not {self.quantiser!r}."
            )

    @property
    def any(self) -> bool:
        """Whether anything is quantised."""
        return (self.weights, self.acts) != (FLOAT, FLOAT)

    def weight(self, members: int, outputs: int) -> nn.Module:
        """The quantiser of a layer's weights, of all members."""
        if self.weights == FLOAT:
            return nn.Identity()
        groups = members * outputs if self.per_channel else members
        return KINDS[self.quantiser](self.weights, groups, signed=True)

    def act(self, members: int, *, signed: bool = False) -> nn.Module:
        """The quantiser of a layer's input; `signed` where that can be below 0."""
        if self.acts == FLOAT:
            return nn.Identity()
        # The affine codes of running averages hold negative numbers in any case.
        signed = signed and self.quantiser == "learnt"
        return KINDS[self.quantiser](self.acts, members, signed=signed)

    def image(self, members: int) -> nn.Module:
        """The quantiser of the input."""
        return KINDS["minmax"](INPUT_BITS, members, signed=False) if self.any else nn.Identity()


class Stack(nn.Module):
    """M perceptrons of one shape: images (M, B, inputs) → logits (M, B, classes).

    inputs–h–…–h–classes with biases and ReLU. `seeds` are the members', for their initial weights:
    those of `nn.Linear` after `torch.manual_seed(seed)`.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        *,
        inputs: int,
        hidden: Sequence[int],
        classes: int,
        bits: Bits | None = None,
    ) -> None:
        super().__init__()
        self.members = len(seeds)
        sizes = list(pairwise([inputs, *hidden, classes]))
        made = [_linear_layers(seed, sizes) for seed in seeds]
        self.weights = nn.ParameterList(
            torch.stack([one[layer].weight for one in made]) for layer in range(len(sizes))
        )
        self.biases = nn.ParameterList(
            torch.stack([one[layer].bias for one in made])[:, None] for layer in range(len(sizes))
        )
        bits = bits or Bits()
        self.weight_quantisers = nn.ModuleList(bits.weight(self.members, out) for _, out in sizes)
        self.act_quantisers = nn.ModuleList(
            bits.act(self.members) if layer else bits.image(self.members)
            for layer in range(len(sizes))
        )

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = self.act_quantisers[layer](x)
            weight = self.weight_quantisers[layer](weight)
            x = _Linear.apply(x, weight, bias)
            x = F.relu(x) if layer < last else x
        return x

    def network(self, member: int) -> nn.Sequential:
        """One member by itself, float or quantised: images (B, …) → logits (B, classes)."""
        layers: list[nn.Module] = [nn.Flatten()]
        for layer in range(len(self.weights)):
            weight, bias = self.weights[layer][member], self.biases[layer][member, 0]
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.weight.data, linear.bias.data = weight.detach(), bias.detach()
            quantisers = [
                _of_member(quantiser, member, self.members)
                for quantiser in (self.act_quantisers[layer], self.weight_quantisers[layer])
            ]
            layers += [Quantised(linear, *quantisers), nn.ReLU()]
        return nn.Sequential(*layers[:-1]).eval()


class _Linear(torch.autograd.Function):
    """x Wᵀ + b for x (M, B, I), W (M, O, I) and b (M, 1, O).

    As `torch.baddbmm`, but the gradient of W comes in the layout of W: the library's would be
    transposed, and moving it costs as much as half of a product.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias, x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        back = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return back, torch.bmm(gradient.transpose(1, 2), x), gradient.sum(1, keepdim=True)


class Single(nn.Module):
    """One network as a stack of one: images (1, B, C, H, W) → logits (1, B, classes).

    With `bits` every convolution and fully connected layer is replaced by `Quantised`; the first
    one's input keeps 8 bits. `signed` names the layers whose input can be below 0.
    """

    def __init__(
        self, model: nn.Module, bits: Bits | None = None, signed: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.members, self.model, self.signed = 1, model, list(signed)
        if bits is None or not bits.any:
            return
        layers = [
            (name, layer)
            for name, layer in model.named_modules()
            if isinstance(layer, nn.Conv2d | nn.Linear)
        ]
        for place, (name, layer) in enumerate(layers):
            acts = bits.act(1, signed=name in signed) if place else bits.image(1)
            weights = bits.weight(1, layer.weight.shape[0])
            model.set_submodule(name, Quantised(layer, acts, weights))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x[0])[None]

    def network(self, member: int = 0) -> nn.Module:
        """The network by itself, in evaluation mode."""
        return self.model.eval()


@torch.no_grad()
def signed_inputs(model: nn.Module, images: Tensor) -> list[str]:
    """The layers of `model` whose input is below 0 somewhere, for these images; evaluation mode."""
    found: dict[str, bool] = {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs, name=name: found.update({name: bool((inputs[0] < 0).any())})
        )
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    model.eval()(images)
    for hook in hooks:
        hook.remove()
    return [name for name, negative in found.items() if negative]


@torch.no_grad()
def calibrate(model: nn.Module, images: Tensor) -> None:
    """Let the quantisers see images (M, N, …), in one batch; everything else stays as it is."""
    with _only_quantisers_learn(model):
        model(images)


@contextmanager
def _only_quantisers_learn(model: nn.Module) -> Iterator[None]:
    model.eval()
    for module in model.modules():
        if isinstance(module, tuple(KINDS.values())):
            module.train()
    try:
        yield
    finally:
        model.eval()


def parts(state: Mapping[str, Tensor], members: int) -> list[dict[str, Tensor]]:
    """The state of each member of a stack."""
    cut = {name: value.chunk(members) if members > 1 else (value,) for name, value in state.items()}
    return [
        {name: values[member].clone() for name, values in cut.items()} for member in range(members)
    ]


def joined(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The state of the stack of these members: the inverse of `parts`."""
    if len(states) == 1:
        return dict(states[0])
    return {name: torch.cat([state[name] for state in states]) for name in states[0]}


def _linear_layers(seed: int, sizes: Sequence[tuple[int, int]]) -> list[nn.Linear]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [nn.Linear(*size) for size in sizes]


def _of_member(quantiser: nn.Module, member: int, members: int) -> nn.Module:
    """The part of a stack's quantiser that is one member's."""
    if isinstance(quantiser, nn.Identity):
        return quantiser
    alone: Any = type(quantiser)(
        quantiser.bits, quantiser.groups // members, signed=quantiser.signed
    )
    alone.load_state_dict(parts(quantiser.state_dict(), members)[member])
    return alone.eval()
