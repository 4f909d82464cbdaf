"""Runtime × precision × device: what there is, what is missing and how to get it, one interface.

    for one in backends.every():
        print(one.name, one.missing or "is here")
    runner = backends.opened(one, classifier, batch=1, threads=2)
    runner.run()

A `Classifier` is a network as the runtimes take it; `opened` makes a `Runner` of it, a batch of
images in place, that computes their logits as often as it is asked.
"""

import os
import shutil
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from . import machine
from .errors import RuntimesError, library, whole

RUNTIMES = {
    "pytorch": "PyTorch",
    "compiled": "PyTorch compiled",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}
PRECISIONS = ("float32", "bfloat16", "float16", "int8")
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
# What a runtime can do at all; whether it can here is said by `Backend.missing`.
POSSIBLE = {
    ("pytorch", "cpu"): ("float32", "bfloat16"),
    ("compiled", "cpu"): ("float32", "bfloat16"),
    ("onnxruntime", "cpu"): ("float32", "int8"),
    ("openvino", "cpu"): ("float32", "bfloat16", "float16", "int8"),
    ("pytorch", "cuda"): ("float32", "bfloat16", "float16"),
    ("compiled", "cuda"): ("float32", "bfloat16", "float16"),
    ("onnxruntime", "cuda"): ("float32",),
}
BFLOAT16 = ("AVX512-BF16", "AMX-BF16", "BF16")
OF_OPENVINO = {"bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}


@dataclass(frozen=True)
class Backend:
    """One way to run a network. `missing` is empty, or one sentence: what is not here, and how to
    get it."""

    runtime: str
    precision: str
    device: str = "cpu"
    missing: str = ""

    @property
    def name(self) -> str:
        return f"{RUNTIMES[self.runtime]}, {self.precision}, {DEVICES[self.device]}"

    @property
    def integer(self) -> bool:
        return self.precision == "int8"


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network: `onnx` is its file; `model` the same in PyTorch, None for one of 8 bits.

    `integer` says that the file holds integers behind QuantizeLinear and DequantizeLinear, and is
    meant for integer kernels.
    """

    name: str
    onnx: Path
    model: nn.Module | None = None
    integer: bool = False

    def fits(self, backend: Backend) -> bool:
        """Whether the backend computes such a network: int8 those of 8 bits, all others float."""
        return self.integer == backend.integer


@dataclass(frozen=True, eq=False)
class Runner:
    """A network in a runtime with a batch of images in place.

    `run()` computes their logits and returns when they are there; `logits(images)` gives those of
    other images, (N, ...) float32, N any number. `precision` is what it computes in.
    """

    run: Callable[[], object]
    logits: Callable[[np.ndarray], np.ndarray]
    precision: str
    about: dict[str, Any] = field(default_factory=dict)


def every(
    runtimes: Iterable[str] = RUNTIMES,
    precisions: Iterable[str] = PRECISIONS,
    devices: Iterable[str] = DEVICES,
) -> list[Backend]:
    """All that can be asked for, in this order; raises `RuntimesError` for an unknown name."""
    runtimes, precisions, devices = list(runtimes), list(precisions), list(devices)
    for what, asked, known in (
        ("runtime", runtimes, RUNTIMES),
        ("precision", precisions, PRECISIONS),
        ("device", devices, DEVICES),
    ):
        for one in asked:
            if one not in known:
                raise RuntimesError(f"{what} must be one of {', '.join(known)}, not {one!r}.")
    return [
        Backend(runtime, precision, device, missing(runtime, precision, device))
        for device in devices
        for precision in precisions
        for runtime in runtimes
        if precision in POSSIBLE.get((runtime, device), ())
    ]


def missing(runtime: str, precision: str, device: str = "cpu") -> str:
    """Why this cannot run here, as a sentence with what would help; empty where it can."""
    try:
        if runtime in ("onnxruntime", "openvino"):
            library("onnx")
            library(runtime)
    except RuntimesError as error:
        return str(error)
    said = _no_compiler() if runtime == "compiled" else ""
    if device == "cuda":
        return _no_gpu(runtime, precision) or said
    return _no_precision(runtime, precision) or said


def opened(
    backend: Backend, classifier: Classifier, *, batch: int = 1, threads: int = 1, seed: int = 0
) -> Runner:
    """`classifier` in `backend`, with `batch` normally distributed images drawn from `seed`.

    `threads` is how many the processor may use. Raises `RuntimesError` for a backend that is not
    here, a network that it does not compute, and numbers that are not whole and positive. So do the
    logits of images whose shape is not the one that the network's file has.
    """
    if backend.missing:
        raise RuntimesError(f"{backend.name} is not here: {backend.missing}")
    if not classifier.fits(backend):
        kind = "of 8 bits" if backend.integer else "in float32"
        raise RuntimesError(f"{backend.name} takes a network {kind}, not {classifier.name!r}.")
    batch, threads = whole("batch", batch, 1), whole("threads", threads, 1)
    if backend.runtime == "onnxruntime":
        from . import onnx_runtime as runtime
    elif backend.runtime == "openvino":
        from . import openvino as runtime
    else:
        from . import pytorch as runtime
    made = runtime.runner(backend, classifier, batch=batch, threads=threads, seed=seed)
    return replace(made, logits=_of_shape(classifier, made.logits))


def _of_shape(
    classifier: Classifier, logits: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """`logits` of images of the file's shape alone: a network may take others, and be wrong."""
    from .onnx_runtime import image_shape

    shape = image_shape(classifier.onnx)

    def checked(images: np.ndarray) -> np.ndarray:
        if images.shape[1:] != shape:
            expected = ", ".join(["N", *map(str, shape)])
            raise RuntimesError(
                f"images for {classifier.name!r} must be ({expected}), not {images.shape}."
            )
        return logits(images)

    return checked


def pixels(shape: Iterable[int], batch: int, seed: int) -> np.ndarray:
    """(batch, *shape) float32, normally distributed."""
    return np.random.default_rng(seed).standard_normal((batch, *shape), dtype=np.float32)


def _no_compiler() -> str:
    """torch.compile writes C++ and has it compiled."""
    compiler = os.environ.get("CXX", "")
    if not any(shutil.which(name) for name in (compiler, "g++", "clang++", "c++") if name):
        return "torch.compile needs a C++ compiler, and none is found: install g++ or set CXX."
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "torch.compile needs Python's headers, and Python.h is not found: install python-dev"
    return ""


def _no_gpu(runtime: str, precision: str) -> str:
    import torch

    if not torch.cuda.is_available():
        return (
            "PyTorch finds no CUDA device: it takes an NVIDIA GPU with its driver and a CUDA build "
            "of PyTorch."
        )
    if precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "this GPU has no bfloat16: NVIDIA's have it since Ampere."
    if runtime == "onnxruntime":
        found = library("onnxruntime").get_available_providers()
        if "CUDAExecutionProvider" not in found:
            return (
                "this ONNX Runtime has no CUDA: pip install onnxruntime-gpu in place of it brings "
                "that."
            )
    return ""


def _no_precision(runtime: str, precision: str) -> str:
    if runtime == "openvino" and precision in OF_OPENVINO:
        can = library("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if OF_OPENVINO[precision] not in can:
            return (
                f"OpenVINO does not compute in {precision} on this processor: it lists "
                f"{', '.join(sorted(can))}."
            )
    elif precision == "bfloat16" and not set(BFLOAT16) & set(machine.instructions()):
        return (
            "this processor has no bfloat16 instructions (AVX512-BF16 or AMX-BF16, on Arm BF16); "
            "PyTorch would emulate them."
        )
    return ""
