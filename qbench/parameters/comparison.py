"""Parameters of the chapter that compares the networks of all chapters."""

from typing import Literal

from pydantic import Field

from .types import AnyImageSet, DeviceName, ListOf, Number, Parameters, ThresholdStorage, Whole

#: In the order of the figure's legend.
ComparedMethod = Literal[
    "float32",
    "bit-width sweep",
    "mixed precision",
    "post-training",
    "QAT",
    "QAT + teacher",
    "QKD",
    "distilled",
    "evolved",
    "random search",
    "sparse ternary",
    "SYQ",
    "AddNet",
    "pruned",
    "combined",
]
Cost = Literal["throughput", "lut", "bram18", "memory", "energy", "latency"]
Stored = Literal["all", "published"]
EVERY: list[str] = list(ComparedMethod.__args__)


class Comparison(Parameters):
    datasets: ListOf(AnyImageSet) = Field(
        ["mnist", "fashion-mnist", "cifar10"], description="data sets; one figure each"
    )
    methods: ListOf(ComparedMethod) = Field(EVERY, description="methods whose networks are shown")
    cost: Cost = Field(
        "throughput", description="what accuracy is set against in tables, and at first in figures"
    )
    min_accuracy: Number = Field(
        0.0, ge=0, le=100, description="test accuracy in % below which networks are left out"
    )
    real_time: Number = Field(30.0, gt=0, description="images a second that are real time")
    device: DeviceName = Field("ZU9EG", description="FPGA that the models are of")
    clock_mhz: Number = Field(100.0, gt=0, le=1000, description="its clock in MHz")
    share: Number = Field(
        0.8, gt=0, le=1, description="part of the device's resources that a design may use"
    )
    most_simd: Whole = Field(64, ge=1, le=4096, description="largest SIMD of a design")
    threshold_storage: ThresholdStorage = Field(
        "lut", description="where thresholds are kept; none does not count them"
    )
    outer_bits: Whole | None = Field(
        8,
        ge=1,
        le=16,
        description="weights of first and last layers that a method leaves in float32, in designs; "
        "None: no designs of such networks",
        json_schema_extra={"allowed": "a whole number from 1 to 16, or None"},
    )
    stored: Stored = Field(
        "all", description="which results are read: published ones, or those of this machine too"
    )
