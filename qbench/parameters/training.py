"""Parameters of the chapters about number formats and training."""

from pydantic import Field, ValidationInfo, field_validator

from .types import BitWidth, ImageSet, ListOf, Number, Parameters, Seed, Whole, evaluations


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
        if value is not None and epochs is not None and not evaluations(epochs).issuperset(value):
            raise ValueError("not evaluated")
        return value

    @property
    def reported(self) -> list[int]:
        """The epochs of `report_at`, or those of the papers as far as trained, in order."""
        papers = {10, 20, 30, 40, 50, 100, self.epochs} & evaluations(self.epochs)
        return sorted(papers if self.report_at is None else self.report_at)
