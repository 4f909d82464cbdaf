"""FlexStudent, the small convolutional network that Stewart et al. 2021 evolve (Figure 3)."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

CHANNELS = (32, 64, 128)  # output channels of the baseline's convolutions
NEURONS = (128, 64)  # of its hidden fully connected layers


def flex_student(
    classes: int = 10,
    *,
    channels: Sequence[int] = CHANNELS,
    neurons: Sequence[int] = NEURONS,
    inputs: int = 3,
) -> nn.Sequential:
    """FlexStudent: (N, inputs, 32, 32) images → (N, classes) logits.

    One to five convolutions (3×3, batch norm, ReLU, 2×2 max pooling), then up to four hidden fully
    connected layers (batch norm, ReLU) and the classifier. The paper calls its baseline a simple
    five-layer model and prints no sizes; ours has three convolutions and two hidden layers: 364,842
    parameters for 10 classes, 370,692 for 100. `convolutional.build` refuses other sizes.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width, size = inputs, 32
    for number, count in enumerate(channels, 1):
        layers[f"conv{number}"] = nn.Conv2d(width, count, 3, padding=1, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm2d(count)
        layers[f"act{number}"] = nn.ReLU(inplace=True)
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        width, size = count, size // 2
    layers["flatten"] = nn.Flatten()
    width *= size**2
    for number, count in enumerate(neurons, 1):
        layers[f"linear{number}"] = nn.Linear(width, count, bias=False)
        layers[f"linear_norm{number}"] = nn.BatchNorm1d(count)
        layers[f"linear_act{number}"] = nn.ReLU(inplace=True)
        width = count
    layers["classifier"] = nn.Linear(width, classes)
    return nn.Sequential(layers)
