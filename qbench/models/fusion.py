"""Batch norms as part of the layers before them, for a network that is trained."""

import copy
from collections import Counter

from torch import fx, nn
from torch.fx.experimental import optimization
from torch.fx.proxy import TraceError
from torch.nn.modules.batchnorm import _BatchNorm

from .errors import ModelError

FUSIBLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, _BatchNorm)
NAMED = 3  # batch norms that a refusal names


def batch_norms(model: nn.Module) -> list[str]:
    """The names of the model's batch norms, as in `named_modules`."""
    return [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]


def fuse(model: nn.Module, *, partly: bool = False) -> fx.GraphModule:
    """A copy in evaluation mode, each convolution or linear layer one with the batch norm after it.

    Takes and gives the same tensors as the model in evaluation mode, but for rounding: a batch norm
    then multiplies each channel by a number and adds another, which weights and biases can do
    instead. It can only where it alone follows the layer directly, with nothing in between.
    `model` is left as it is.

    Raises `ModelError` where some batch norms cannot be fused, unless `partly` allows these to
    stay; where none can or the model has none; where a layer is called more than once; and for a
    model that `torch.fx` cannot trace, such as one that looks at the values of its input.
    """
    before = batch_norms(model)
    if not before:
        raise ModelError("the model has no batch norm to fuse.")
    # eval: the library's containers are new, and in training mode
    fused = optimization.fuse(_traced(model), inplace=True, no_trace=True).eval()
    left = batch_norms(fused)
    if left and not (partly and len(left) < len(before)):
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        raise ModelError(
            f"{len(left)} of the model's {len(before)} batch norms cannot be fused, as no "
            "convolution or linear layer ends directly and only in them: "
            f"{', '.join(left[:NAMED])}{more}."
        )
    return fused


def _traced(model: nn.Module) -> fx.GraphModule:
    """A copy in evaluation mode, with its graph; raises as `fuse`."""
    try:
        traced = fx.symbolic_trace(copy.deepcopy(model).eval())
    except TraceError as error:
        raise ModelError(f"the model cannot be traced to fuse its batch norms: {error}.") from error
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for name, times in calls.items():
        # the library would fuse such a layer at each call, one time on top of the other
        if times > 1 and isinstance(traced.get_submodule(name), FUSIBLE):
            raise ModelError(f"{name} is called {times} times in one pass, and cannot be fused.")
    return traced
