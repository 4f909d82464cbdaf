"""MobileNetV2 for images of 32×32 pixels, a teacher of Stewart et al. 2021."""

from collections import OrderedDict

from torch import Tensor, nn

# Expansion, output channels, blocks and stride of each stage: Sandler et al. 2018, Table 2. There
# the stem and four of the stages halve the image, from 224 pixels to 7. Here it has 32 pixels, and
# the second stage keeps its size instead.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _conv(
    inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    ]


class InvertedResidual(nn.Module):
    """Expand by 1×1, filter each channel by 3×3, project by 1×1 without activation; add if alike.

    The input is added where the stride is 1 and the channels stay the same.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.body = nn.Sequential(
            *(_conv(inputs, hidden) if expansion != 1 else []),
            *_conv(hidden, hidden, 3, stride, hidden),
            *_conv(hidden, outputs)[:2],
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        return images + self.body(images) if self.adds else self.body(images)


def mobilenet_v2(classes: int = 10, *, inputs: int = 3) -> nn.Sequential:
    """MobileNetV2 of width 1: (N, inputs, 32, 32) images → (N, classes) logits.

    2,236,682 parameters for 10 classes, 2,351,972 for 100. The images are 32, 16, 8, 4 and 2 pixels
    wide on their way, as the stem has stride 2.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(*_conv(inputs, 32, 3, 2)))
    width = 32
    for stage, (expansion, count, blocks, stride) in enumerate(STAGES, 1):
        for block in range(1, blocks + 1):
            step = stride if block == 1 else 1
            layers[f"stage{stage}_{block}"] = InvertedResidual(width, count, step, expansion)
            width = count
    layers["head"] = nn.Sequential(*_conv(width, 1280))
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers["classifier"] = nn.Linear(1280, classes)
    return nn.Sequential(layers)
