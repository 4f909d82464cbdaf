"""The work of a network by counting, the same on every machine."""

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .errors import RuntimesError
from .export import evaluating


def macs(model: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one image.

    `example` is a batch of images, (N, ...), N at least 1. Counted by torch while it runs the
    model in evaluation mode; normalisation, activations, pooling and biases are left out, as is
    usual. It is no latency: two networks of equal count may differ several times in speed. Raises
    `RuntimesError` for an empty batch.
    """
    if not len(example):
        raise RuntimesError("example must have at least one image, and is empty.")
    with evaluating(model), FlopCounterMode(display=False) as counter:
        model(example)
    return counter.get_total_flops() // (2 * len(example))
