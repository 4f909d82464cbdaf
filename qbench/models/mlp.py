"""The perceptrons that Vailakis 2022 trains on MNIST: DNN and KL_MLP (Section 5.2.1)."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from qbench.errors import nearest

from .errors import ModelError

# Neurons of the hidden layers, under the thesis' names in lower case and without their hyphens.
HIDDEN = {
    "dnn30": (30, 30),
    "dnn300": (300, 300),
    "dnn800": (800, 800),
    "dnn1200": (1200, 1200),
    "kl_mlp_student": (300, 300),
    "kl_mlp_teacher": (1200, 1200),
}


def mlp(hidden: Sequence[int], *, classes: int = 10, inputs: int = 28 * 28) -> nn.Sequential:
    """(N, …) images of `inputs` numbers each → (N, classes) logits.

    Every hidden layer is fully connected, with biases, and followed by ReLU; no batch norm.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    width = inputs
    for number, count in enumerate(hidden, 1):
        layers[f"linear{number}"] = nn.Linear(width, count)
        layers[f"act{number}"] = nn.ReLU(inplace=True)
        width = count
    layers["classifier"] = nn.Linear(width, classes)
    return nn.Sequential(layers)


def build(name: str, classes: int = 10, *, inputs: int = 28 * 28) -> nn.Sequential:
    """The network `name` of `HIDDEN`: (N, …) images of `inputs` numbers → (N, classes) logits.

    24,790 parameters for DNN-30, 328,810 for DNN-300 and KL_MLP_Student, 1,276,810 for DNN-800 and
    2,395,210 for DNN-1200 and KL_MLP_Teacher. These counts of Section 5.8 need two hidden layers,
    where the text gives DNN one and Table 5.1 gives KL_MLP three. Raises `ModelError` for another
    name.
    """
    if name not in HIDDEN:
        known = ", ".join(HIDDEN)
        raise ModelError(f"network must be one of {known}, not {name!r}{nearest(HIDDEN, name)}.")
    return mlp(HIDDEN[name], classes=classes, inputs=inputs)
