"""A trained classifier as an ONNX file, and that as OpenVINO's intermediate representation.

Files hold neither a time nor a path, so the same weights give the same bytes.
"""

import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from qbench import paths
from qbench.files import write_atomically

from .errors import RuntimesError, library
from .openvino import read

OPSET = (
    18  # of ONNX; the exporter then writes IR version 8, which every ONNX Runtime since 1.14 has
)
INPUT, OUTPUT = "images", "logits"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """`model` in evaluation mode without gradients, then each of its modules in the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def to_onnx(model: nn.Module, example: Tensor, file: Path, *, dynamic_batch: bool = True) -> Path:
    """Write `model` as it is when it classifies; returns `file`, whose name must end in `.onnx`.

    `example` is a batch of images, (N, ...) float32, of which only the shape matters. The network's
    input is `images`, its output `logits`, (N, classes) float32; with `dynamic_batch` the file
    takes any N, else only that of `example`. Batch normalisation becomes part of the convolution
    before it. Opset 18. An existing file is replaced as a whole, missing folders are made.

    Raises `RuntimesError` for an example that the model does not take, for an output that is not
    (N, classes) float32, for weights that are not finite, for a module that ONNX cannot express and
    for a file that cannot be written.
    """
    file = _named(file, ".onnx")
    library("onnx")  # torch says so late, and in a traceback
    with evaluating(model):
        _check(model, example)
        buffer = io.BytesIO()
        with warnings.catch_warnings():  # that the quick exporter is no longer the default one
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                torch.onnx.export(
                    model,
                    (example,),
                    buffer,
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_axes={INPUT: {0: "N"}, OUTPUT: {0: "N"}} if dynamic_batch else None,
                )
            except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
                raise RuntimesError(
                    f"the model cannot be written as ONNX: {_first_line(error)}."
                ) from error
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, buffer.getvalue())
    return file


def to_ir(onnx_file: Path, file: Path) -> Path:
    """Convert an ONNX file to OpenVINO's IR with FP16 weights; returns `file`, named `….xml`.

    The weights lie beside it, in `….bin`. The `.xml` is what makes the pair a network: an old one
    goes first and the new one comes last, so that an interrupted run leaves no pair that looks
    whole. Missing folders are made. Raises `RuntimesError` as `load` does, and for a file that
    cannot be written.
    """
    file = _named(file, ".xml")
    openvino = library("openvino")
    # Not `openvino.convert_model`: it writes the ONNX file's name into the IR, and reports its use
    # over the network.
    model = read(onnx_file)
    for number, op in enumerate(model.get_ordered_ops()):
        if op.get_friendly_name() == op.get_name():  # a running number of this process
            op.set_friendly_name(f"{op.get_type_name()}_{number}")
    with tempfile.TemporaryDirectory(prefix="qbench-") as folder:
        made = Path(folder, "network.xml")
        openvino.save_model(model, made, compress_to_fp16=True)
        network, weights = made.read_bytes(), made.with_suffix(".bin").read_bytes()
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        write_atomically(file.with_suffix(".bin"), weights)
        write_atomically(file, network)
    return file


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Turn an `OSError` into a `RuntimesError`, a sentence that names `file`."""
    try:
        yield
    except OSError as error:
        raise RuntimesError(f"{paths.shown(file)} cannot be written: {error.strerror}.") from error


def _named(file: Path, suffix: str) -> Path:
    file = Path(file)
    if file.suffix != suffix:  # by which OpenVINO tells the formats apart
        raise RuntimesError(f"the file's name must end in {suffix}, and it is {file.name!r}.")
    return file


def _check(model: nn.Module, example: Tensor) -> None:
    if not isinstance(example, Tensor) or example.dtype != torch.float32 or not len(example):
        raise RuntimesError("example must be a batch of at least one float32 image.")
    for name, tensor in model.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise RuntimesError(
                f"{name} holds numbers that are not finite, so the model cannot be exported: its "
                "training diverged."
            )
    try:
        logits = model(example)
    except RuntimeError as error:
        raise RuntimesError(
            f"the model does not take an example of shape {tuple(example.shape)}: "
            f"{_first_line(error)}."
        ) from error
    if not isinstance(logits, Tensor) or logits.dtype != torch.float32 or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise RuntimesError(f"the model must give (N, classes) float32 logits, not {got}.")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
