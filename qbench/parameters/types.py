"""What parameters can be: whole numbers, lists, bit widths, data sets, devices, …

Every type brings its check; what is allowed is said in words by `qbench.parameters.describe`, from
the type's JSON schema or its `allowed` text.
"""

import operator
import re
from collections.abc import Mapping
from contextlib import suppress
from types import NoneType
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from qbench.errors import UserError


class Refused(ValueError):
    """Why a value is refused, where what is allowed in general does not tell."""


def whole(value: Any) -> Any:
    """Refuse what pydantic would quietly turn into an int: `True`, `3.0`, `"3.0"`, `"1_0"`."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value):
        return value
    if not isinstance(value, bool):
        with suppress(TypeError):
            return operator.index(value)
    raise ValueError("not a whole number")


def number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


def split(value: Any) -> Any:
    """`"2,3,4"` → `["2", "3", "4"]`, a single value → a list of one; anything else as it is."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) else value


def unique(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError("repeated values")
    return values


def _bit_width(value: int) -> int:
    if not (1 <= value <= 8 or value == 32):
        raise ValueError("not a bit width")
    return value


def _configuration(value: str) -> str:
    """`w3a4`, `W3-A4` and `W3A4` are one configuration, and called `W3A4`."""
    found = re.fullmatch(r"\s*W([1-8])[-–]?A([1-8])\s*", value, re.IGNORECASE)
    if not found:
        raise ValueError("not a configuration")
    return f"W{found[1]}A{found[2]}"


def device_name(value: str) -> str:
    """The name of an FPGA that was given by name, part or board."""
    from qbench.hardware import device  # needs NumPy, which --help does without

    return device(value).name


def device_names() -> list[str]:
    from qbench.hardware import devices

    return devices.names()


def _name_devices(schema: dict[str, Any]) -> None:
    schema["enum"] = device_names()


def _runtime_device(value: str) -> str:
    if value.upper() == "CPU":  # there is one on every machine
        return "CPU"
    from qbench.studies.evolution_networks import device_of  # needs torch and OpenVINO

    try:
        return device_of(value)
    except UserError as error:
        raise Refused(str(error)) from None


def there_are(value: int | None, info: ValidationInfo) -> int | None:
    """Refuse more images than the data set has."""
    if value is not None and (dataset := info.data.get("dataset")):
        from qbench.data import specs

        if value > specs.find(dataset).split["train"]:
            raise ValueError("more than there are")
    return value


def ListOf(item: Any) -> Any:
    """A list without repeats, at least one long, which may be typed as `2,3,4`."""
    typed = BeforeValidator(split)
    return Annotated[list[item], Field(min_length=1), AfterValidator(unique), typed]


Whole = Annotated[int, BeforeValidator(whole)]
Seed = Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(whole)]
Number = Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False)]
BitWidth = Annotated[
    Whole,
    AfterValidator(_bit_width),
    Field(json_schema_extra={"allowed": "a whole number from 1 to 8, or 32 for float32"}),
]
ImageSet = Literal["mnist5k", "mnist", "fashion-mnist"]
AnyImageSet = Literal["mnist5k", "mnist", "fashion-mnist", "cifar10", "cifar100"]
TeacherAndStudent = Literal[
    "mobilenet_v2/flex_student", "resnet32x4/flex_student", "resnet32x4/resnet8x4"
]
Perceptron = Literal["lfc", "sfc", "tfc"]
ThresholdStorage = Literal["none", "lut", "bram"]
Multipliers = Literal["lut", "dsp"]
Configuration = Annotated[str, AfterValidator(_configuration)]
Parallelism = Annotated[int, Field(ge=1, le=1024), BeforeValidator(whole)]
Count = Annotated[int, Field(ge=1), BeforeValidator(whole)]
Images = Annotated[
    Count | None,
    AfterValidator(there_are),
    Field(
        json_schema_extra={
            "allowed": "a whole number of at least 1 and at most the training images that there "
            "are, or None"
        }
    ),
]
Workers = Annotated[
    Annotated[int, Field(ge=1, le=256), BeforeValidator(whole)] | None,
    Field(json_schema_extra={"allowed": "a whole number from 1 to 256, or None"}),
]
Temperature = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False), BeforeValidator(number)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(number)]
Fraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), BeforeValidator(number)]
RuntimeDevice = Annotated[
    str,
    AfterValidator(_runtime_device),
    Field(
        json_schema_extra={
            "allowed": "one of the devices that OpenVINO finds here, such as CPU, or macs"
        }
    ),
]
DeviceName = Annotated[str, AfterValidator(device_name), Field(json_schema_extra=_name_devices)]


def OneOrEach(of: str) -> Any:
    """A list of whole numbers of at least 1: one for all, or one for each of the list `of`."""
    allowed = f"a list of whole numbers of at least 1: one for all {of}, or one for each"
    return Annotated[
        list[Count],
        Field(min_length=1, json_schema_extra={"allowed": allowed}),
        BeforeValidator(split),
    ]


class Parameters(BaseModel):
    """What the parameters of all chapters share: nothing unknown passes, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _typed_none(cls, values: Any) -> Any:
        """`-p images None`: a command line has nothing but text."""
        if not isinstance(values, Mapping):
            return values
        optional = {
            name
            for name, field in cls.model_fields.items()
            if NoneType in get_args(field.annotation)
        }
        return {
            name: None if name in optional and _is_none(value) else value
            for name, value in values.items()
        }


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() == "none"


def evaluations(epochs: int) -> set[int]:
    """As `sweep.evaluation_epochs`, which needs torch."""
    return {*range(1, min(10, epochs) + 1), *range(5, epochs + 1, 5), epochs}
