"""Parameters of the chapter about bits for every layer."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from .types import (
    DeviceName,
    ImageSet,
    ListOf,
    Number,
    Parameters,
    Refused,
    Seed,
    ThresholdStorage,
    Whole,
)

Layer = Literal["linear1", "linear2", "linear3", "linear4", "act1", "act2", "act3"]
EVERY = ["linear1", "linear2", "linear3", "linear4", "act1", "act2", "act3"]


class MixedPrecision(Parameters):
    dataset: ImageSet = Field("mnist5k", description="data set to train on")
    least_bits: Whole = Field(1, ge=1, le=8, description="fewest bits of a layer")
    most_bits: Whole = Field(
        3,
        ge=2,
        le=8,
        description="most bits of a layer; the profile lowers layers from these",
        json_schema_extra={"allowed": "a whole number above least_bits and at most 8"},
    )
    searched: ListOf(Layer) = Field(
        EVERY,
        description="weights (linear1 to linear4) and activations (act1 to act3) whose bits are "
        "searched; the others keep most_bits",
    )
    device: DeviceName = Field("Z7020", description="FPGA that networks must fit")
    share: Number = Field(0.8, gt=0, le=1, description="part of the device that they may use")
    frame_rate: Number = Field(
        373_000, gt=0, description="frames a second that every network must reach"
    )
    clock_mhz: Number = Field(100, gt=0, le=1000, description="clock in MHz")
    threshold_storage: ThresholdStorage = Field(
        "lut", description="where thresholds are kept; none does not count them"
    )
    cost: Literal["lut", "bram18", "share"] = Field(
        "lut",
        description="what a network costs: LUTs, block RAM, or the share of the device's resource "
        "that it uses most",
    )
    hidden: Whole = Field(64, ge=8, le=4096, description="neurons in each of the 3 hidden layers")
    learning_rate: Number = Field(0.01, gt=0, le=1, description="Adam's initial learning rate")
    dropout: Number = Field(0.2, ge=0, lt=1, description="dropout on the inputs and hidden layers")
    batch_size: Whole = Field(100, ge=2, le=10_000, description="images a training step")
    epochs: Whole = Field(
        1, ge=1, le=1000, description="passes over the images in the profile and in the search"
    )
    search_seeds: ListOf(Seed) = Field(
        [100], description="random seeds of the trainings in the profile and in the search"
    )
    population: Whole = Field(
        6,
        ge=2,
        le=1000,
        description="networks of a generation, trained as one",
        json_schema_extra={
            "allowed": "a whole number from 2 to 1000, and at most the different networks that "
            "there are"
        },
    )
    generations: Whole = Field(3, ge=1, le=1000, description="generations, the first one counted")
    start: Literal["profile", "random"] = Field(
        "profile",
        description="first generation: half of it where the profile leads, or all at random",
    )
    error_step: Number = Field(
        0.1, ge=0, le=50, description="errors are ranked in steps of so many points"
    )
    seed: Seed = Field(0, description="random seed of the search itself")
    finalists: Whole = Field(
        3, ge=1, le=50, description="networks of the front that are compared at the end"
    )
    final_epochs: Whole = Field(2, ge=1, le=1000, description="passes over the images at the end")
    seeds: ListOf(Seed) = Field(
        [0, 1],
        description="random seeds of the comparison, none of them a search's",
        json_schema_extra={
            "allowed": "a list of one or more whole numbers of at least 0 and below 2147483648, "
            "without repeats and none of search_seeds"
        },
    )

    @field_validator("most_bits")
    @classmethod
    def _above(cls, value: int, info: ValidationInfo) -> int:
        least = info.data.get("least_bits")  # missing where it was refused itself
        if least is not None and value <= least:
            raise Refused(f"least_bits is {least}.")
        return value

    @field_validator("population")
    @classmethod
    def _there_are(cls, value: int, info: ValidationInfo) -> int:
        known = [info.data.get(name) for name in ("least_bits", "most_bits", "searched")]
        if None not in known:
            least, most, searched = known
            there = (most - least + 1) ** len(searched)
            if value > there:
                raise Refused(f"there are {there}.")
        return value

    @field_validator("seeds")
    @classmethod
    def _unseen(cls, value: list[int], info: ValidationInfo) -> list[int]:
        shared = set(value) & set(info.data.get("search_seeds", []))
        if shared:
            raise Refused(f"{min(shared)} is one of search_seeds.")
        return value
