"""The convolutional networks by name, for those who choose one by a parameter."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from qbench.errors import nearest

from .densenet import BLOCKS, densenet
from .errors import ModelError
from .flex_student import flex_student
from .mobilenet_v2 import mobilenet_v2
from .resnet import resnet8x4, resnet32x4

NETWORKS: dict[str, Callable[..., nn.Sequential]] = {
    "flex_student": flex_student,
    "resnet8x4": resnet8x4,
    "resnet32x4": resnet32x4,
    "mobilenet_v2": mobilenet_v2,
    **{name: partial(densenet, blocks) for name, blocks in BLOCKS.items()},
    **{
        f"{name}_modified": partial(densenet, blocks, form="modified")
        for name, blocks in BLOCKS.items()
    },
}
# How many of each size may be chosen; what is not here is fixed.
SIZES = {
    "flex_student": {"channels": range(1, 6), "neurons": range(0, 5)},
    "resnet8x4": {"channels": range(4, 5)},
}
LEAST = {"resnet8x4": 16}  # of the channels or neurons of a layer, where not 1: see `Block`
MOST = 4096


def build(
    name: str,
    classes: int,
    *,
    inputs: int = 3,
    channels: Sequence[int] | None = None,
    neurons: Sequence[int] | None = None,
) -> nn.Sequential:
    """The network `name`: (N, inputs, 32, 32) images → (N, classes) logits.

    `channels` and `neurons` replace the baseline's, see `flex_student` and `resnet8x4`. Raises
    `ModelError` as `check`.
    """
    check(name, channels=channels, neurons=neurons)
    sizes = {"channels": channels, "neurons": neurons}
    sizes = {what: tuple(values) for what, values in sizes.items() if values is not None}
    return NETWORKS[name](classes, inputs=inputs, **sizes)


def check(
    name: str, *, channels: Sequence[int] | None = None, neurons: Sequence[int] | None = None
) -> None:
    """Raise `ModelError` for an unknown name and for sizes that the network cannot have."""
    if name not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise ModelError(f"network must be one of {known}, not {name!r}{nearest(NETWORKS, name)}.")
    for what, values in (("channels", channels), ("neurons", neurons)):
        if values is None:
            continue
        counts = SIZES.get(name, {}).get(what)
        if counts is None:
            raise ModelError(f"{name} has no {what} to choose.")
        listed = isinstance(values, Sequence) and not isinstance(values, str)
        least = LEAST.get(name, 1)
        if not listed or len(values) not in counts or not all(_size(v, least) for v in values):
            many = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
            raise ModelError(
                f"{what} of {name} must be {many} whole numbers from {least} to {MOST}, "
                f"not {list(values) if listed else values!r}."
            )


def _size(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST


def parameters(model: nn.Module) -> int:
    """How many numbers the model learns."""
    return sum(parameter.numel() for parameter in model.parameters())
