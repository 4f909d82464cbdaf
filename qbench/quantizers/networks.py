"""A network's layers with rounded weights and inputs, whichever the quantisers."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from .errors import QuantiserError

Layer = nn.Conv2d | nn.Linear


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
) -> nn.Module:
    """`model`, changed in place: its layers become `Quantised`, as in Faraone 2021, section 5.6.1.

    `weights` makes the quantiser of a layer's weights, from the layer; `acts` that of its input.
    Convolutions and fully connected layers count, in the order in which `model` has them. The first
    stays as it is, and so does the image that enters it; the last keeps its weights. Activations
    that can be below 0 need an `acts` that holds them: `FixedPoint` does not. Raises
    `QuantiserError` where fewer than three layers would leave nothing to quantise.
    """
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, Layer)]
    if len(found) < 3:
        raise QuantiserError(
            "a network must have at least 3 convolutions and fully connected layers, as the first "
            f"and the last keep their weights, not {len(found)}."
        )
    for place, (name, layer) in enumerate(found[1:], 2):
        inner = nn.Identity() if place == len(found) else weights(layer)
        model.set_submodule(name, Quantised(layer, acts(), inner))
    return model
