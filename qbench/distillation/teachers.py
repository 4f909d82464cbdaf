"""Who answers for the teacher: known logits, a trained network, or one that learns as well."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Teacher(Protocol):
    """Gives the teacher's logits (N, classes), without gradient, for a batch of N images."""

    def __call__(self, places: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """`places` are the images' numbers in the training part, int64 (N,)."""
        ...


@dataclass(frozen=True)
class Cached:
    """An offline teacher that was asked beforehand: its logits (images, classes) by image.

    Only right where the student sees the very images that the teacher saw, so `fit` refuses it
    together with augmentation.
    """

    logits: Tensor

    def __call__(self, places: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        return self.logits[places]


@dataclass(frozen=True)
class Offline:
    """An offline teacher that looks at every batch itself, as augmented images need it."""

    network: nn.Module

    def __post_init__(self) -> None:
        self.network.eval()

    def __call__(self, places: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            return self.network(images)


@dataclass(frozen=True)
class Online:
    """A teacher that learns beside its student: a step of its own on the labels of each batch.

    Its logits carry no gradient: a student does not pull its teacher.
    """

    network: nn.Module
    learning_rate: float = 0.01
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        optimiser = torch.optim.SGD(
            self.network.parameters(), lr=self.learning_rate, momentum=0.9, nesterov=True
        )
        object.__setattr__(self, "optimiser", optimiser)

    def __call__(self, places: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        self.network.train()
        self.optimiser.zero_grad()
        logits = self.network(images)
        F.cross_entropy(logits, labels).backward()
        self.optimiser.step()
        return logits.detach()
