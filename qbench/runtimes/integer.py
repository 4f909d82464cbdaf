"""Files of 8 bits for integer kernels: by ONNX Runtime's static quantisation; signed weights."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from qbench import paths
from qbench.files import write_atomically

from . import machine
from .errors import RuntimesError, library
from .export import INPUT

AT_ONCE = 64


def to_int8(onnx_file: Path, images: np.ndarray, file: Path, *, narrow: bool | None = None) -> Path:
    """Round weights and all tensors between layers to 8 bits; returns `file`, named `….onnx`.

    Every tensor gets the range that it has for `images` (N, ...) float32, codes without a sign, and
    each output channel of the weights one of its own, signed. So concatenations and poolings are
    computed with integers as well. `narrow` keeps the weights' codes within 7 bits: without VNNI,
    processors add products of 8 bits in pairs that are cut off at 16 bits, and codes of 7 bits fit
    (None: where this processor has no VNNI). Raises `RuntimesError` for a file or images that do
    not fit.
    """
    library("onnxruntime")
    from onnxruntime import quantization

    narrow = not machine.sums_integers() if narrow is None else narrow
    images = np.ascontiguousarray(images, np.float32)
    if not len(images):
        raise RuntimesError("images must hold at least one image, and is empty.")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.parts: Iterator[np.ndarray] = iter(
                [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.parts, None)
            return None if part is None else {INPUT: part}

    with tempfile.TemporaryDirectory(prefix="qbench-") as folder, _quiet():
        made = Path(folder, "rounded.onnx")
        try:
            quantization.quantize_static(
                onnx_file,
                made,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                reduce_range=narrow,
            )
        except Exception as error:  # its exceptions have no common class of their own
            raise RuntimesError(
                f"{paths.shown(onnx_file)} cannot be rounded with images of shape {images.shape}: "
                f"{str(error).strip().splitlines()[-1]}."
            ) from error
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, made.read_bytes())
    return file


def with_signed_weights(file: Path) -> Path:
    """Store the weights' codes of a QDQ file as int8 where they are uint8; returns `file`.

    Codes and zero points move by 128 together, so the numbers stay. OpenVINO has kernels of
    integers for weights with a sign whose zero point is 0, and for no others.
    """
    onnx = library("onnx")
    model = onnx.load(file)
    stored = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in stored:
            continue
        for name in (node.input[0], node.input[2]):
            codes = onnx.numpy_helper.to_array(stored[name])
            if codes.dtype == np.uint8:
                moved = (codes.astype(np.int16) - 128).astype(np.int8)
                stored[name].CopyFrom(onnx.numpy_helper.from_array(moved, name))
    onnx.checker.check_model(model)
    write_atomically(file, model.SerializeToString())
    return file


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice to pre-process, which our files do not need: batch norms are fused."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
