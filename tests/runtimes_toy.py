"""A small network with every kind of layer that the book exports; not a test itself."""

import pytest
import torch
from torch import nn

from qbench.runtimes import RuntimesError, to_ir, to_onnx

IMAGE, CLASSES = (3, 16, 16), 10


class Toy(nn.Module):
    """Convolution, depthwise and pointwise convolution with a way around, two linear layers."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.block = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 8, 1),
            nn.BatchNorm2d(8),
        )
        self.head = nn.Sequential(
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(8 * 4 * 4, 12),
            nn.BatchNorm1d(12),
            nn.ReLU(),
            nn.Linear(12, CLASSES),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        before = self.stem(images)
        return self.head(torch.relu(before + self.block(before)))


# Multiply-accumulates of Toy by hand: outputs × terms of each layer.
MACS = 16 * 16 * 8 * 27 + 8 * 8 * 8 * 9 + 8 * 8 * 8 * 8 + 12 * 128 + CLASSES * 12


def images(count: int = 300, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, *IMAGE, generator=torch.Generator().manual_seed(seed))


def toy(seed: int = 0) -> Toy:
    """A network whose normalisation has seen images and does something; in training mode."""
    model = Toy(seed)
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim == 1:
                tensor.add_(0.2 * torch.randn(tensor.shape))
        for number in range(5):
            model(images(64, seed=100 + number))
    return model


def exported(folder, model: nn.Module | None = None):
    """ONNX file and IR of `model`, by default of `toy()`."""
    file = to_onnx(model or toy(), images(2), folder / "toy.onnx")
    return file, to_ir(file, folder / "toy.xml")


def refused(ask) -> str:
    """The `RuntimesError` of `ask()`: one sentence on one line."""
    with pytest.raises(RuntimesError) as caught:
        ask()
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    return said
