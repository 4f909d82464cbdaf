"""A network whose weights and activations are rounded as one of the compared methods has it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.numbers import whole
from qbench.quantizers.errors import QuantiserError
from qbench.quantizers.networks import Layer, Quantised, acts_of, quantised
from qbench.quantizers.scaled import Bwn, Dorefa, Ttq, Twn
from qbench.quantizers.syq import (
    BINARY,
    GRANULARITIES,
    SCALE_GRADIENTS,
    TERNARY,
    ScaleGradient,
    for_layer,
)

from .errors import SyqError

#: Bits of the weights that each method can have, as the thesis counts them: 2 is ternary, but for
#: DoReFa, whose k bits are 2ᵏ levels.
WEIGHT_BITS = {
    "float32": (32,),
    "syq": (1, 2),
    "bwn": (1,),
    "twn": (2,),
    "ttq": (2,),
    "dorefa": tuple(range(1, 9)),
}
METHODS = tuple(WEIGHT_BITS)
LEARNT = ("syq", "ttq")  # methods whose scales have a gradient


@dataclass(frozen=True)
class Rounding:
    """How weights and activations are rounded; raises `SyqError` for what cannot be.

    method: one of `METHODS`. weight_bits: one of `WEIGHT_BITS[method]`. granularity: "pixel", "row"
    or "layer" for "syq", None for the others, which bring their own. act_bits: 1 to 16, or 32 for
    none. fraction_bits: f of eq. 5.13, from −16 to 32, for `act_bits` below 32, else None; it
    sets the greatest activation 2^(bits−f) − 2^−f, which the thesis tunes. scale_gradient: see
    `Symmetric` and `Ttq`; "chain" for the others.
    """

    method: str
    weight_bits: int
    granularity: str | None = None
    act_bits: int = 32
    fraction_bits: int | None = None
    scale_gradient: ScaleGradient = "chain"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SyqError(f"method must be one of {', '.join(METHODS)}, not {self.method!r}.")
        bits = WEIGHT_BITS[self.method]
        if not whole(self.weight_bits) or self.weight_bits not in bits:
            known = f"{bits[0]} to {bits[-1]}" if len(bits) > 2 else " or ".join(map(str, bits))
            raise SyqError(
                f"weight_bits of {self.method} must be {known}, not {self.weight_bits!r}."
            )
        if self.method == "syq" and self.granularity not in GRANULARITIES:
            raise SyqError(
                f"granularity of syq must be one of {', '.join(GRANULARITIES)}, "
                f"not {self.granularity!r}."
            )
        if self.method != "syq" and self.granularity is not None:
            raise SyqError(
                f"granularity is syq's: for {self.method} it must be None, "
                f"not {self.granularity!r}."
            )
        if self.scale_gradient not in SCALE_GRADIENTS:
            raise SyqError(
                f"scale_gradient must be one of {', '.join(SCALE_GRADIENTS)}, "
                f"not {self.scale_gradient!r}."
            )
        if self.method not in LEARNT and self.scale_gradient != "chain":
            raise SyqError(
                f"scale_gradient of {self.method}, whose scales are not learnt, must be chain, "
                f"not {self.scale_gradient!r}."
            )
        try:
            self.acts()
        except QuantiserError as error:
            raise SyqError(str(error)) from None

    def acts(self) -> nn.Module:
        """The quantiser of a layer's input."""
        return acts_of(self.act_bits, self.fraction_bits)

    def weights(self, layer: Layer) -> nn.Module:
        """The quantiser of a layer's weights as they are now."""
        if self.method == "syq":
            eta = BINARY if self.weight_bits == 1 else TERNARY
            return for_layer(layer, self.granularity, eta=eta, scale_gradient=self.scale_gradient)
        if self.method == "ttq":
            return Ttq(scale_gradient=self.scale_gradient)
        if self.method == "dorefa":
            return Dorefa(self.weight_bits)
        return {"float32": nn.Identity, "bwn": Bwn, "twn": Twn}[self.method]()

    def put_into(self, model: nn.Module) -> nn.Module:
        """`model`, changed in place: see `quantizers.networks.quantised`; float32 stays as it is.

        The first layer keeps its weights and its input, the last its weights (section 5.6.1).
        """
        if self.method == "float32" and self.act_bits == 32:
            return model
        return quantised(model, self.weights, self.acts)


@dataclass(frozen=True)
class Shape:
    """A layer whose weights are rounded: K × K kernels from I to N maps of `size`² pixels."""

    name: str
    kernel: int
    inputs: int
    outputs: int
    size: int


def shapes(model: nn.Module, inputs: int, side: int = 32) -> list[Shape]:
    """The layers of a network of square kernels that methods round: all but the first and the last.

    `model` must not be rounded yet and sees an image of (inputs, side, side). A fully connected
    layer counts as a convolution with kernels of 1 × 1 and one pixel.
    """
    sizes: dict[str, int] = {}
    layers = {n: m for n, m in model.named_modules() if isinstance(m, Layer)}

    def noted(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def note(layer: nn.Module, given: tuple, out: Tensor) -> None:
            sizes[name] = out.shape[-1] if out.ndim == 4 else 1

        return note

    hooks = [layer.register_forward_hook(noted(name)) for name, layer in layers.items()]
    training = model.training
    device = next(model.parameters()).device
    with torch.no_grad():
        model.eval()(torch.zeros(1, inputs, side, side, device=device))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return [
        Shape(
            name,
            layer.kernel_size[0] if isinstance(layer, nn.Conv2d) else 1,
            layer.weight.shape[1],
            layer.weight.shape[0],
            sizes[name],
        )
        for name, layer in list(layers.items())[1:-1]
    ]


@torch.no_grad()
def rounded(model: nn.Module) -> dict[str, Tensor]:
    """The weights that rounded layers compute with, by the layer's name, without the last one's."""
    return {
        name: part.weights(part.layer.weight)
        for name, part in model.named_modules()
        if isinstance(part, Quantised) and not isinstance(part.weights, nn.Identity)
    }
