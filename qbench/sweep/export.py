"""A trained member of a sweep as a Brevitas model and as a QONNX file, which FINN reads.

`Outcome.network(member)` gives what both functions take first:
`export_qonnx(*outcome.network(member), "w2a2.onnx")`. Brevitas is needed for both, ONNX, its
optimiser and QONNX for the file; training needs none of them, so they are imported where used.
"""

import warnings
from numbers import Integral
from pathlib import Path

import torch
from torch import nn

from qbench.files import write_atomically

from .members import SweepError
from .network import Network


def to_brevitas(network: Network, index: int) -> nn.Sequential:
    """`models.tfc.quant_tfc` with all that member `index` has learnt: on the CPU, evaluation mode.

    It takes (N, pixels) float32 images in [0, 1] and gives (N, classes) logits, as the fused
    network does up to the rounding of float32. Where one of the two rounds an activation up that
    the other rounds down, because it lies halfway between two levels up to that rounding, logits
    differ by more. Layers of 32 bits are those of PyTorch. Raises `SweepError` for an index out of
    range and for a member whose training diverged.
    """
    from qbench.models.tfc import quant_tfc

    members = network.members
    if not isinstance(index, Integral) or isinstance(index, bool) or not 0 <= index < len(members):
        raise SweepError(
            f"index must be a whole number from 0 to {len(members) - 1}, one for each member of "
            f"the network, not {index!r}."
        )
    assert network._last is None, "finish() the step before exporting"
    member, (inputs, hidden), (_, classes) = members[index], network.sizes[0], network.sizes[-1]
    model = quant_tfc(
        inputs=inputs,
        classes=classes,
        hidden=hidden,
        weight_bits=member.layer_bits[0],
        act_bits=member.layer_bits[1],
        dropout=member.dropout,
    )
    norms = zip(network.gamma, network.beta, network.running_mean, network.running_var, strict=True)
    # Copied in place: Brevitas makes its scales anew when it loads a state dict.
    with torch.no_grad():
        for layer, values in enumerate(norms):
            norm = model.get_submodule(f"norm{layer + 1}")
            own = norm.weight, norm.bias, norm.running_mean, norm.running_var
            for mine, value in zip(own, values, strict=True):
                mine.copy_(value[index, :, 0])
            model.get_submodule(f"linear{layer + 1}").weight.copy_(network.weights[layer][index])
            if layer < 3:  # the learnt scale is the only parameter; 1 and 32 bits have none
                for scale in model.get_submodule(f"act{layer + 1}").parameters():
                    scale.copy_(network.sigma[layer][index, 0, 0])
    learnt = [*model.parameters(), *(b for n, b in model.named_buffers() if "running" in n)]
    if not all(bool(tensor.isfinite().all()) for tensor in learnt):
        raise SweepError(
            f"{member} has weights that are not finite, so it cannot be exported: its training "
            "diverged."
        )
    return model.eval()


def export_qonnx(network: Network, index: int, file: str | Path) -> Path:
    """Write member `index` as a QONNX file, cleaned for FINN; returns its path.

    Input `global_in`, (1, pixels) float32 in [0, 1]; output `global_out`, (1, classes) logits. One
    image at a time, as FINN streams them; qonnx's `ChangeBatchSize` sets another number. Weights,
    activations and pixels pass `Quant` nodes, at one bit `BipolarQuant`; what has 32 bits passes
    none, so with 32-bit weights and activations the file is plain ONNX. An existing file is
    replaced, missing folders are made. Raises `SweepError` as `to_brevitas` does, and where
    Brevitas was imported with BREVITAS_JIT=1.
    """
    with warnings.catch_warnings():  # of packages that Brevitas could use and need not
        warnings.simplefilter("ignore")
        from brevitas import config
        from brevitas import export as brevitas_export
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.util.cleanup import cleanup_model

    if config.JIT_ENABLED:
        raise SweepError(
            "BREVITAS_JIT must be 0 for an export, and Brevitas was imported with 1: set it to 0 "
            "and start Python again."
        )
    model, pixels = to_brevitas(network, index), network.sizes[0][0]
    # The TorchScript exporter: the newer one needs 2 s in place of 0.2 s and prints its steps.
    graph = brevitas_export.export_qonnx(model, input_shape=(1, pixels), dynamo=False)
    cleaned = cleanup_model(ModelWrapper(graph))
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, cleaned.model.SerializeToString())
    return file
