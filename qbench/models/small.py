"""AlexNet, VGG, ResNet and a perceptron for images of 32×32 pixels, each with a width.

For Faraone 2021, chapters 4 to 6.

The thesis trains AlexNet, a variant of VGG-16 and ResNet-18, -34 and -50 on ImageNet. These are the
families at the size of CIFAR-10 and of a processor with two cores; the sizes are ours. As in
section 5.6.1, AlexNet has batch norm and no dropout.
"""

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from qbench.errors import nearest
from qbench.numbers import number

from . import binary_connect, resnet
from .errors import ModelError

WIDEST = 4


def alexnet_small(width: float = 1, classes: int = 10, *, inputs: int = 3) -> nn.Sequential:
    """(N, inputs, 32, 32) images → (N, classes) logits: 5 convolutions and 3 connected layers.

    5×5 convolutions of 64 and 192 channels and 3×3 ones of 384, 256 and 256, maximum pooling after
    the first, the second and the last, then two layers of 1,024 neurons. Batch norm follows all
    but the last layer, which alone has biases. 7,709,642 parameters for 10 classes; `width`
    multiplies the channels and the neurons.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    last = inputs
    sizes = ((64, 5, True), (192, 5, True), (384, 3, False), (256, 3, False), (256, 3, True))
    for place, (count, kernel, pooled) in enumerate(sizes, 1):
        count = scaled(count, width)
        layers[f"conv{place}"] = nn.Conv2d(last, count, kernel, padding=kernel // 2, bias=False)
        if pooled:
            layers[f"pool{place}"] = nn.MaxPool2d(2)
        layers[f"conv{place}_norm"] = nn.BatchNorm2d(count)
        layers[f"conv{place}_act"] = nn.ReLU(inplace=True)
        last = count
    layers["flatten"] = nn.Flatten()
    last *= 4 * 4
    for place in (1, 2):
        neurons = scaled(1024, width)
        layers[f"fc{place}"] = nn.Linear(last, neurons, bias=False)
        layers[f"fc{place}_norm"] = nn.BatchNorm1d(neurons)
        layers[f"fc{place}_act"] = nn.ReLU(inplace=True)
        last = neurons
    layers["fc3"] = nn.Linear(last, classes)
    return nn.Sequential(layers)


def vgg_small(width: float = 1, classes: int = 10, *, inputs: int = 3) -> nn.Sequential:
    """The VGG of BinaryConnect: 6 convolutions, 3 connected layers; see `binary_connect.vgg`.

    14,029,716 parameters for 10 classes, batch norm's among them; `width` multiplies the channels
    and the neurons.
    """
    return binary_connect.vgg(scaled(128, width), inputs=inputs, classes=classes)


def resnet20(width: float = 1, classes: int = 10, *, inputs: int = 3) -> nn.Sequential:
    """ResNet-20, 269,722 parameters for 10 classes; `width` multiplies the channels."""
    channels = [scaled(count, width) for count in (16, 16, 32, 64)]
    return resnet.resnet20(classes, channels=channels, inputs=inputs)


def perceptron(width: float = 1, classes: int = 10, *, inputs: int = 3) -> nn.Sequential:
    """(N, inputs, 32, 32) images → (N, classes) logits: three hidden layers of 1,024 neurons.

    Batch norm follows them; the last layer alone has biases. 5,259,274 parameters for 10 classes
    and colours; `width` multiplies the neurons.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    last = inputs * 32 * 32
    for place in (1, 2, 3):
        neurons = scaled(1024, width)
        layers[f"fc{place}"] = nn.Linear(last, neurons, bias=False)
        layers[f"fc{place}_norm"] = nn.BatchNorm1d(neurons)
        layers[f"fc{place}_act"] = nn.ReLU(inplace=True)
        last = neurons
    layers["fc4"] = nn.Linear(last, classes)
    return nn.Sequential(layers)


NETWORKS: dict[str, Callable[..., nn.Sequential]] = {
    "alexnet_small": alexnet_small,
    "vgg_small": vgg_small,
    "resnet20": resnet20,
    "perceptron": perceptron,
}
#: How networks are called on the page.
TITLES = {
    "alexnet_small": "AlexNet-small",
    "vgg_small": "VGG-small",
    "resnet20": "ResNet-20",
    "perceptron": "perceptron",
}


def build(name: str, width: float = 1, classes: int = 10, *, inputs: int = 3) -> nn.Sequential:
    """The network `name`, channels and neurons times `width`; raises `ModelError` as `check`."""
    check(name, width)
    return NETWORKS[name](width, classes, inputs=inputs)


def check(name: str, width: float) -> None:
    """Raise `ModelError` for another name, or a width that is not above 0 and at most 4."""
    if name not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise ModelError(f"network must be one of {known}, not {name!r}{nearest(NETWORKS, name)}.")
    if not number(width) or not 0 < width <= WIDEST:
        raise ModelError(f"width must be a number above 0 and at most {WIDEST}, not {width!r}.")


def scaled(count: int, width: float) -> int:
    """`count` channels or neurons times `width`, rounded, at least 1."""
    return max(1, round(count * width))
