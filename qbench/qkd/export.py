"""A quantised network as an ONNX file with integer weights (QDQ), and how often that is wrong."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from qbench import runtimes, store
from qbench.files import write_atomically
from qbench.models.convolutional import parameters
from qbench.quantizers.networks import Quantised
from qbench.quantizers.ranges import Fixed, Learnt

from . import runs
from .errors import StudyError
from .studying import errors

EIGHT = 8  # bits: what ONNX's QuantizeLinear has codes for at the opset we write
SHOWN = 500  # images at once


def to_onnx(network: nn.Module, images: torch.Tensor, file: Path) -> Path:
    """Write a network of `Stack.network` or `Single.network` as ONNX, its weights as uint8.

    Activations pass QuantizeLinear and DequantizeLinear, weights are stored as codes behind a
    DequantizeLinear: a runtime with integer kernels can use them. `images` is a batch of which only
    the shape matters. Raises `RuntimesError` as `runtimes.to_onnx`.
    """
    import onnx

    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, Quantised):
            module.layer.weight.data = module.weights(module.layer.weight).detach()
            module.acts, module.weights = Fixed(module.acts), Fixed(module.weights)
            module.weights.ends = None  # they lie within, as they are rounded
    runtimes.to_onnx(network, images[:1], file)
    model = onnx.load(file)
    _store_codes(model)
    onnx.checker.check_model(model)
    write_atomically(file, model.SerializeToString())
    return file


@store.method(version=2)
def exported(*, study: runs.Spec) -> pd.DataFrame:
    """Run an 8-bit phase's network in ONNX Runtime over all test images, beside PyTorch.

    One row: `test_error` (%, PyTorch), `onnx_error` (%, ONNX Runtime), `classes_differ` (images
    that the two put into different classes), `images`, `bytes` of the file, `parameters` and
    `integers`, how many numbers the file holds as integers. Raises `StudyError` for a network of
    other bits before any work, and for one whose training diverged.
    """
    spec = runs.complete(study)
    if (spec["weight_bits"], spec["act_bits"]) != (EIGHT, EIGHT):
        raise StudyError(
            f"an ONNX file with integers needs 8-bit weights and activations, not "
            f"W{spec['weight_bits']}A{spec['act_bits']}."
        )
    stack = runs.network_of(spec)
    pictures = runs.load(spec["dataset"], spec["network"], 1)
    network = stack.network(0)
    if not all(bool(tensor.isfinite().all()) for tensor in network.parameters()):
        raise StudyError(f"{spec['network']} has no ONNX file: its training diverged.")
    with tempfile.TemporaryDirectory(prefix="qbench-") as folder:
        file = to_onnx(network, pictures.test.images, Path(folder, "network.onnx"))
        size, integers = file.stat().st_size, _integers(file)
        said = runtimes.onnx_logits(file, pictures.test.images).argmax(1)
    with torch.no_grad():
        own = torch.cat([network(part) for part in pictures.test.images.split(SHOWN)]).argmax(1)
    labels = pictures.test.labels.numpy()
    intervals = sum(m.groups for m in network.modules() if isinstance(m, Learnt))
    row: dict[str, Any] = {
        "test_error": float(errors(stack, pictures.test)[0]),
        "onnx_error": 100 * float((said != labels).mean()),
        "classes_differ": int((said != own.numpy()).sum()),
        "images": len(labels),
        "bytes": size,
        "parameters": parameters(network) - intervals,
        "integers": integers,
    }
    return pd.DataFrame([row])


def _store_codes(model: Any) -> None:
    """Replace each QuantizeLinear of stored float weights by the codes that it makes of them."""
    from onnx import numpy_helper

    graph = model.graph
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in values:  # equal ones are stored once
            values[node.output[0]] = values[node.input[0]]
    done = []
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in values:
            continue
        weight, scale, zero = (values[name] for name in node.input)
        axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
        if scale.ndim and scale.size > 1:
            shape = [-1 if dim == axis else 1 for dim in range(weight.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        limits = np.iinfo(zero.dtype)
        codes = np.clip(np.rint(weight / scale) + zero, limits.min, limits.max)
        graph.initializer.append(_unsigned(codes, limits, node.output[0]))
        done.append(node)
        for other in graph.node:
            if other.op_type == "DequantizeLinear" and other.input[0] == node.output[0]:
                other.input[2] = f"{node.output[0]}_zero"
        zeros = values[node.input[2]]
        graph.initializer.append(_unsigned(zeros, limits, f"{node.output[0]}_zero"))
    for node in done:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for one in [one for one in graph.initializer if one.name not in used]:
        graph.initializer.remove(one)


def _unsigned(codes: np.ndarray, limits: np.iinfo, name: str) -> Any:
    """Codes as uint8, moved by 128 where they were int8: the same numbers, in any arithmetic.

    On x86 without VNNI, ONNX Runtime multiplies uint8 by int8 in pairs whose sum is cut off at 16
    bits; uint8 by uint8 it multiplies exactly.
    """
    from onnx import numpy_helper

    return numpy_helper.from_array((codes.astype(np.int64) - limits.min).astype(np.uint8), name)


def _integers(file: Path) -> int:
    import onnx

    small = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    stored = onnx.load(file).graph.initializer
    return sum(int(np.prod(one.dims)) for one in stored if one.data_type in small and one.dims)
