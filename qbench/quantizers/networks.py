"""A network's layers with rounded weights and inputs, whichever the quantisers."""

from collections.abc import Callable

from torch import nn

from qbench.qkd.networks import Quantised

from .errors import QuantiserError

Layer = nn.Conv2d | nn.Linear


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
