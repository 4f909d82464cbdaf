"""A network's layers with rounded weights and inputs, whichever the quantisers."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from qbench.numbers import whole

from .errors import QuantiserError
from .syq import FixedPoint

Layer = nn.Conv2d | nn.Linear
MOST_ACT_BITS = 16


class Quantised(nn.Module):
    """A convolution or a fully connected layer whose input and weights are rounded first."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, acts: nn.Module, weights: nn.Module) -> None:
        super().__init__()
        self.layer, self.acts, self.weights = layer, acts, weights

    def forward(self, x: Tensor) -> Tensor:
        x, weight = self.acts(x), self.weights(self.layer.weight)
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, weight, self.layer.bias)
        return self.layer._conv_forward(x, weight, self.layer.bias)


def quantised(
    model: nn.Module,
    weights: Callable[[Layer], nn.Module],
    acts: Callable[[], nn.Module] = nn.Identity,
    outer: Callable[[Layer], nn.Module] | None = None,
) -> nn.Module:
    """`model`, changed in place: its layers become `Quantised`, as in Faraone 2021, section 5.6.1.

    `weights` makes the quantiser of a layer's weights, from the layer; `acts` that of its input.
    Convolutions and fully connected layers count, in the order in which `model` has them. The first
    stays as it is, and so does the image that enters it; the last keeps its weights. With `outer`,
    that makes the quantisers of both their weights, and the image stays as it is. Activations
    that can be below 0 need an `acts` that holds them: `FixedPoint` does not. Raises
    `QuantiserError` where fewer than three layers would leave nothing to quantise.
    """
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, Layer)]
    if len(found) < 3:
        raise QuantiserError(
            "a network must have at least 3 convolutions and fully connected layers, as the first "
            f"and the last keep their weights, not {len(found)}."
        )
    if outer:
        name, layer = found[0]
        model.set_submodule(name, Quantised(layer, nn.Identity(), outer(layer)))
    for name, layer in found[1:-1]:
        model.set_submodule(name, Quantised(layer, acts(), weights(layer)))
    name, layer = found[-1]
    model.set_submodule(name, Quantised(layer, acts(), outer(layer) if outer else nn.Identity()))
    return model


def acts_of(bits: int, fraction_bits: int | None) -> nn.Module:
    """The quantiser of activations from 0 on, of 1 to 16 bits or, with 32, none: see `FixedPoint`.

    Raises `QuantiserError`, also unless `fraction_bits` is None with 32 bits.
    """
    if not whole(bits) or not (1 <= bits <= MOST_ACT_BITS or bits == 32):
        raise QuantiserError(
            f"act_bits must be a whole number from 1 to {MOST_ACT_BITS}, or 32 for float32, "
            f"not {bits!r}."
        )
    if bits == 32:
        if fraction_bits is not None:
            raise QuantiserError(
                f"fraction_bits must be None where activations are float32, not {fraction_bits!r}."
            )
        return nn.Identity()
    try:
        return FixedPoint(bits, fraction_bits)
    except QuantiserError as error:
        raise QuantiserError(f"fraction_bits cannot be {fraction_bits!r}: {error}") from None


def usual_fraction(bits: int) -> int | None:
    """Fraction bits that leave 1 bit before the point for up to 2 bits and 2 bits for more.

    Activations up to 1.5, or to nearly 4; None for 32 bits and for what is no number of bits.
    """
    return bits - (1 if bits <= 2 else 2) if whole(bits) and bits < 32 else None
