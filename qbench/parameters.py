"""The parameters of every chapter: names, types, ranges, meaning and smoke defaults.

One class a chapter, registered in `CHAPTERS` under its notebook's name. `check()` turns what a
reader typed (`"2,3,4"`, `"-1"`) into values, or into one sentence that says what is wrong and what
is allowed. The command line calls it before a kernel starts; every notebook calls it again in the
cell after its parameters, so that plain papermill and JupyterLab are guarded as well.
"""

import operator
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from qbench import paths
from qbench.errors import UserError, nearest


class ParameterError(UserError, ValueError):
    """A parameter has an unknown name, a wrong type or an impossible value."""

    status = 2


def _whole(value: Any) -> Any:
    """Refuse what pydantic would quietly turn into an int: `True`, `3.0`, `"3.0"`, `"1_0"`."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value):
        return value
    if not isinstance(value, bool):
        with suppress(TypeError):
            return operator.index(value)
    raise ValueError("not a whole number")


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


def _split(value: Any) -> Any:
    """`"2,3,4"` → `["2", "3", "4"]`, a single value → a list of one; anything else as it is."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) else value


def _unique(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError("repeated values")
    return values


def _bit_width(value: int) -> int:
    if not (1 <= value <= 8 or value == 32):
        raise ValueError("not a bit width")
    return value


def ListOf(item: Any) -> Any:
    """A list without repeats, at least one long, which may be typed as `2,3,4`."""
    split = BeforeValidator(_split)
    return Annotated[list[item], Field(min_length=1), AfterValidator(_unique), split]


Whole = Annotated[int, BeforeValidator(_whole)]
Seed = Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
BitWidth = Annotated[
    Whole,
    AfterValidator(_bit_width),
    Field(json_schema_extra={"allowed": "a whole number from 1 to 8, or 32 for float32"}),
]
ImageSet = Literal["mnist5k", "mnist", "fashion-mnist"]
DeviceName = Literal[tuple(sorted(file.stem for file in paths.DEVICES.glob("*.yml")))]
Perceptron = Literal["lfc", "sfc", "tfc"]
ThresholdStorage = Literal["none", "lut", "bram"]
Multipliers = Literal["lut", "dsp"]


class Parameters(BaseModel):
    """What the parameters of all chapters share: nothing unknown passes, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class NumberFormats(Parameters):
    number: Number = Field(0.357, ge=-8, le=8, description="the number to quantise")
    bits: Whole = Field(3, ge=1, le=8, description="bit width to quantise it to")


class BitWidthSweep(Parameters):
    dataset: ListOf(ImageSet) = Field(["mnist5k"], description="data sets to train on")
    weight_bits: ListOf(BitWidth) = Field([2, 8], description="bit widths of the weights")
    act_bits: ListOf(BitWidth) = Field([2, 8], description="bit widths of the activations")
    epochs: Whole = Field(2, ge=1, le=1000, description="passes over the training images")
    hidden: Whole = Field(64, ge=8, le=4096, description="neurons in each of the 3 hidden layers")
    seeds: ListOf(Seed) = Field([0], description="random seeds; one training with each")
    learning_rate: Number = Field(0.01, gt=0, le=1, description="Adam's initial learning rate")
    dropout: Number = Field(0.2, ge=0, lt=1, description="dropout on the inputs and hidden layers")
    batch_size: Whole = Field(100, ge=2, le=10_000, description="images a training step")
    baseline: bool = Field(True, description="train the float32 network as well")
    report_at: ListOf(Whole) | None = Field(
        None,
        description="epochs shown in the table",
        json_schema_extra={
            "allowed": "a list of epochs that are trained and evaluated (1 to 10, every fifth and "
            "the last), or None for 10, 20, 30, 40, 50, 100 as far as trained"
        },
    )

    @field_validator("report_at")
    @classmethod
    def _evaluated(cls, value: list[int] | None, info: ValidationInfo) -> list[int] | None:
        epochs = info.data.get("epochs")  # missing where it was refused itself
        if value is not None and epochs is not None and not _evaluations(epochs).issuperset(value):
            raise ValueError("not evaluated")
        return value

    @property
    def reported(self) -> list[int]:
        """The epochs of `report_at`, or those of the papers as far as trained, in order."""
        papers = {10, 20, 30, 40, 50, 100, self.epochs} & _evaluations(self.epochs)
        return sorted(papers if self.report_at is None else self.report_at)


def _evaluations(epochs: int) -> set[int]:
    """As `sweep.evaluation_epochs`, which needs torch."""
    return {*range(1, min(10, epochs) + 1), *range(5, epochs + 1, 5), epochs}


class Resources(Parameters):
    network: Perceptron = Field("lfc", description="perceptron whose resources are estimated")
    parallelism: Whole | None = Field(
        None,
        ge=1,
        le=1024,
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
    device: DeviceName = Field("z7020", description="the FPGA that the networks should fit")
    folding: Literal[2, 4, 8] = Field(8, description="PE = SIMD of the synthesised units shown")
    unit: list[Whole] | None = Field(
        None,
        description="a unit of your own to synthesise, or None",
        json_schema_extra={
            "allowed": "six whole numbers (mw, mh, pe, simd, weight bits, activation bits) such as "
            "64,16,4,8,3,2, where pe divides mh, simd divides mw and bits are 1 to 8, or None"
        },
    )

    @field_validator("unit", mode="before")
    @classmethod
    def _typed(cls, value: Any) -> Any:
        return _split(value) if isinstance(value, str) else value

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


CHAPTERS: dict[str, type[Parameters]] = {
    "01_number_formats": NumberFormats,
    "02_bit_width_sweep": BitWidthSweep,
    "03_resources": Resources,
}


def check(chapter: str, /, **values: Any) -> Parameters:
    """Return the validated parameters of `chapter` (a notebook's name such as `01_number_formats`).

    Lists may be given as text (`"2,3,4"`). Raises `ParameterError` with one sentence a fault.
    """
    model = CHAPTERS[chapter]
    faults = [_unknown(chapter, model, name) for name in values if name not in model.model_fields]
    if faults:
        raise ParameterError("\n".join(faults))
    try:
        return model(**values)
    except ValidationError as error:
        names = dict.fromkeys(str(fault["loc"][0]) for fault in error.errors())
        allowed = {name: text for name, text, _, _ in describe(chapter)}
        sentences = [
            f"{name} must be {allowed[name]}, not {_said(value)}{_nearest(model, name, value)}."
            for name, value in ((name, values[name]) for name in names)
        ]
        raise ParameterError("\n".join(sentences)) from None


def describe(chapter: str) -> list[tuple[str, str, Any, str]]:
    """Rows of (name, what is allowed in words, smoke default, meaning), in the chapter's order."""
    model = CHAPTERS[chapter]
    schemas = model.model_json_schema()["properties"]
    return [
        (name, _allowed(schemas[name]), field.default, field.description or "")
        for name, field in model.model_fields.items()
    ]


def _allowed(schema: Mapping[str, Any]) -> str:
    """Say in words what a field's JSON schema allows."""
    if "allowed" in schema:
        return schema["allowed"]
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if schema.get("type") == "array":
        return f"a list of one or more without repeats, each {_allowed(schema['items'])}"
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    bounds = [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
    return " ".join([kind.get(schema.get("type", ""), "text"), " and ".join(bounds)]).strip()


def _unknown(chapter: str, model: type[Parameters], name: str) -> str:
    hint = nearest(model.model_fields, name)
    return f"{chapter} has no parameter {name!r}{hint}; it has {', '.join(model.model_fields)}."


def _said(value: Any) -> str:
    """`repr(value)`, cut where it would fill a screen."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _nearest(model: type[Parameters], name: str, value: Any) -> str:
    """` (did you mean mnist?)` where a choice was misspelt."""
    schema = model.model_json_schema()["properties"][name]
    choices = schema.get("items", schema).get("enum", [])
    typed = _split(value) if isinstance(value, str) else value if isinstance(value, list) else []
    wrong = [item for item in typed if isinstance(item, str) and item not in choices]
    return nearest(choices, *wrong)
