"""Parameters of the chapter about learnt symmetric scales."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .types import (
    AnyImageSet,
    Images,
    ListOf,
    Number,
    Parameters,
    Seed,
    Whole,
    Workers,
    whole,
)

SmallNetwork = Literal["alexnet_small", "vgg_small", "resnet20"]
Granularity = Literal["pixel", "row", "layer"]
Compared = Literal["float32", "bwn", "twn", "ttq", "dorefa"]
WeightCodes = Literal["binary", "ternary"]
UnitSize = Literal["32/32", "64/32", "32/64"]


def _act_bits(value: int) -> int:
    if not (1 <= value <= 16 or value == 32):
        raise ValueError("not a width of activations")
    return value


ActBits = Annotated[
    int,
    BeforeValidator(whole),
    AfterValidator(_act_bits),
    Field(json_schema_extra={"allowed": "a whole number from 1 to 16, or 32 for float32"}),
]


class SymmetricScales(Parameters):
    dataset: AnyImageSet = Field("mnist5k", description="data set")
    networks: ListOf(SmallNetwork) = Field(["alexnet_small"], description="networks to train")
    more_networks: ListOf(SmallNetwork) | None = Field(
        None,
        description="networks that are trained in float32 and with SYQ's codes and granularities "
        "alone, at the most bits of activations; None: no more",
    )
    width: Number = Field(0.1, gt=0, le=4, description="factor of their channels and neurons")
    granularities: ListOf(Granularity) = Field(
        ["pixel", "row", "layer"], description="which weights share a scale of SYQ"
    )
    codes: ListOf(WeightCodes) = Field(
        ["ternary"], description="codes of SYQ's weights: -1 and 1, or 0 as well"
    )
    act_bits: ListOf(ActBits) = Field([2, 8], description="bits of the activations; 32: float32")
    methods: ListOf(Compared) = Field(
        ["float32", "ttq"], description="what SYQ is compared with, float32 being the baseline"
    )
    pretrained: bool = Field(
        False, description="start all but float32 from the weights of the float32 network"
    )
    printed_gradient: bool = Field(
        True,
        description="train SYQ with the scales' gradient as eq. 5.10 prints it, too, at the first "
        "granularity and the most activation bits",
    )
    epochs: Whole = Field(2, ge=1, description="passes over the training images")
    learning_rate: Number = Field(0.001, gt=0, le=1, description="of Adam, at the start")
    batch_size: Whole = Field(16, ge=2, le=10_000, description="images a training step")
    images: Images = Field(400, description="training images; None: all")
    units: ListOf(UnitSize) = Field(
        ["32/32"], description="SIMD/PE of the units of Table 5.7 that are synthesised"
    )
    seeds: ListOf(Seed) = Field([0], description="random seeds; one training with each")
    workers: Workers = Field(None, description="processes that train at once; None: one a core")
