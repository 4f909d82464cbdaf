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


def _configuration(value: str) -> str:
    """`w3a4`, `W3-A4` and `W3A4` are one configuration, and called `W3A4`."""
    found = re.fullmatch(r"\s*W([1-8])[-–]?A([1-8])\s*", value, re.IGNORECASE)
    if not found:
        raise ValueError("not a configuration")
    return f"W{found[1]}A{found[2]}"


def _device(value: str) -> str:
    from qbench.hardware import device  # needs NumPy, which --help does without

    return device(value).name


def _name_devices(schema: dict[str, Any]) -> None:
    from qbench.hardware import devices

    schema["enum"] = devices.names()


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
AnyImageSet = Literal["mnist5k", "mnist", "fashion-mnist", "cifar10", "cifar100"]
TeacherAndStudent = Literal[
    "mobilenet_v2/flex_student", "resnet32x4/flex_student", "resnet32x4/resnet8x4"
]
Perceptron = Literal["lfc", "sfc", "tfc"]
ThresholdStorage = Literal["none", "lut", "bram"]
Multipliers = Literal["lut", "dsp"]
Configuration = Annotated[str, AfterValidator(_configuration)]
Parallelism = Annotated[int, Field(ge=1, le=1024), BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
Temperature = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False), BeforeValidator(_number)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_number)]
DeviceName = Annotated[str, AfterValidator(_device), Field(json_schema_extra=_name_devices)]


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
        if value not in _evaluations(100):
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
        if value is not None and epochs is not None and value not in _evaluations(epochs):
            raise ValueError("not evaluated")
        return value

    @property
    def compared_epoch(self) -> int:
        """`epoch`, or Stewart's 40 as far as trained."""
        return min(40, self.epochs) if self.epoch is None else self.epoch


def OneOrEach(of: str) -> Any:
    """A list of whole numbers of at least 1: one for all, or one for each of the list `of`."""
    allowed = f"a list of whole numbers of at least 1: one for all {of}, or one for each"
    return Annotated[
        list[Count],
        Field(min_length=1, json_schema_extra={"allowed": allowed}),
        BeforeValidator(_split),
    ]


class DistillationSurface(Parameters):
    dataset: AnyImageSet = Field("mnist5k", description="data set of teachers and students")
    pairs: ListOf(TeacherAndStudent) = Field(
        ["mobilenet_v2/flex_student"], description="teachers and their students"
    )
    alphas: ListOf(Share) = Field([0.1, 0.9], description="weights of the labels, β = 1 - α")
    temperatures: ListOf(Temperature) = Field([1, 8], description="temperatures T")
    form: Literal["stewart", "vailakis", "vailakis_kl"] = Field(
        "stewart", description="how the loss is written: Stewart's eq. 3 or Vailakis' 3.5 or 5.1"
    )
    seeds: ListOf(Seed) = Field([0, 1], description="random seeds; one training with each")
    repeated: Annotated[list[TeacherAndStudent], AfterValidator(_unique)] | None = Field(
        None,
        description="pairs trained with every seed, the others with the first; None: all",
        json_schema_extra={"allowed": "a list of some of the pairs without repeats, or None"},
    )
    images: OneOrEach("pairs") = Field(
        [200],
        description="training images of the students",
        json_schema_extra={
            "allowed": "a list of whole numbers of at least 1 and at most the training images "
            "that there are, one for all pairs or one for each"
        },
    )
    epochs: OneOrEach("pairs") = Field([1], description="passes over them")
    teacher_images: OneOrEach("pairs") | None = Field(
        [500],
        description="training images of the teachers; None: all",
        json_schema_extra={
            "allowed": "a list of whole numbers, one for all pairs or one for each, no fewer than "
            "the student's images and at most the training images that there are, or None"
        },
    )
    teacher_epochs: OneOrEach("pairs") = Field([1], description="passes of the teachers")
    learning_rate: Number = Field(0.05, gt=0, le=1, description="highest learning rate of SGD")
    batch_size: Whole = Field(64, ge=2, le=10_000, description="images a training step")
    augment: bool = Field(False, description="mirror and move the students' images")
    workers: Whole | None = Field(
        None,
        ge=1,
        le=256,
        description="students trained at once; None: one a core",
        json_schema_extra={"allowed": "a whole number from 1 to 256, or None"},
    )

    @field_validator("repeated", "alphas", mode="before")
    @classmethod
    def _typed(cls, value: Any) -> Any:
        return None if value is None else _split(value)

    @field_validator("repeated")
    @classmethod
    def _among_pairs(cls, value: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if value is not None and not set(value) <= set(info.data.get("pairs", value)):
            raise ValueError("not among the pairs")
        return value

    @field_validator("images", "epochs", "teacher_images", "teacher_epochs")
    @classmethod
    def _each(cls, value: list[int] | None, info: ValidationInfo) -> list[int] | None:
        pairs = info.data.get("pairs")  # missing where it was refused itself
        if value is not None and pairs is not None and len(value) not in (1, len(pairs)):
            raise ValueError("neither one nor one a pair")
        return value

    @field_validator("images", "teacher_images")
    @classmethod
    def _enough(cls, value: list[int] | None, info: ValidationInfo) -> list[int] | None:
        if value is not None and (dataset := info.data.get("dataset")):
            from qbench.data import specs

            if max(value) > specs.find(dataset).split["train"]:
                raise ValueError("more than there are")
        return value

    @field_validator("teacher_images")
    @classmethod
    def _seen(cls, value: list[int] | None, info: ValidationInfo) -> list[int] | None:
        if value is not None and (images := info.data.get("images")):
            count = max(len(value), len(images))
            for one, other in zip(_spread(value, count), _spread(images, count), strict=True):
                if one < other:
                    raise ValueError("fewer than the student's")
        return value

    def of(self, name: str, pair: str) -> Any:
        """The value of `images`, `epochs`, `teacher_images` or `teacher_epochs` for a pair."""
        values = getattr(self, name)
        return values and _spread(values, len(self.pairs))[self.pairs.index(pair)]

    def seeds_of(self, pair: str) -> list[int]:
        """The seeds that a pair is trained with."""
        return self.seeds if self.repeated is None or pair in self.repeated else self.seeds[:1]


def _spread(values: list[int], count: int) -> list[int]:
    return values * count if len(values) == 1 else values


CHAPTERS: dict[str, type[Parameters]] = {
    "01_number_formats": NumberFormats,
    "02_bit_width_sweep": BitWidthSweep,
    "03_resources": Resources,
    "04_radar_charts": RadarCharts,
    "05_folding": FoldingThroughput,
    "06_distillation": DistillationSurface,
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
    choices = [c for c in schema.get("items", schema).get("enum", []) if isinstance(c, str)]
    typed = _split(value) if isinstance(value, str) else value if isinstance(value, list) else []
    wrong = [item for item in typed if isinstance(item, str) and item not in choices]
    return nearest(choices, *wrong)
