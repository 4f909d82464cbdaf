"""A network whose layers hold ternary weights, with the real ones that learn behind them.

w_r are real weights in [−1, 1], w_q the ternary ones and w_m the mask of Faraone 2021, eqs. 3.1,
3.6 and 3.8. The network itself computes with w_q and nothing else: what is evaluated is what would
be put on a device.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qbench.models.binary_connect import weights
from qbench.quantizers.ternary import ternary

from .errors import SparsityError


class Ternary:
    """`model` with w_r, w_q and w_m in each of its convolutions and fully connected layers.

    eta: η of the convolutions and of the fully connected layers. w_r begin uniform in [−1, 1],
    drawn with `seed`, so that a share η of w_q is 0 at first. The thesis does not say so, but with
    it η = ⅓ partitions the weight space uniformly, η = 0.9 begins with high sparsity (section
    3.2.1), and weights as small as those of Glorot would all be 0.
    """

    def __init__(self, model: nn.Module, eta: tuple[float, float], seed: int = 0) -> None:
        self.model, self.layers = model, weights(model)
        self.eta = self._each(eta)
        numbers = torch.Generator().manual_seed(seed)
        self.real = {name: _uniform(layer.weight, numbers) for name, layer in self.layers.items()}
        self.mask: dict[str, Tensor] = {}  # 1 and 0 as float32, of what has been pruned; else none
        self.quantise()

    @torch.no_grad()
    def quantise(self) -> None:
        """Put w_q, made of w_r, into the layers."""
        for name, layer in self.layers.items():
            ternary(self.real[name], self.eta[name], out=layer.weight.data)
            if name in self.mask and self.eta[name] == 0:  # the sign of a pruned weight is no zero
                layer.weight.data.mul_(self.mask[name])

    @torch.no_grad()
    def gradients(self, strength: float) -> None:
        """Hand w_r the gradient g₁ = dC/dw_q + λ w_q of algorithm 2; 0 where a weight is pruned."""
        for name, layer in self.layers.items():
            gradient, layer.weight.grad = layer.weight.grad, None
            if strength:
                gradient.add_(layer.weight, alpha=strength)
            if name in self.mask:
                gradient.mul_(self.mask[name])
            self.real[name].grad = gradient

    @torch.no_grad()
    def clip(self) -> None:
        """Keep w_r in [−1, 1]."""
        for real in self.real.values():
            real.clamp_(-1, 1)

    @torch.no_grad()
    def prune(self, sigma: tuple[float, float]) -> int:
        """Set w_r from −σ to σ to 0, to stay there (eqs. 3.6 and 3.8).

        sigma: σ of the convolutions and of the fully connected layers. Returns how many of these
        w_q were not 0. Raises `SparsityError`, and prunes nothing, where a layer would have no
        weight left.
        """
        limits = self._each(sigma)
        small = {name: real.abs() <= limits[name] for name, real in self.real.items()}
        for name, which in small.items():
            if which.all():
                raise SparsityError(
                    f"sigma = {limits[name]:.7g} would prune all {which.numel():,} weights of "
                    f"{name}, whose largest magnitude is {float(self.real[name].abs().max()):.7g}."
                )
        lost = 0
        for name, which in small.items():
            lost += int((self.layers[name].weight[which] != 0).sum())
            self.real[name].masked_fill_(which, 0)
            self.mask[name] = (~which).float()
        self.quantise()
        return lost

    def parameters(self) -> list[Tensor]:
        """What learns: w_r and the numbers of batch norm."""
        quantised = {id(layer.weight) for layer in self.layers.values()}
        others = [one for one in self.model.parameters() if id(one) not in quantised]
        return [*self.real.values(), *others]

    @property
    def count(self) -> int:
        """How many weights there are: what the thesis calls parameters."""
        return sum(real.numel() for real in self.real.values())

    def pruned(self) -> int:
        """How many weights stay at 0."""
        return sum(int((mask == 0).sum()) for mask in self.mask.values())

    def nonzeros(self) -> dict[str, int]:
        """How many w_q are not 0, layer by layer."""
        return {name: int(layer.weight.count_nonzero()) for name, layer in self.layers.items()}

    def state(self) -> dict[str, dict[str, Tensor]]:
        """All that training changes: `real`, `pruned` (booleans) and `rest`, of batch norm.

        These are the tensors themselves, not copies. `load` takes them back.
        """
        quantised = {f"{name}.weight" for name in self.layers}
        every = self.model.state_dict()
        return {
            "real": dict(self.real),
            "pruned": {name: mask == 0 for name, mask in self.mask.items()},
            "rest": {name: value for name, value in every.items() if name not in quantised},
        }

    def _each(self, pair: tuple[float, float]) -> dict[str, float]:
        """The first number for convolutions, the second for fully connected layers, by name."""
        return {name: pair[isinstance(layer, nn.Linear)] for name, layer in self.layers.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from `state`."""
        for name, real in self.real.items():
            real.copy_(state["real"][name])
        self.mask = {name: (~pruned).float() for name, pruned in state["pruned"].items()}
        self.model.load_state_dict(state["rest"], strict=False)
        self.quantise()


def copied(state: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """A state of its own, which further training leaves as it is."""
    return {part: {name: one.clone() for name, one in own.items()} for part, own in state.items()}


def _uniform(like: Tensor, numbers: torch.Generator) -> Tensor:
    """Uniform in (−1, 1) and never 0: the odd multiples of 2⁻²⁴."""
    drawn = torch.rand(like.shape, generator=numbers)
    real = torch.empty_like(like, requires_grad=False)  # in memory as the layer's weights are
    return real.copy_(drawn.mul_(2).sub_(1 - 2**-24))
