"""The DenseNets of Vailakis 2022 for images of 32×32 pixels, as published and ready for a DPU."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .errors import ModelError

FORMS = ("original", "modified")
GROWTH = 32  # channels that a layer adds
BOTTLENECK = 4  # its 1×1 convolution has this many times the growth

# Layers of the four dense blocks: Tables 3.1 and 5.2, but for DenseNet-105, see `densenet`.
BLOCKS = {
    "densenet21": (1, 2, 3, 2),
    "densenet37": (2, 4, 6, 4),
    "densenet63": (3, 6, 12, 8),
    "densenet105": (4, 9, 16, 21),
    "densenet121": (6, 12, 24, 16),
    "densenet201": (6, 12, 48, 32),
}


class Concatenate(nn.Module):
    """The channels of both, one after the other; a module, so that quantisers find it."""

    def forward(self, images: Tensor, more: Tensor) -> Tensor:
        return torch.cat((images, more), 1)


class DenseLayer(nn.Module):
    """(N, inputs, H, W) → (N, inputs + growth, H, W): by 1×1 and 3×3, joined to what came in."""

    def __init__(self, inputs: int, growth: int, form: str) -> None:
        super().__init__()
        narrow = BOTTLENECK * growth
        self.body = nn.Sequential(
            OrderedDict(_unit(form, inputs, narrow, 1, "1") | _unit(form, narrow, growth, 3, "2"))
        )
        self.join = Concatenate()

    def forward(self, images: Tensor) -> Tensor:
        return self.join(images, self.body(images))


def densenet(
    blocks: Sequence[int],
    classes: int = 10,
    *,
    form: str = "original",
    inputs: int = 3,
    growth: int = GROWTH,
) -> nn.Sequential:
    """(N, inputs, 32, 32) images → (N, classes) logits, with `blocks` layers in each dense block.

    `original` is the network of Huang et al. 2016 with a 3×3 stem of stride 1: BN-ReLU-Conv in the
    dense blocks, BN-Conv-pool between them (a ReLU there would change no count), BN-ReLU at the
    end. `modified` is Section 6.1's: Conv-BN-ReLU in the dense blocks and, as we take it, in the
    stem, Conv-BN-pool between them, and at the end no BN, as no convolution precedes it. Then every
    BN can become part of a convolution (`fusion.fuse`); of the original's only the second of each
    layer can. The thesis calls the joints additions, but the channels are concatenated.

    For 100 classes:

    ============  =============  ====================  ====================  =============
    network       blocks         parameters, original  parameters, modified  MACs
    ============  =============  ====================  ====================  =============
    DenseNet-21   1, 2, 3, 2     419,420               418,140               88,850,096
    DenseNet-37   2, 4, 6, 4     1,008,964             1,004,100             193,194,560
    DenseNet-63   3, 6, 12, 8    2,353,676             2,337,740             341,922,192
    DenseNet-105  4, 9, 16, 21   5,358,244             5,311,268             551,849,984
    DenseNet-121  6, 12, 24, 16  7,048,548             6,985,508             888,442,880
    DenseNet-201  6, 12, 48, 32  18,277,220            18,082,340            1,364,061,696
    ============  =============  ====================  ====================  =============

    Section 5.8 prints the original's parameters. DenseNet-105's blocks are printed nowhere; of all
    four-block networks with its 50 layers, (2, 16, 9, 23), (4, 9, 16, 21), (4, 19, 1, 26) and
    (4, 20, 5, 21) have that many. `BLOCKS` has the only one whose first three blocks grow, as those
    of all others do; the true one cannot be told by counting.

    Raises `ModelError` for a form that is not in `FORMS`.
    """
    if form not in FORMS:
        raise ModelError(f"form must be one of {', '.join(FORMS)}, not {form!r}.")
    width = 2 * growth
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, width, 3, padding=1, bias=False)
    )
    if form == "modified":
        layers |= {"norm": nn.BatchNorm2d(width), "act": nn.ReLU(inplace=True)}
    for block, count in enumerate(blocks, 1):
        if block > 1:
            layers[f"transition{block - 1}"] = _transition(form, width)
            width //= 2
        for number in range(1, count + 1):
            layers[f"block{block}_{number}"] = DenseLayer(width, growth, form)
            width += growth
    if form == "original":
        layers |= {"norm": nn.BatchNorm2d(width), "act": nn.ReLU(inplace=True)}
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers["classifier"] = nn.Linear(width, classes)
    return nn.Sequential(layers)


def _unit(form: str, inputs: int, outputs: int, size: int, number: str = "") -> dict:
    """A convolution with its batch norm and ReLU, before it (`original`) or after it."""
    conv = {"conv": nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)}
    norm = {"norm": nn.BatchNorm2d(inputs if form == "original" else outputs)}
    act = {"act": nn.ReLU(inplace=True)}
    parts = norm | act | conv if form == "original" else conv | norm | act
    return {f"{name}{number}": part for name, part in parts.items()}


def _transition(form: str, inputs: int) -> nn.Sequential:
    """(N, inputs, H, W) → (N, inputs // 2, H // 2, W // 2), without an activation."""
    parts = _unit(form, inputs, inputs // 2, 1)
    del parts["act"]
    return nn.Sequential(OrderedDict(parts, pool=nn.AvgPool2d(2)))
