"""Parameters of the chapter about devices."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .qkd import DenseNet
from .types import (
    Count,
    Fraction,
    Images,
    ListOf,
    Parameters,
    Whole,
    number,
    split,
    unique,
    whole,
)

Seconds = Annotated[float, Field(gt=0, le=60, allow_inf_nan=False), BeforeValidator(number)]
Threads = Annotated[
    ListOf(Annotated[int, Field(ge=1, le=1024), BeforeValidator(whole)]) | None,
    Field(
        json_schema_extra={
            "allowed": "a list of whole numbers from 1 to 1024 without repeats, or None"
        }
    ),
]
Watts = Annotated[
    Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False), BeforeValidator(number)] | None,
    Field(json_schema_extra={"allowed": "a number above 0 and at most 10000, or None"}),
]


def _named(value: object) -> object:
    """Nothing at all may be trained: `""` is the empty list."""
    return [] if isinstance(value, str) and not value.strip() else split(value)


Trained = Annotated[
    list[DenseNet],
    AfterValidator(unique),
    BeforeValidator(_named),
    Field(json_schema_extra={"allowed": "a list of DenseNets without repeats, or an empty one"}),
]


class Devices(Parameters):
    dataset: Literal["mnist5k", "cifar10", "cifar100"] = Field("mnist5k", description="data set")
    networks: ListOf(DenseNet) = Field(["densenet21"], description="networks that are timed")
    trained: Trained = Field(
        ["densenet21"], description="which of them are trained; others have new weights"
    )
    runtimes: ListOf(Literal["pytorch", "compiled", "onnxruntime", "openvino"]) = Field(
        ["pytorch", "onnxruntime", "openvino"],
        description="what runs them; compiled is PyTorch's torch.compile",
    )
    precisions: ListOf(Literal["float32", "bfloat16", "float16", "int8"]) = Field(
        ["float32", "int8"], description="what they are computed in, where that can be"
    )
    devices: ListOf(Literal["cpu", "cuda"]) = Field(
        ["cpu", "cuda"], description="processor, and GPU with CUDA where there is one"
    )
    batches: ListOf(Annotated[Whole, Field(ge=1, le=4096)]) = Field(
        [1, 8], description="images a request"
    )
    threads: Threads = Field([1], description="threads; None: one, and as many as there are cores")
    rounds: Count = Field(3, description="turns of each")
    seconds: Seconds = Field(0.05, description="time of a turn, at least one request")
    latency_seconds: Seconds = Field(0.05, description="time of a turn with one image a request")
    again: bool = Field(False, description="measure all speeds twice, and compare")
    watts: Watts = Field(
        None, description="stated power of the processor, where it measures no energy itself"
    )
    gpu_watts: Watts = Field(None, description="stated power of the GPU, likewise")
    share: Fraction = Field(0.001, description="share of chapter 9's epochs, one at least")
    images: Images = Field(64, description="training images; None: all")
    augment: bool = Field(False, description="mirror, move and turn the training images")
    tested: Count = Field(64, description="test images whose answers are compared")
    calibrated: Count = Field(16, description="training images that quantisers see")
