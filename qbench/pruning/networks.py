"""A network of the book with the weights and activations of Faraone 2021, chapter 4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.numbers import whole
from qbench.quantizers.errors import QuantiserError
from qbench.quantizers.networks import Layer, Quantised, quantised
from qbench.quantizers.ranges import MinMax
from qbench.quantizers.scaled import Dorefa, Twn
from qbench.quantizers.syq import FixedPoint

from .errors import PruningError
from .rebuilding import links
from .shapes import Conv, Network

#: Bits of the weights between the first and the last layer.
WEIGHTS = {"binary": 1, "ternary": 2, "float32": 32}
OUTER_BITS = 8  # weights of the first and of the last layer, section 4.6.1
MOST_ACT_BITS = 16


@dataclass(frozen=True)
class Rounding:
    """Weights and activations of section 4.3; raises `PruningError` for what cannot be.

    weights: "binary" α · sign(W) with α = mean |W| of the layer (eq. 4.1 with the scale of
    DoReFa-Net), "ternary" of Ternary Weight Networks (eq. 4.2 with its threshold and scale), or
    "float32", where nothing is rounded. The first and the last layer have 8 bits (section 4.6.1);
    pixels are 8 bits as they come. act_bits: 1 to 16 bits by eq. 4.4, `fraction_bits` of them f,
    32 for none.
    """

    weights: str = "binary"
    act_bits: int = 2
    fraction_bits: int | None = 1

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise PruningError(
                f"weights must be one of {', '.join(WEIGHTS)}, not {self.weights!r}."
            )
        bits, fraction = self.act_bits, self.fraction_bits
        if not whole(bits) or not (1 <= bits <= MOST_ACT_BITS or bits == 32):
            raise PruningError(
                f"act_bits must be a whole number from 1 to {MOST_ACT_BITS}, or 32 for float32, "
                f"not {bits!r}."
            )
        if (self.weights == "float32") != (bits == 32):
            raise PruningError(
                "weights and activations must both be float32 or both rounded, not "
                f"{self.weights} with activations of {bits} bits."
            )
        if bits == 32 and fraction is not None:
            raise PruningError(
                f"fraction_bits must be None where activations are float32, not {fraction!r}."
            )
        if bits < 32:
            try:
                FixedPoint(bits, fraction)
            except QuantiserError as error:
                raise PruningError(f"fraction_bits cannot be {fraction!r}: {error}") from None

    def put_into(self, model: nn.Sequential) -> nn.Sequential:
        """`model`, changed in place: its layers become `Quantised`; float32 stays as it is."""
        if self.weights == "float32":
            return model
        chain = links(model)
        made = {"binary": lambda layer: Dorefa(1), "ternary": lambda layer: Twn()}[self.weights]
        model = quantised(model, made, lambda: FixedPoint(self.act_bits, self.fraction_bits))
        outer = MinMax(OUTER_BITS, signed=True)
        first = Quantised(chain[0].layer, nn.Identity(), outer)
        model.set_submodule(chain[0].name, first)
        model.get_submodule(chain[-1].name).weights = MinMax(OUTER_BITS, signed=True)
        return model


def shapes(
    model: nn.Sequential, inputs: int, rounding: Rounding, *, name: str, side: int = 32
) -> Network:
    """What the cost models see of a sequential network for images of (inputs, side, side).

    Raises `PruningError` for float32, which no design computes with, and as `links`.
    """
    if rounding.weights == "float32":
        raise PruningError("a network must be rounded for a design: weights must not be float32.")
    sizes: dict[str, int] = {}
    chain = links(model)

    def noting(of: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            sizes[of] = given[0].shape[-1]

        return note

    parts = {one.name: model.get_submodule(one.name) for one in chain}
    hooks = [part.register_forward_pre_hook(noting(of)) for of, part in parts.items()]
    training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, inputs, side, side).to(chain[0].layer.weight))
    model.train(training)
    for hook in hooks:
        hook.remove()
    made = []
    for place, one in enumerate(chain):
        outer = place in (0, len(chain) - 1)
        bits = OUTER_BITS if outer else WEIGHTS[rounding.weights]
        made.append(_shape(one.name, one.layer, bits, sizes[one.name], one.spread))
    return Network(name, inputs, tuple(made), rounding.act_bits)


def _shape(name: str, layer: Layer, bits: int, size: int, spread: int) -> Conv:
    count = layer.weight.shape[0]
    if isinstance(layer, nn.Linear):
        return Conv(name, count, bits, spread=spread)
    return Conv(
        name,
        count,
        bits,
        kernel=layer.kernel_size[0],
        size=size,
        stride=layer.stride[0],
        padding=layer.padding[0],
    )
