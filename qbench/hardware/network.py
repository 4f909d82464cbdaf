"""The layers of a network, read from a model in PyTorch or from a QONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import HardwareError
from .layers import Layer, Window, conv_layer
from .mvtu import MOST_BITS, single

# Nodes that hand levels on as they are, so that what they give is as wide as what they take.
_PASSING = {"Reshape", "Flatten", "Transpose", "MaxPool", "Dropout", "Squeeze", "Unsqueeze"}
_PASSING |= {"Identity", "Pad"}
# Nodes between a product and its quantiser, which become part of the thresholds.
_ABSORBED = {"BatchNormalization", "Mul", "Div", "Add", "Sub", "Relu", "Clip", "Tanh"} | _PASSING


def layers_of(
    source: Any, *, input_shape: Sequence[int] | None = None, float_bits: int | None = None
) -> tuple[Layer, ...]:
    """The layers of a network that a cost model knows: fully connected ones and convolutions.

    `source` is

    - the path of a QONNX file, such as `qbench.sweep.export_qonnx` writes: widths are those of the
      Quant nodes before and behind each product;
    - a PyTorch module made of Brevitas layers, such as `qbench.models.tfc.quant_tfc()`: it is run
      once on zeros of `input_shape` (without the batch; by default one number for each input of the
      first linear layer), and a layer's inputs are as wide as what was quantised last, so branches
      that join are beyond it.

    `float_bits` is for a module trained in float32 that a device will run quantised: its float32
    weights and inputs are taken to have that many bits, inputs unsigned.

    Pooling, padding and normalisation are no layers here. Raises `HardwareError` for a network with
    float32 weights or inputs (without `float_bits`), with grouped, dilated or oblong convolutions,
    or without any layer, for a source of another kind, and for `float_bits` with a file.
    """
    assumed = None
    if float_bits is not None:
        assumed = single("float_bits", float_bits, most=MOST_BITS), False
    if isinstance(source, str | Path):
        if assumed:
            raise HardwareError("float_bits is for a PyTorch module, and source is a QONNX file.")
        found = tuple(_from_qonnx(Path(source)))
    elif callable(getattr(source, "named_modules", None)):
        found = tuple(_from_modules(source, input_shape, assumed))
    else:
        raise HardwareError(
            "source must be the path of a QONNX file or a PyTorch module, not "
            f"{type(source).__name__}."
        )
    if not found:
        raise HardwareError("the network has no fully connected layer and no convolution.")
    return found


def _float(name: str, what: str) -> HardwareError:
    return HardwareError(
        f"the {what} of {name} must be quantised, to 1 to 16 bits, and are float32: an MVTU "
        "computes with whole numbers."
    )


# PyTorch


def _from_modules(
    model: Any, input_shape: Sequence[int] | None, assumed: tuple[int, bool] | None
) -> Iterator[Layer]:
    import torch
    from torch import nn

    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not layers:
        return
    if input_shape is None:
        if not isinstance(layers[0], nn.Linear):
            raise HardwareError(
                "input_shape must be given, as (channels, height, width), for a network whose "
                "first layer is no linear one."
            )
        input_shape = (layers[0].in_features,)
    ran: list[tuple[str, Any, tuple[int, ...]]] = []
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) or quantiser(module, "act_quant"):

            def note(module: Any, given: tuple, _: Any, name: str = name) -> None:
                ran.append((name, module, tuple(given[0].shape)))

            hooks.append(module.register_forward_hook(note))
    training = model.training
    try:
        with torch.no_grad():
            parameter = next(model.parameters())
            model.eval()(torch.zeros(1, *input_shape).to(parameter))
    except RuntimeError as error:
        raise HardwareError(
            f"input_shape must be one that the network takes, not {tuple(input_shape)}: "
            f"{str(error).splitlines()[0]}."
        ) from error
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()

    width: tuple[int, bool] | None = None
    for index, (name, module, shape) in enumerate(ran):
        own = quantiser(module, "input_quant") if module in layers else None
        width = own or width
        if module not in layers:
            width = quantiser(module, "act_quant")
            continue
        weights, width = quantiser(module, "weight_quant") or assumed, width or assumed
        if weights is None:
            raise _float(name, "weights")
        if width is None:
            raise _float(name, "inputs")
        after = quantiser(module, "output_quant")
        if after is None and index + 1 < len(ran):
            following = ran[index + 1][1]
            after = quantiser(following, "input_quant" if following in layers else "act_quant")
        fields = {"signed_input": width[1], "out_bits": after[0] if after else None}
        if isinstance(module, nn.Conv2d):
            sides, kernel, stride = shape[-2:], module.kernel_size, module.stride
            around = module.padding
            if isinstance(around, str):
                around = (0, 0) if around == "valid" else tuple(k // 2 for k in kernel)
            window = _window(
                name, shape[1], sides, kernel, stride, around, module.dilation, module.groups
            )
            yield conv_layer(name, window, module.out_channels, weights[0], width[0], **fields)
        else:
            sizes = module.in_features, module.out_features
            vectors = 1
            for side in shape[1:-1]:
                vectors *= side
            yield Layer(name, *sizes, weights[0], width[0], vectors=vectors, **fields)
        width = quantiser(module, "output_quant")


def quantiser(module: Any, name: str) -> tuple[int, bool] | None:
    """Bits and signedness of one of a Brevitas layer's quantisers; None where it has none."""
    proxy = getattr(module, name, None)
    if proxy is None or not getattr(proxy, "is_quant_enabled", False):
        return None
    return int(proxy.bit_width()), bool(proxy.is_signed)


# QONNX


def _from_qonnx(file: Path) -> Iterator[Layer]:
    if not file.is_file():
        raise HardwareError(f"{file} must be a QONNX file, and there is no such file.")
    try:
        from qonnx.core.modelwrapper import ModelWrapper
    except ImportError as error:
        raise HardwareError(
            "reading a QONNX file needs the packages of qbench[export]: install those."
        ) from error
    try:
        graph = ModelWrapper(str(file))
    except Exception as error:  # of the parser of protocol buffers, whose class varies
        raise HardwareError(f"{file} must be a QONNX file, and cannot be read as one.") from error

    for node in graph.graph.node:
        if node.op_type not in ("MatMul", "Gemm", "Conv"):
            continue
        weights, given = graph.find_producer(node.input[1]), node.input[0]
        stored = weights is not None and graph.get_initializer(weights.input[0])
        if weights is None or stored is None or not _levels(graph, weights):
            raise _float(node.name, "weights")
        width = _before(graph, given)
        if width is None:
            raise _float(node.name, "inputs")
        bits = _levels(graph, weights)[0]
        fields = {"signed_input": width[1], "out_bits": _behind(graph, node.output[0])}
        shape, matrix = graph.get_tensor_shape(given), graph.get_tensor_shape(weights.output[0])
        if node.op_type == "Conv":
            get = {a.name: list(a.ints) or a.i for a in node.attribute}
            kernel, pads = get.get("kernel_shape", matrix[2:]), get.get("pads", [0] * 4)
            if len(set(pads)) > 1:
                raise HardwareError(f"{node.name} must be padded alike on all sides, not {pads}.")
            stride, dilation = get.get("strides", [1, 1]), get.get("dilations", [1, 1])
            window = _window(
                node.name, shape[1], shape[2:], kernel, stride, pads, dilation, get.get("group", 1)
            )
            yield conv_layer(node.name, window, matrix[0], bits, width[0], **fields)
        else:
            turned = any(a.name == "transB" and a.i for a in node.attribute)
            mw, mh = reversed(matrix) if turned else matrix
            vectors = 1
            for side in shape[1:-1]:
                vectors *= side
            yield Layer(node.name, mw, mh, bits, width[0], vectors=vectors, **fields)


def _levels(graph: Any, node: Any) -> tuple[int, bool] | None:
    """Bits and signedness of what a Quant or BipolarQuant node gives."""
    if node is None or node.op_type not in ("Quant", "IntQuant", "BipolarQuant"):
        return None
    if node.op_type == "BipolarQuant":
        return 1, True
    signed = next((bool(a.i) for a in node.attribute if a.name == "signed"), True)
    return int(graph.get_initializer(node.input[3])), signed


def _before(graph: Any, tensor: str) -> tuple[int, bool] | None:
    """Bits and signedness of a tensor, from the quantiser it comes from."""
    node = graph.find_producer(tensor)
    while node is not None and node.op_type in _PASSING:
        node = graph.find_producer(node.input[0])
    return _levels(graph, node)


def _behind(graph: Any, tensor: str) -> int | None:
    """Bits of the quantiser that a product ends in; None where it leaves as it is."""
    while True:
        following = graph.find_consumers(tensor)
        if not following or len(following) > 1 or following[0].op_type not in _ABSORBED:
            found = _levels(graph, following[0]) if following else None
            return found[0] if found else None
        tensor = following[0].output[0]


def _window(
    name: str,
    channels: int,
    sides: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Window:
    """The window of a convolution, where it is one that the cost model knows."""
    alike = all(len(set(pair)) == 1 for pair in (sides, kernel, stride, padding))
    if not alike or groups != 1 or set(dilation) != {1}:
        raise HardwareError(
            f"{name} must be a square convolution without groups or dilation, not kernel "
            f"{tuple(kernel)} on {tuple(sides)} pixels, groups {groups}, dilation "
            f"{tuple(dilation)}."
        )
    return Window(channels, sides[0], kernel[0], stride[0], padding[0])
