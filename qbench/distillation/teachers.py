"""Who answers for the teacher: known logits, a trained network, or one that learns as well."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qbench.numbers import number

from .errors import DistillationError


class Teacher(Protocol):
    """Gives the teacher's logits (N, classes), without gradient, for a batch of N images."""

    def __call__(self, places: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """`places` are the images' numbers in the training part, int64 (N,)."""
        ...


@dataclass(frozen=True, eq=False)
class Cached:
    """An offline teacher that was asked beforehand: its logits (images, classes) by image.

    Only right where the student sees the very images that the teacher saw, so `fit` refuses it
    together with augmentation. There may be more logits than images: the first ones count. Raises
    `DistillationError` for logits of another shape or type.
    """

    logits: Tensor

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or not self.logits.is_floating_point():
            kind = str(self.logits.dtype).removeprefix("torch.")
            raise DistillationError(
                "a teacher's logits must be floating-point numbers of the shape (images, classes), "
                f"not {kind} of the shape {tuple(self.logits.shape)}."
            )

    def __call__(self, places: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        return self.logits[places]


@dataclass(frozen=True, eq=False)
class Offline:
    """An offline teacher that looks at every batch itself, as augmented images need it.

    Its network, put into evaluation mode, stays as it is.
    """

    network: nn.Module

    def __post_init__(self) -> None:
        self.network.eval()

    def __call__(self, places: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            return self.network(images)


@dataclass(frozen=True, eq=False)
class Online:
    """A teacher that learns beside its student: a step of its own on the labels of each batch.

    The student hears the logits from before that step, as they were computed for it. They carry no
    gradient: a student does not pull its teacher. `learning_rate`, above 0, stays the same all
    along. Raises `DistillationError` for another one.
    """

    network: nn.Module
    learning_rate: float = 0.01
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        if not number(self.learning_rate) or self.learning_rate <= 0:
            raise DistillationError(
                f"learning_rate must be a number above 0, not {self.learning_rate!r}."
            )
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
