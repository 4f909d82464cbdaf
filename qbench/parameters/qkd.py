"""Parameters of the chapters about quantisation-aware distillation."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from .types import (
    Fraction,
    Images,
    ImageSet,
    ListOf,
    Parameters,
    Seed,
    Share,
    Temperature,
    Whole,
    Workers,
    split,
    whole,
)

Dnn = Literal["dnn30", "dnn300", "dnn800", "dnn1200"]
Quantiser = Literal["minmax", "learnt"]
LowBits = Annotated[int, Field(ge=1, le=8), BeforeValidator(whole)]


def _some(phases: list[int]) -> list[int]:
    if not any(phases):
        raise ValueError("nothing to train")
    return phases


Phases = Annotated[
    list[Annotated[Whole, Field(ge=0)]],
    Field(
        min_length=3,
        max_length=3,
        json_schema_extra={
            "allowed": "a list of three whole numbers of at least 0 that are not all 0: epochs of "
            "self-studying, co-studying and tutor-studying"
        },
    ),
    AfterValidator(_some),
]


class PerceptronQkd(Parameters):
    dataset: ImageSet = Field("mnist5k", description="data set")
    networks: ListOf(Dnn) = Field(["dnn30"], description="DNNs besides the two KL_MLPs")
    bits: ListOf(LowBits) = Field([8, 2], description="bits of weights and activations")
    teacher_bits: ListOf(LowBits) = Field([8], description="bits that the teacher is trained with")
    quantisers: ListOf(Quantiser) = Field(
        ["minmax"], description="ranges: running minimum and maximum, or learnt intervals"
    )
    alphas: ListOf(Share) = Field([0.2], description="weights of the teacher of distilled DNNs")
    alpha: Share = Field(0.7, description="weight of the teacher of the KL_MLP student")
    temperature: Temperature = Field(20, description="temperature T of the KL_MLP student")
    phases: Phases = Field([30, 50, 40], description="epochs of the phases SS, CS and TS")
    share: Fraction = Field(
        0.01, description="share of all epochs, those of the phases too; one at least"
    )
    seeds: ListOf(Seed) = Field([0, 1], description="random seeds; one training with each")
    images: Images = Field(300, description="training images; None: all")
    workers: Workers = Field(None, description="processes that train at once; None: one a core")

    @field_validator("phases", mode="before")
    @classmethod
    def _typed(cls, value: object) -> object:
        return split(value)


def _bits_and_ranges(value: str) -> str:
    """`4 / Learnt` and `4/learnt` are one."""
    found = re.fullmatch(r"\s*([1-8])\s*/\s*(minmax|learnt)\s*", value, re.IGNORECASE)
    if not found:
        raise ValueError("not bits and ranges")
    return f"{found[1]}/{found[2].lower()}"


TrainedBits = Annotated[
    str,
    AfterValidator(_bits_and_ranges),
    Field(
        json_schema_extra={
            "allowed": "bits from 1 to 8, a slash, and minmax or learnt, such as 4/learnt"
        }
    ),
]
DenseNet = Literal["densenet21", "densenet37", "densenet63", "densenet121", "densenet201"]


class DenseNetQkd(Parameters):
    dataset: Literal["mnist5k", "cifar10", "cifar100"] = Field("mnist5k", description="data set")
    student: DenseNet = Field("densenet21", description="the network that is rounded")
    teacher: DenseNet = Field("densenet21", description="the network that it learns from")
    networks: ListOf(DenseNet) = Field(
        ["densenet21"], description="networks trained in both forms, and rounded after training"
    )
    bits: ListOf(LowBits) = Field([8], description="bits that networks are rounded to afterwards")
    quantisers: ListOf(Quantiser) = Field(
        ["minmax"], description="ranges then: running minimum and maximum, or learnt intervals"
    )
    trained: ListOf(TrainedBits) = Field(
        ["8/minmax"], description="bits and ranges that the student is trained with"
    )
    alpha: Share = Field(0.7, description="weight of the teacher")
    temperature: Temperature = Field(8, description="temperature T of the phases CS and TS")
    long: bool = Field(False, description="train it without a teacher as long as QKD takes, too")
    distilled: bool = Field(False, description="distil the student in float32 too, as Table 5.9")
    share: Fraction = Field(0.001, description="share of all epochs, one at least")
    seeds: ListOf(Seed) = Field([0], description="random seeds; one training with each")
    images: Images = Field(64, description="training images; None: all")
    augment: bool = Field(False, description="mirror, move and turn the training images")
    workers: Workers = Field(None, description="processes that train at once; None: one a core")
