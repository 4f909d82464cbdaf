"""Residual networks for 32×32 images: ResNet8x4 and ResNet32x4 of Stewart et al. 2021, ResNet-20.

The first two are four times as wide as the family of He, Zhang, Ren and Sun 2016, section 4.2, that
ResNet-20 belongs to, and project where that pads.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (32, 64, 128, 256)  # of the stem and the three stages


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut, added; halves the image where `stride` is 2.

    Where the shapes differ, the shortcut is a 1×1 convolution with batch norm, or, if `padded`, the
    input with every second pixel and with channels of zeros behind its own: option A of He et al.

    Where the shortcut has stride 2, give it at least 16 inputs: with fewer than a vector register
    holds (8 numbers, or 16), PyTorch 2.13 writes past the end of the gradient of a 1×1 convolution
    of stride 2 in channels-last memory on x86, and the process dies sooner or later.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, padded: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if padded and (stride != 1 or inputs != outputs):
            self.shortcut = Padded(stride, outputs - inputs)
        elif stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.act(self.norm1(self.conv1(images)))
        return self.act(self.norm2(self.conv2(hidden)) + self.shortcut(images))


class Padded(nn.Module):
    """Every `stride`th pixel of (N, C, H, W), and `more` channels of zeros behind the C."""

    def __init__(self, stride: int, more: int) -> None:
        super().__init__()
        self.stride, self.more = stride, more

    def forward(self, images: Tensor) -> Tensor:
        return F.pad(images[..., :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))


def resnet(
    blocks: int,
    classes: int,
    *,
    channels: Sequence[int] = CHANNELS,
    inputs: int = 3,
    padded: bool = False,
) -> nn.Sequential:
    """(N, inputs, 32, 32) images → (N, classes) logits: a stem and three stages of `blocks` each.

    The second and the third stage halve the image; their mean over its 8×8 places is classified.
    `channels` are those of the stem and of the three stages, 16 at least (see `Block`) unless
    shortcuts are `padded`; then no stage may be narrower than the one before.
    """
    stem, *stages = channels
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, stem, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(stem),
        act=nn.ReLU(inplace=True),
    )
    width = stem
    for stage, (count, stride) in enumerate(zip(stages, (1, 2, 2), strict=True), 1):
        for block in range(1, blocks + 1):
            step = stride if block == 1 else 1
            layers[f"stage{stage}_{block}"] = Block(width, count, step, padded=padded)
            width = count
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers["classifier"] = nn.Linear(width, classes)
    return nn.Sequential(layers)


def resnet8x4(
    classes: int = 10, *, channels: Sequence[int] = CHANNELS, inputs: int = 3
) -> nn.Sequential:
    """ResNet8x4: 1,233,540 parameters for 100 classes, 1,210,410 for 10; errors as `resnet`."""
    return resnet(1, classes, channels=channels, inputs=inputs)


def resnet32x4(classes: int = 10, *, inputs: int = 3) -> nn.Sequential:
    """ResNet32x4: 7,433,860 parameters for 100 classes, 7,410,730 for 10."""
    return resnet(5, classes, inputs=inputs)


def resnet20(
    classes: int = 10, *, channels: Sequence[int] = (16, 16, 32, 64), inputs: int = 3
) -> nn.Sequential:
    """ResNet-20 of He et al. 2016, section 4.2: 269,722 parameters for 10 classes, their 0.27 M.

    Shortcuts are padded. `channels` are those of the stem and of the three stages.
    """
    return resnet(3, classes, channels=channels, inputs=inputs, padded=True)
