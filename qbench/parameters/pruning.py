"""Parameters of the chapter about hardware-aware filter pruning."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from .types import (
    AnyImageSet,
    Count,
    DeviceName,
    Images,
    ListOf,
    Number,
    Parameters,
    Refused,
    Seed,
    Whole,
    Workers,
    number,
)

PrunedNetwork = Literal["alexnet_small", "vgg_small"]
PrunedWeights = Literal["binary", "ternary"]
Ranking = Literal["qerror", "codes", "l1", "l2", "random"]
Strategy = Literal["even", "sensitivity", "resource-aware"]
Rate = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False), BeforeValidator(number)]
MOST_PRUNED = 0.9


class FilterPruning(Parameters):
    dataset: AnyImageSet = Field("mnist5k", description="data set")
    network: PrunedNetwork = Field("alexnet_small", description="network to prune")
    width: Number = Field(0.1, gt=0, le=4, description="factor of its channels and neurons")
    weights: ListOf(PrunedWeights) = Field(
        ["binary"], description="weights between the first and the last layer"
    )
    act_bits: Whole = Field(2, ge=1, le=16, description="bits of the activations")
    rankings: ListOf(Ranking) = Field(
        ["qerror", "l1", "random"], description="which filters of a layer go first"
    )
    ranked_layers: Count = Field(
        3, description="how many of the first convolutions the rankings prune"
    )
    control: bool = Field(
        False, description="retrain the unpruned network as often as the pruned ones, too"
    )
    rate: Rate = Field(0.1, description="share of the filters that each pruning takes")
    iterations: Whole = Field(2, ge=1, le=9, description="how often is pruned and retrained")
    strategies: ListOf(Strategy) = Field(
        ["resource-aware", "even"],
        description="how layers to prune are chosen; by the first of them a network is deployed",
    )
    most: Rate = Field(0.5, description="share of its filters that a strategy takes of any layer")
    tolerance: Number = Field(
        10.0, ge=0, le=100, description="validation error that pruning may add, in points"
    )
    device: DeviceName = Field("Z7020", description="the FPGA whose resources count")
    mmv: bool = Field(
        True,
        description="designs compute several output pixels at once, as the thesis' MMV; false: "
        "FINN's units as they are",
    )
    epochs: Whole = Field(2, ge=1, description="passes over the images in the first training")
    retrained: Whole | None = Field(
        None,
        ge=1,
        description="passes over them in each retraining; None: a quarter of those",
        json_schema_extra={"allowed": "a whole number of at least 1, or None"},
    )
    learning_rate: Number = Field(0.001, gt=0, le=1, description="of Adam, at the start of each")
    batch_size: Whole = Field(16, ge=2, le=10_000, description="images a training step")
    images: Images = Field(200, description="training images; None: all")
    seeds: ListOf(Seed) = Field([0], description="random seeds; one training with each")
    workers: Workers = Field(1, description="processes that train at once; None: one a core")

    @field_validator("iterations")
    @classmethod
    def _leaves_some(cls, value: int, info: ValidationInfo) -> int:
        rate = info.data.get("rate")  # missing where it was refused itself
        if rate is not None and value * rate > MOST_PRUNED + 1e-9:
            raise Refused(f"at a rate of {rate:g} they would take more than nine in ten filters.")
        return value
