"""Parameters of the chapters about distillation and evolution."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from .types import (
    AnyImageSet,
    Count,
    ListOf,
    Number,
    OneOrEach,
    Parameters,
    RuntimeDevice,
    Seed,
    Share,
    TeacherAndStudent,
    Temperature,
    Whole,
    Workers,
    split,
    there_are,
    unique,
)


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
    repeated: Annotated[list[TeacherAndStudent], AfterValidator(unique)] | None = Field(
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
    workers: Workers = Field(None, description="students trained at once; None: one a core")

    @field_validator("repeated", "alphas", mode="before")
    @classmethod
    def _typed(cls, value: Any) -> Any:
        return None if value is None else split(value)

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


class Evolution(Parameters):
    dataset: AnyImageSet = Field("mnist5k", description="data set of teacher and students")
    student: Literal["flex_student", "resnet8x4"] = Field(
        "flex_student", description="the network that evolves"
    )
    teacher: Literal["mobilenet_v2", "resnet32x4", "resnet8x4"] = Field(
        "mobilenet_v2", description="the network whose answers the students learn from"
    )
    teacher_images: Count | None = Field(
        500,
        description="training images of the teacher; None: all",
        json_schema_extra={
            "allowed": "a whole number of at least 1 and at most the training images that there "
            "are, or None"
        },
    )
    teacher_epochs: Count = Field(1, description="passes of the teacher")
    population: Whole = Field(3, ge=2, le=1000, description="networks of a generation")
    generations: Whole = Field(2, ge=1, le=1000, description="generations, the first one counted")
    images: Count | None = Field(
        300,
        description="training images of the students; None: all",
        json_schema_extra={
            "allowed": "a whole number of at least 1 and at most the teacher's images and those "
            "that there are, or None"
        },
    )
    epochs: Count = Field(1, description="passes over them in the search")
    alpha: Share = Field(0.5, description="weight of the labels α, β = 1 - α")
    temperature: Temperature = Field(4, description="temperature T")
    device: RuntimeDevice = Field(
        "CPU",
        description="what latency is measured on: a device that OpenVINO finds, or macs, which "
        "counts multiply-accumulates in millions",
    )
    noise: Number = Field(
        0.05, ge=0, le=1, description="latencies are ranked in steps of this share"
    )
    error_step: Number = Field(
        0.5, ge=0, le=50, description="errors are ranked in steps of so many points"
    )
    seed: Seed = Field(0, description="of the search, and of every training")
    budget: Number | None = Field(
        None,
        gt=0,
        description="minutes after which no generation begins; None: no limit",
        json_schema_extra={"allowed": "a number above 0, or None"},
    )
    draw: Literal["perturbed", "uniform", "none"] = Field(
        "perturbed",
        description="where random search draws: mutants of the baseline, or the whole space; none "
        "does without it",
    )
    final_epochs: Count = Field(2, description="passes of the chosen networks at the end")

    _there_are = field_validator("teacher_images", "images")(there_are)

    @field_validator("images")
    @classmethod
    def _taught(cls, value: int | None, info: ValidationInfo) -> int | None:
        most = info.data.get("teacher_images")  # missing where it was refused itself
        if most is not None and (value is None or value > most):
            raise ValueError("more than the teacher's")
        return value
