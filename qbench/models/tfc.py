"""TFC, the three-hidden-layer perceptron of Ducasse et al. 2021 and Stewart et al. 2021."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from qbench.quantizers.brevitas_layers import hard_tanh, linear, pixels


def quant_tfc(
    *,
    inputs: int = 1024,
    classes: int = 10,
    hidden: int = 64,
    weight_bits: int | Sequence[int] = 4,
    act_bits: int | Sequence[int] = 4,
    dropout: float = 0.2,
) -> nn.Sequential:
    """QuantTFC: (N, inputs) images in [0, 1] → (N, classes) logits.

    Inputs are the 8-bit levels of pixels and dropped out; each of three hidden layers is fully
    connected, batch norm, quantised HardTanh, dropout; a fully connected layer and batch norm
    follow. No layer has a bias. Weights are scaled by output channel, in the last layer by tensor.
    Bits may be one number for the whole network, or one for each of the four layers' weights and
    for each of the three activations.
    """
    weights = list(weight_bits) if isinstance(weight_bits, Sequence) else [weight_bits] * 4
    acts = list(act_bits) if isinstance(act_bits, Sequence) else [act_bits] * 3
    layers = OrderedDict(
        quantise_input=pixels() if acts != [32] * 3 else nn.Identity(),
        drop_input=nn.Dropout(dropout),
    )
    width = inputs
    for number in (1, 2, 3):
        layers[f"linear{number}"] = linear(width, hidden, weights[number - 1])
        layers[f"norm{number}"] = nn.BatchNorm1d(hidden)
        layers[f"act{number}"] = hard_tanh(acts[number - 1])
        layers[f"drop{number}"] = nn.Dropout(dropout)
        width = hidden
    layers["linear4"] = linear(width, classes, weights[3], per_channel=False)
    layers["norm4"] = nn.BatchNorm1d(classes)
    return nn.Sequential(layers)
