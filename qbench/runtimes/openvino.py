"""Networks on the devices that OpenVINO drives: what there is, and a file compiled for one."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from qbench import paths

from .backends import Backend, Classifier, Runner, pixels
from .errors import RuntimesError, library, whole
from .outside import refuse_outside

AT_ONCE = 64  # images a call where the network takes any number
# OpenVINO's names of what a device computes with, as NumPy and torch call it.
PRECISIONS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


@cache
def _core() -> Any:
    return library("openvino").Core()


def devices() -> list[str]:
    """The devices that OpenVINO finds on this machine, such as `CPU`, `GPU.0` or `NPU`."""
    return list(_core().available_devices)


def device_name(name: str) -> str:
    """OpenVINO's spelling of a device; raises `RuntimesError` for one that is not here.

    Upper and lower case are the same. What leaves the choice to OpenVINO (`AUTO`, `MULTI`,
    `HETERO`) is refused: a latency belongs to a device.
    """
    here = devices()
    asked = str(name).upper()
    if asked in here:
        return asked
    listed = f"the devices here are {', '.join(here)}"
    if asked.partition(".")[0] in ("MYRIAD", "NCS2"):
        version = library("openvino").__version__.partition("-")[0]
        raise RuntimesError(
            f"device {name!r}, the Myriad X of the Neural Compute Stick 2, cannot be used: its "
            f"plugin was last shipped with OpenVINO 2022.3 and is not in the installed version "
            f"{version}; {listed}."
        )
    raise RuntimesError(f"unknown device {name!r}: {listed}.")


def full_name(device: str) -> str:
    """What a device calls itself, such as the processor's name; errors as `device_name`."""
    return str(_core().get_property(device_name(device), "FULL_DEVICE_NAME"))


@dataclass(frozen=True, eq=False)
class Network:
    """A network compiled for one device, with one request that is used again and again.

    `batch` is the fixed number of images a call, None for any number. `precision` is what the
    device computes in, which the file does not decide: a CPU without FP16 units runs FP16 weights
    in float32. `weights` is what they are stored in, `float16` or `float32`. `threads` is None on
    a device that does not tell.
    """

    file: Path
    device: str
    batch: int | None
    threads: int | None
    precision: str
    weights: str
    image_shape: tuple[int, ...]
    classes: int
    request: Any = field(repr=False)

    def logits(self, images: Any) -> np.ndarray:
        """Logits (N, classes) float32 of images (N, ...), floats; N may be any number.

        Raises `RuntimesError` for images of another shape or type.
        """
        images = np.asarray(images)
        if images.shape[1:] != self.image_shape or images.ndim != 1 + len(self.image_shape):
            raise RuntimesError(f"images must be {self._expected()}, not {images.shape}.")
        if images.dtype.kind != "f":
            raise RuntimesError(f"images must be floating-point numbers, not {images.dtype}.")
        images = np.ascontiguousarray(images, dtype=np.float32)
        found = np.empty((len(images), self.classes), np.float32)
        step = self.batch or AT_ONCE
        for start in range(0, len(images), step):
            part = images[start : start + step]
            count = len(part)
            if self.batch and count < self.batch:  # filled up with the same images again
                part = np.resize(part, (step, *self.image_shape))
            found[start : start + count] = self.request.infer({0: part})[0][:count]
        return found

    def _expected(self) -> str:
        return f"({', '.join(['N', *map(str, self.image_shape)])})"


def load(
    file: Path,
    device: str = "CPU",
    *,
    batch: int | None = None,
    threads: int | None = None,
    precision: str | None = None,
    profiled: bool = False,
) -> Network:
    """Compile an ONNX file or an IR for `device`, optimised for the latency of one request.

    `batch` fixes the number of images a call, which is quicker than leaving it open (None).
    `threads` is how many the CPU may use, None as many as OpenVINO chooses. `precision` is what it
    computes in where the network has no integers: float32, bfloat16 or float16; None leaves it to
    OpenVINO, which takes bfloat16 where the CPU has it. `profiled` counts the time of each kernel
    (`profile`). Raises `RuntimesError` for an unknown device or precision, a file that is missing
    or no network, one that is not from images to classes, and a batch that it does not take.
    """
    device = device_name(device)
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision is not None:
        if precision not in PRECISIONS.values():
            known = ", ".join(PRECISIONS.values())
            raise RuntimesError(f"precision must be one of {known}, not {precision!r}.")
        settings["INFERENCE_PRECISION_HINT"] = {v: k for k, v in PRECISIONS.items()}[precision]
    if profiled:
        settings["PERF_COUNT"] = True
    if batch is not None:
        batch = whole("batch", batch, 1)
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = whole("threads", threads, 1)
        if device != "CPU":
            raise RuntimesError(f"threads can be chosen for the CPU only, not for {device}.")
    model = read(file)
    shown = paths.shown(file)
    shape, classes = _shapes(model, shown)
    try:
        if batch is not None:
            model.reshape([batch, *shape])
        elif model.input(0).partial_shape[0].is_static:
            batch = model.input(0).partial_shape[0].get_length()
        compiled = _core().compile_model(model, device, settings)
    except RuntimeError as error:
        raise RuntimesError(
            f"{shown} cannot be compiled for {device} with a batch of {batch or 'any size'}: "
            f"{reason(error)}."
        ) from error
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return Network(
        file=Path(file),
        device=device,
        batch=batch,
        threads=compiled.get_property("INFERENCE_NUM_THREADS") if device == "CPU" else None,
        precision=PRECISIONS.get(precision, precision),
        weights="float16" if _has_half(model) else "float32",
        image_shape=shape,
        classes=classes,
        request=compiled.create_infer_request(),
    )


def runner(
    backend: Backend, classifier: Classifier, *, batch: int, threads: int, seed: int
) -> Runner:
    """See `backends.opened`. Next to integers, and in float32, it computes in float32."""
    precision = "float32" if backend.integer else backend.precision
    network = load(classifier.onnx, "CPU", batch=batch, threads=threads, precision=precision)
    images = pixels(network.image_shape, batch, seed)
    network.request.set_input_tensor(library("openvino").Tensor(images))
    infer = network.request.infer

    def logits(others: np.ndarray) -> np.ndarray:
        found = network.logits(others)
        network.request.set_input_tensor(library("openvino").Tensor(images))
        return found

    return Runner(run=lambda: infer(share_outputs=True), logits=logits, precision=network.precision)


def read(file: Path) -> Any:
    """The `openvino.Model` of an ONNX file or an IR.

    Raises `RuntimesError` for a file that is missing, cut short or no network.
    """
    file = Path(file)
    shown = paths.shown(file)
    if file.suffix not in (".onnx", ".xml"):
        raise RuntimesError(f"{shown} must be an ONNX file (.onnx) or an OpenVINO IR (.xml).")
    needed = [file] if file.suffix == ".onnx" else [file, file.with_suffix(".bin")]
    for part in needed:
        try:
            content = part.read_bytes()
        except OSError as error:
            raise RuntimesError(f"{paths.shown(part)} cannot be read: {error.strerror}.") from None
        # Checked first: what is no network OpenVINO offers to each of its readers, which complain.
        if part.suffix == ".onnx":
            _check_onnx(content, shown)
        elif part.suffix == ".xml":
            _check_xml(content, shown)
    try:
        return _core().read_model(content if file.suffix == ".onnx" else file)
    except RuntimeError as error:
        raise RuntimesError(f"{shown} is no whole network: {reason(error)}.") from error


def _check_onnx(content: bytes, shown: str) -> None:
    onnx = library("onnx")
    refuse_outside(content, shown)
    try:
        onnx.checker.check_model(content)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise RuntimesError(f"{shown} is no ONNX network: {reason(error)}.") from error


def _check_xml(content: bytes, shown: str) -> None:
    try:
        root = ElementTree.fromstring(content).tag
    except ElementTree.ParseError as error:
        raise RuntimesError(f"{shown} is no OpenVINO IR: {error}.") from None
    if root != "net":
        raise RuntimesError(f"{shown} is no OpenVINO IR: it begins with <{root}>, not <net>.")


def _shapes(model: Any, shown: str) -> tuple[tuple[int, ...], int]:
    """Shape of an image, and the number of classes."""
    if len(model.inputs) == len(model.outputs) == 1:
        given, gives = model.input(0).partial_shape, model.output(0).partial_shape
        fixed = all(axis.is_static for axis in list(given)[1:])
        if fixed and len(given) > 1 and len(gives) == 2 and gives[1].is_static:
            return tuple(axis.get_length() for axis in list(given)[1:]), gives[1].get_length()
    raise RuntimesError(
        f"{shown} is no classifier: it must have one input, (N, ...) with all but N fixed, and one "
        "output, (N, classes)."
    )


def _has_half(model: Any) -> bool:
    return any(
        op.get_type_name() == "Constant" and op.get_element_type().get_type_name() == "f16"
        for op in model.get_ops()
    )


def reason(error: Exception) -> str:
    """The last line of OpenVINO's message; those before it name places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".!") if lines else type(error).__name__
