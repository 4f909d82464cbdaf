"""Parameters of the chapter about sparse ternary networks."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .types import (
    AnyImageSet,
    Count,
    Images,
    ImageSet,
    ListOf,
    Number,
    Parameters,
    Seed,
    Whole,
    Workers,
    number,
)

Threshold = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), BeforeValidator(number)]


def _thresholds(value: str) -> str:
    """`0.90 / 0.95` and `0.9/0.95` are one."""
    found = re.fullmatch(r"\s*(\d*\.?\d+)\s*/\s*(\d*\.?\d+)\s*", value)
    if not found or not all(float(one) < 1 for one in found.groups()):
        raise ValueError("not two thresholds")
    return "/".join(f"{float(one):.15g}" for one in found.groups())


Pruned = Annotated[
    str,
    AfterValidator(_thresholds),
    Field(
        json_schema_extra={
            "allowed": "two thresholds of at least 0 and below 1, eta and sigma, with a slash "
            "between them, such as 0.9/0.95"
        }
    ),
]


class SparseTernary(Parameters):
    dataset: ImageSet = Field("mnist5k", description="data set of the perceptron")
    images: Images = Field(400, description="training images; None: all")
    width: Whole = Field(32, ge=1, le=8192, description="neurons in each of the 3 hidden layers")
    act_bits: Literal[1, 32] = Field(32, description="activations: 1 binary, 32 ReLU in float32")
    pruned: ListOf(Pruned) = Field(
        ["0.9/0.95", "0.9/0.9", "0.9/0.65", "0.5/0.5"],
        description="cells of Table 3.1: thresholds of quantisation and of pruning",
    )
    eta: Threshold = Field(0.9, description="threshold of the sparse network, pruned there as well")
    strength: Number = Field(1e-5, ge=0, description="lambda of its L2 regularisation")
    iterations: Whole = Field(2, ge=1, le=4, description="how often it is pruned and retrained")
    epochs: Whole = Field(
        1, ge=1, description="passes over the images in each training and retraining"
    )
    learning_rate: Number = Field(
        0.03, gt=0, le=1, description="Adam's learning rate at the start of each"
    )
    long: bool = Field(
        False, description="train dense ternary networks as long as the sparse ones in all, too"
    )
    vgg: bool = Field(False, description="train the VGG, too")
    vgg_dataset: AnyImageSet = Field("cifar10", description="its data set")
    vgg_channels: Whole = Field(128, ge=1, le=512, description="channels of its first convolutions")
    vgg_strength: Number = Field(
        1e-4, ge=0, description="lambda of its L2 regularisation: its gradients are larger"
    )
    vgg_epochs: Count = Field(1, description="passes over the images in each of its trainings")
    vgg_images: Annotated[
        Annotated[int, Field(ge=2, le=60_000)] | None,
        Field(json_schema_extra={"allowed": "a whole number from 2 to 60000, or None"}),
    ] = Field(None, description="its training images; None: all")
    decompressor: bool = Field(False, description="synthesise decoders with Yosys")
    seeds: ListOf(Seed) = Field([0, 1], description="random seeds; one training with each")
    workers: Workers = Field(None, description="processes that train at once; None: one a core")
