"""Parameters of the chapter about combined methods and other devices."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from .sparsity import Threshold
from .types import (
    AnyImageSet,
    Count,
    ListOf,
    Number,
    Parameters,
    Refused,
    Seed,
    Share,
    Temperature,
    Whole,
    Workers,
    there_are,
)

MODELLED = ("dpu-b512", "dpu-b1024", "dpu-b4096", "dpu-b4096-no-ports", "macs")
Device = Literal[
    "dpu-b512",
    "dpu-b1024",
    "dpu-b4096",
    "dpu-b4096-no-ports",
    "macs",
    "openvino",
    "onnxruntime",
    "pytorch",
]
IMAGES = {
    "allowed": "a whole number of at least 1 and at most the training images that there are, "
    "or None"
}


class Combining(Parameters):
    ranges: Literal["learnt", "minmax"] = Field(
        "learnt", description="quantisers of chapter 8 in the first figure; the table has both"
    )
    dataset: AnyImageSet = Field("mnist5k", description="data set of the combined networks")
    images: Count | None = Field(
        200, description="training images; None: all", json_schema_extra=IMAGES
    )
    width: Whole = Field(4, ge=1, le=512, description="channels of the VGG's first convolutions")
    granularity: Literal["pixel", "row"] = Field(
        "pixel", description="what has a learnt scale where scaling is on; off: the layer"
    )
    dense_eta: Threshold = Field(1 / 3, description="threshold of ternary weights, not sparse")
    eta: Threshold = Field(
        0.9,
        description="threshold of the sparse ones, pruned there as well",
        json_schema_extra={"allowed": "a number above dense_eta and below 1"},
    )
    strength: Number = Field(1e-4, ge=0, description="lambda of the sparse ones' L2")
    teacher: Literal["mobilenet_v2", "resnet32x4", "resnet8x4"] = Field(
        "resnet8x4", description="float32 network whose answers are listened to"
    )
    teacher_images: Count | None = Field(
        200,
        description="its training images; None: all",
        json_schema_extra={
            "allowed": "a whole number of at least images and at most the training images that "
            "there are, or None"
        },
    )
    teacher_epochs: Count = Field(1, description="its passes over them")
    alpha: Share = Field(
        0.5,
        description="weight of the labels α, β = 1 - α",
        json_schema_extra={"allowed": "a number of at least 0 and below 1"},
    )
    temperature: Temperature = Field(4, description="temperature T")
    epochs: Count = Field(1, description="passes in the training, and as many in the retraining")
    learning_rate: Number = Field(
        0.03, gt=0, le=1, description="Adam's learning rate at the start of each"
    )
    seeds: ListOf(Seed) = Field([0, 1], description="random seeds; all combinations with each")
    margin: Number = Field(
        0.5, ge=0, le=50, description="points of error that count as nothing, for additive"
    )
    devices: ListOf(Device) = Field(
        ["dpu-b512", "dpu-b4096", "dpu-b4096-no-ports", "macs"],
        description="second devices: models of DPUs, a count, runtimes on this processor",
    )
    drawn: Device = Field(
        "dpu-b4096",
        description="the one of them that figures show",
        json_schema_extra={"allowed": "one of devices"},
    )
    evolve: bool = Field(
        False, description="evolve for the drawn device as well, which trains students"
    )
    resamples: Whole = Field(
        500, ge=100, le=100_000, description="bootstrap resamples of rank correlations"
    )
    workers: Workers = Field(None, description="processes that train at once; None: one a core")

    _there_are = field_validator("images", "teacher_images")(there_are)

    @field_validator("eta")
    @classmethod
    def _sparser(cls, value: float, info: ValidationInfo) -> float:
        dense = info.data.get("dense_eta")  # missing where it was refused itself
        if dense is not None and value <= dense:
            raise Refused(f"dense_eta is {dense:.3g}.")
        return value

    @field_validator("teacher_images")
    @classmethod
    def _seen(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and "images" in info.data:
            images = info.data["images"]
            if images is None or value < images:
                raise Refused(f"images is {images}.")
        return value

    @field_validator("alpha")
    @classmethod
    def _listens(cls, value: float) -> float:
        if value == 1:
            raise Refused("with 1 nobody listens to the teacher.")
        return value

    @field_validator("drawn")
    @classmethod
    def _among(cls, value: str, info: ValidationInfo) -> str:
        if value not in info.data.get("devices", [value]):
            raise Refused(f"devices are {', '.join(info.data['devices'])}.")
        return value

    @field_validator("evolve")
    @classmethod
    def _by_formula(cls, value: bool, info: ValidationInfo) -> bool:
        drawn = info.data.get("drawn", MODELLED[0])
        if value and drawn not in MODELLED:
            raise Refused(f"drawn is {drawn}, and a search needs one of {', '.join(MODELLED)}.")
        return value
