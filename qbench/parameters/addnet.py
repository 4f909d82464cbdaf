"""Parameters of the chapter about multipliers made of adders, and the networks trained for them."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo

from .syq import ActBits
from .types import AnyImageSet, Count, ListOf, Number, Parameters, Refused, Seed, Whole, Workers

AddNetNetwork = Literal["alexnet_small", "resnet20", "perceptron"]
Rccm = Literal["2-Add", "3-Add", "4-Add"]
ChosenSet = Literal["published", "unoptimised", "matched", "worst"]
ComparedWeights = Literal["float32", "8-bit", "6-bit", "4-bit", "ternary", "binary"]

DATASETS, NETWORKS = get_args(AnyImageSet), get_args(AddNetNetwork)


def _task(value: str) -> str:
    dataset, _, network = value.partition("/")
    if dataset not in DATASETS or network not in NETWORKS:
        raise ValueError("not a data set and a network")
    return value


def _there_are(value: int | None, info: ValidationInfo) -> int | None:
    """Refuse more images than one of the data sets has."""
    from qbench.data import specs

    for task in info.data.get("tasks", ()) if value is not None else ():
        dataset = task.partition("/")[0]
        most = specs.find(dataset).split["train"]
        if value > most:
            raise Refused(f"{dataset} has {most:,}")
    return value


InputBits = Annotated[Whole, Field(ge=2, le=32)]
Task = Annotated[
    str,
    AfterValidator(_task),
    Field(
        json_schema_extra={
            "allowed": f"a data set ({', '.join(DATASETS)}), a slash and a network "
            f"({', '.join(NETWORKS)}), such as cifar10/resnet20"
        }
    ),
]
TaskImages = Annotated[
    Count | None,
    AfterValidator(_there_are),
    Field(
        json_schema_extra={
            "allowed": "a whole number of at least 1 and at most the training images that there "
            "are, or None"
        }
    ),
]


class AddNet(Parameters):
    tasks: ListOf(Task) = Field(["mnist5k/perceptron"], description="data sets and networks")
    width: Number = Field(
        0.0625, gt=0, le=4, description="factor of the networks' channels and neurons"
    )
    rccms: ListOf(Rccm) = Field(
        ["2-Add", "3-Add", "4-Add"], description="multipliers to train with, by their adders"
    )
    sets: ListOf(ChosenSet) = Field(
        ["published", "matched", "worst"],
        description="their coefficients: Table 6.2's, the unoptimised ones of Fig. 6.5 (of a "
        "3-Add), or those that match the pre-trained network's weights best, or worst",
    )
    enumerated: ListOf(Rccm) = Field(
        ["2-Add", "3-Add"],
        description="multipliers of which all sets are enumerated and compared with the weights, "
        "and whose matched and worst sets are trained with; the 4-Add takes half a minute",
    )
    methods: ListOf(ComparedWeights) = Field(
        ["float32", "8-bit", "4-bit"], description="what they are compared with"
    )
    act_bits: ActBits = Field(8, description="bits of the activations; 32: float32")
    act_widths: ListOf(ActBits) = Field(
        [4, 8], description="bits of the activations with which the first set is trained"
    )
    pretrain_epochs: Whole = Field(
        2, ge=1, description="passes over the training images of the float32 network at the start"
    )
    epochs: Whole = Field(1, ge=1, description="passes of every training that starts from it")
    learning_rate: Number = Field(0.001, gt=0, le=1, description="of Adam, at the start of both")
    batch_size: Whole = Field(16, ge=2, le=10_000, description="images a training step")
    images: TaskImages = Field(400, description="training images; None: all")
    input_bits: ListOf(InputBits) = Field(
        [4, 5, 8, 9, 10, 16], description="widths of input at which multipliers are synthesised"
    )
    seeds: ListOf(Seed) = Field([0, 1], description="random seeds; one training with each")
    workers: Workers = Field(None, description="processes that train at once; None: one a core")
