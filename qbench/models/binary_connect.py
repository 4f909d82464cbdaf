"""The perceptron and the VGG of BinaryConnect, which Faraone 2021, chapter 3, makes ternary.

Every convolution and every fully connected layer, the first and the last too, is followed by batch
norm and has no bias: batch norm takes any constant away again, and any scale of the weights. What
the thesis counts as parameters are these layers' weights, and only they: its 14.02 million of the
VGG would be 14.03 with biases or with batch norm, and its 2.91 million of the perceptron 2.90
without the last layer.
"""

from collections import OrderedDict

from torch import Tensor, nn

from qbench.errors import nearest
from qbench.numbers import whole
from qbench.quantizers.straight_through import sign_through

from .errors import ModelError

WIDTHS = {"mlp": 1024, "vgg": 128}
MOST = {"mlp": 8192, "vgg": 512}
ACT_BITS = (1, 32)


class Sign(nn.Module):
    """Binary activations: −1 or 1; backwards the identity from −1 to 1, as in BinaryNet."""

    def forward(self, x: Tensor) -> Tensor:
        return sign_through(x)


def perceptron(
    neurons: int = 1024, *, act_bits: int = 32, inputs: int = 28 * 28, classes: int = 10
) -> nn.Sequential:
    """(N, …) images of `inputs` numbers → (N, classes) logits: 3 hidden layers of `neurons`.

    Activations are ReLU (32 bits) or the sign (1 bit). For MNIST 2,910,208 weights with 1,024
    neurons, the 2.91 million of table 3.2, and 36,806,656 with 4,096, where that table has 36.4.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    _connected(layers, [inputs, neurons, neurons, neurons, classes], act_bits)
    return nn.Sequential(layers)


def vgg(
    channels: int = 128, *, act_bits: int = 32, inputs: int = 3, classes: int = 10
) -> nn.Sequential:
    """(N, inputs, 32, 32) images → (N, classes) logits: 6 convolutions and 3 connected layers.

    3×3 convolutions of c, c, 2c, 2c, 4c and 4c channels, c being `channels`, and maximum pooling
    after every second one; then two layers of 8c neurons. Pooling comes before batch norm and the
    activation, which would leave only two values to choose the greater of. 14,022,016 weights for
    CIFAR-10, the 14.02 million of table 3.3.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = inputs
    for number, times in enumerate((1, 1, 2, 2, 4, 4), 1):
        layers[f"conv{number}"] = nn.Conv2d(width, times * channels, 3, padding=1, bias=False)
        width = times * channels
        if number % 2 == 0:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        layers[f"conv{number}_norm"] = nn.BatchNorm2d(width)
        layers[f"conv{number}_act"] = _activation(act_bits)
    layers["flatten"] = nn.Flatten()
    _connected(layers, [width * 4 * 4, 8 * channels, 8 * channels, classes], act_bits)
    return nn.Sequential(layers)


NETWORKS = {"mlp": perceptron, "vgg": vgg}


def check(name: str, width: int, act_bits: int) -> None:
    """Raise `ModelError` for another name, and for what the network cannot have."""
    if name not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise ModelError(f"network must be one of {known}, not {name!r}{nearest(NETWORKS, name)}.")
    if not whole(width) or not 1 <= width <= MOST[name]:
        raise ModelError(
            f"width of {name} must be a whole number from 1 to {MOST[name]}, not {width!r}."
        )
    if not whole(act_bits) or act_bits not in ACT_BITS:
        raise ModelError(f"act_bits must be 1, for the sign, or 32, for ReLU, not {act_bits!r}.")


def build(
    name: str, width: int | None = None, *, act_bits: int = 32, inputs: int, classes: int = 10
) -> nn.Sequential:
    """The network `name`: `width` is the neurons of "mlp", or the channels c of "vgg".

    None is the thesis' own, 1,024 and 128. Raises `ModelError` as `check`.
    """
    width = WIDTHS.get(name, 1) if width is None else width
    check(name, width, act_bits)
    return NETWORKS[name](width, act_bits=act_bits, inputs=inputs, classes=classes)


def weights(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers whose weights are quantised, by name, from the input to the logits."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }


def _connected(layers: OrderedDict[str, nn.Module], sizes: list[int], act_bits: int) -> None:
    last = len(sizes) - 1
    for number in range(1, last + 1):
        layers[f"fc{number}"] = nn.Linear(*sizes[number - 1 : number + 1], bias=False)
        layers[f"fc{number}_norm"] = nn.BatchNorm1d(sizes[number])
        if number < last:
            layers[f"fc{number}_act"] = _activation(act_bits)


def _activation(act_bits: int) -> nn.Module:
    return Sign() if act_bits == 1 else nn.ReLU(inplace=True)
