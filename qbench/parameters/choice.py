"""Parameters of the chapter that chooses a network for a device."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .comparison import Stored
from .types import (
    AnyImageSet,
    Fraction,
    ListOf,
    Number,
    Parameters,
    ThresholdStorage,
    Whole,
    device_name,
    device_names,
    number,
)

CPU = "CPU"


def _device(value: str) -> str:
    return CPU if value.strip().upper() == CPU else device_name(value)


def _name_devices(schema: dict[str, Any]) -> None:
    schema["enum"] = [*device_names(), CPU]


Energy = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(number)] | None,
    Field(json_schema_extra={"allowed": "a number above 0, or None for no limit"}),
]
ChosenDevice = Annotated[str, AfterValidator(_device), Field(json_schema_extra=_name_devices)]
Prefer = Literal["accuracy", "frames_per_second", "resources", "energy"]


class Choice(Parameters):
    device: ChosenDevice = Field("Z7020", description="FPGA, by name, part or board; or the CPU")
    dataset: AnyImageSet = Field("fashion-mnist", description="data set")
    accuracy: Number = Field(
        88.0, ge=0, le=100, description="test accuracy in % that a network must have"
    )
    frames_per_second: Number = Field(
        30.0, ge=0, description="images a second that it must reach; 0: any"
    )
    share: Fraction = Field(
        0.8, description="part of the FPGA's LUTs, block RAM and DSPs that it may take"
    )
    energy: Energy = Field(
        None, description="energy in µJ that an image's operations may take, by a model"
    )
    prefer: Prefer = Field("accuracy", description="what matters most among those that fit")
    most_rows: Whole = Field(10, ge=1, le=100, description="rows of the table")
    devices: ListOf(ChosenDevice) = Field(
        ["Z7020", CPU], description="devices that the form offers, besides `device`"
    )
    datasets: ListOf(AnyImageSet) = Field(
        ["fashion-mnist"], description="data sets that the form offers, besides `dataset`"
    )
    clock_mhz: Number = Field(100.0, gt=0, le=1000, description="clock of the FPGAs in MHz")
    most_simd: Whole = Field(64, ge=1, le=4096, description="largest SIMD of a design")
    threshold_storage: ThresholdStorage = Field(
        "lut", description="where thresholds are kept; none does not count them"
    )
    stored: Stored = Field(
        "all", description="which results are read: published ones, or those of this machine too"
    )

    @property
    def offered_devices(self) -> list[str]:
        """The device that is asked for, and the others of the form."""
        return [self.device, *(one for one in self.devices if one != self.device)]

    @property
    def offered_datasets(self) -> list[str]:
        return [self.dataset, *(one for one in self.datasets if one != self.dataset)]
