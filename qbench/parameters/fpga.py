"""Parameters of the chapters about FPGAs."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from .types import (
    Configuration,
    DeviceName,
    ImageSet,
    ListOf,
    Multipliers,
    Number,
    Parallelism,
    Parameters,
    Perceptron,
    Seed,
    ThresholdStorage,
    Whole,
    evaluations,
    split,
)


class Assumed(Parameters):
    """What is assumed of the networks of chapter 3: `studies.resources.resources`."""

    network: Perceptron = Field("lfc", description="perceptron whose resources are estimated")
    parallelism: Parallelism | None = Field(
        None,
        description="PE and SIMD of every layer; None: the network's own folding",
        json_schema_extra={"allowed": "a whole number of at least 1 and at most 1024, or None"},
    )
    input_bits: Whole | None = Field(
        None,
        ge=1,
        le=16,
        description="bits of a pixel; None: 1 for lfc and sfc, 8 for tfc",
        json_schema_extra={"allowed": "a whole number of at least 1 and at most 16, or None"},
    )
    memories: Literal["a PE", "a layer"] = Field(
        "a PE", description="whether weights have a memory for each PE or one for a layer"
    )
    thresholds: ThresholdStorage = Field(
        "none", description="what holds the activations' thresholds; none: not counted"
    )
    multipliers: Multipliers = Field("lut", description="what products are made of")


class Resources(Assumed):
    device: DeviceName = Field("Z7020", description="the FPGA that the networks should fit")
    folding: Literal[2, 4, 8] = Field(8, description="PE = SIMD of the synthesised units shown")
    unit: list[Whole] | None = Field(
        None,
        description="a unit of your own to synthesise, or None",
        json_schema_extra={
            "allowed": "a list of six whole numbers (mw, mh, pe, simd, weight bits, activation "
            "bits) such as 64,16,4,8,3,2, where pe divides mh, simd divides mw and bits are 1 to "
            "8, or None"
        },
    )

    @field_validator("unit", mode="before")
    @classmethod
    def _typed(cls, value: Any) -> Any:
        return split(value) if isinstance(value, str) else value

    @field_validator("unit")
    @classmethod
    def _buildable(cls, value: list[int] | None) -> list[int] | None:
        if value is not None:
            if len(value) != 6:
                raise ValueError("not six numbers")
            mw, mh, pe, simd, *bits = value
            if min(value) < 1 or mh % pe or mw % simd or max(bits) > 8:
                raise ValueError("no such unit")
        return value


class RadarCharts(Assumed):
    configurations: Annotated[ListOf(Configuration), Field(max_length=7)] | None = Field(
        None,
        description="a family of your own, drawn beside the paper's three",
        json_schema_extra={
            "allowed": "a list of 1 to 7 names without repeats such as W2A2,W3A3, weights and "
            "activations of 1 to 8 bits, or None"
        },
    )
    dataset: Literal["mnist", "fashion-mnist"] = Field("mnist", description="whose errors count")
    epoch: Whole = Field(
        100,
        description="passes over the training images, of 100, after which the error is taken",
        json_schema_extra={
            "allowed": "a whole number of epochs after which a sweep of 100 was evaluated: 1 to "
            "10, then every fifth to 100"
        },
    )
    seeds: ListOf(Seed) = Field([0, 1, 2], description="random seeds; 0, 1 and 2 are published")
    score: Literal["rank", "range"] = Field(
        "rank", description="what is brought to 0 to 1: places among the 64, or values"
    )

    @field_validator("epoch")
    @classmethod
    def _evaluated(cls, value: int) -> int:
        if value not in evaluations(100):
            raise ValueError("not evaluated")
        return value


class FoldingThroughput(Parameters):
    configurations: ListOf(Configuration) = Field(
        ["W2A2", "W3A3", "W4A4"],
        max_length=12,
        description="bits of the weights and of the activations",
        json_schema_extra={
            "allowed": "a list of 1 to 12 without repeats, each the bits of the weights and of the "
            "activations, 1 to 8, such as W2A2"
        },
    )
    pe_simd: ListOf(Parallelism) = Field([2, 8, 16], description="PE and SIMD of every layer")
    hidden: Whole = Field(64, ge=8, le=4096, description="neurons in each of the 3 hidden layers")
    device: DeviceName = Field("Z7020", description="FPGA, by name, part or board")
    clock_mhz: Number = Field(100, gt=0, le=1000, description="clock in MHz")
    overhead_cycles: Whole = Field(
        12, ge=0, le=10_000, description="cycles between frames beyond those of the slowest layer"
    )
    share: Number = Field(
        0.8,
        gt=0,
        le=1,
        description="part of the device's resources that a searched folding may use",
    )
    most_simd: Whole = Field(64, ge=1, le=4096, description="largest SIMD of a searched folding")
    weight_storage: Literal["bram", "lut"] = Field("bram", description="where weights are kept")
    threshold_storage: Literal["none", "lut", "bram"] = Field(
        "lut", description="where thresholds are kept; none does not count them"
    )
    multipliers: Literal["lut", "dsp"] = Field("lut", description="what multipliers are made of")
    frame_rate: Number = Field(
        373_000, gt=0, description="frames a second that the cheapest folding must reach"
    )
    dataset: ImageSet = Field("fashion-mnist", description="data set of the accuracies")
    epochs: Whole = Field(100, ge=1, le=1000, description="length of the trainings")
    epoch: Whole | None = Field(
        None,
        description="epoch whose accuracies stand beside the printed ones",
        json_schema_extra={
            "allowed": "a whole number that is one of the epochs evaluated (1 to 10, every fifth "
            "and the last), or None for 40, or the last where fewer are trained"
        },
    )
    seeds: ListOf(Seed) = Field([0, 1, 2], description="random seeds of the trainings")
    train: bool = Field(False, description="train what is not stored, instead of leaving it out")

    @field_validator("epoch")
    @classmethod
    def _trained(cls, value: int | None, info: ValidationInfo) -> int | None:
        epochs = info.data.get("epochs")  # missing where it was refused itself
        if value is not None and epochs is not None and value not in evaluations(epochs):
            raise ValueError("not evaluated")
        return value

    @property
    def compared_epoch(self) -> int:
        """`epoch`, or Stewart's 40 as far as trained."""
        return min(40, self.epochs) if self.epoch is None else self.epoch
