"""Which kernels ran, by the runtime's own account: whether integers were computed with integers.

A file of 8 bits need not be computed so: where a runtime finds no pattern that it knows, it turns
the codes into float32 and goes on with those. What it says of each kernel tells.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .backends import Backend, Classifier, pixels
from .errors import RuntimesError, library, whole
from .openvino import load

REQUESTS = 5
# Operations that multiply, by the names of the runtimes and of ONNX.
MULTIPLY = re.compile(r"conv|gemm|matmul|fullyconnected|linear$|addmm", re.IGNORECASE)
NOT_MULTIPLY = re.compile(
    r"convert|reorder|quantizelinear|QLinear(Concat|AveragePool|GlobalAveragePool|Add)",
    re.IGNORECASE,
)
# ONNX Runtime's operators that compute with integers: those of ONNX and its own.
INTEGER_OPS = re.compile(r"^(QLinear|QGemm|MatMulInteger|ConvInteger|QAttention)")
# PyTorch's that do the work; the operators around them call these.
LEAVES = re.compile(
    r"mkldnn_(convolution|linear)|slow_conv|cudnn_conv|::addmm|::b?mm$|^quantized::"
)
COLUMNS = ("layer", "operation", "kernel", "multiplies", "integer", "calls", "ms")


def kernels(
    backend: Backend, classifier: Classifier, *, batch: int = 8, threads: int = 1
) -> pd.DataFrame:
    """A row for each kernel that ran, with its `calls` and mean time in a request: `COLUMNS`.

    `operation` is the runtime's name of what is computed and `kernel` of how, `multiplies` whether
    it is a convolution or a product of matrices, `integer` whether it computes with integers:

    - OpenVINO: the kernel's type ends in an 8-bit type, such as `brgconv_avx2_I8`;
    - ONNX Runtime: the operator is one of integers, such as QLinearConv;
    - PyTorch: the operator is of the library's `quantized` ones.

    Raises `RuntimesError` for a backend that is not here.
    """
    if backend.missing:
        raise RuntimesError(f"{backend.name} is not here: {backend.missing}")
    batch, threads = whole("batch", batch, 1), whole("threads", threads, 1)
    how = {"openvino": _openvino, "onnxruntime": _onnx_runtime}
    rows = how.get(backend.runtime, _pytorch)(backend, classifier, batch, threads)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Of `kernels`: how many `multiplying` there are, how many of these are `integer`, their shares
    of the time in %: `integer_time`, `multiplying_time`, `rest_time`, and `names`, the kernels that
    multiply with the most time first.
    """
    total = table["ms"].sum()
    multiplies = table[table["multiplies"]]
    names = multiplies.groupby("kernel")["ms"].sum().sort_values(ascending=False).index
    share = 100 * multiplies["ms"].sum() / total if total else np.nan
    whole_numbers = multiplies.loc[multiplies["integer"], "ms"].sum()
    return {
        "multiplying": round(multiplies["calls"].sum()),
        "integer": round(multiplies.loc[multiplies["integer"], "calls"].sum()),
        "integer_time": 100 * whole_numbers / total if total else np.nan,
        "multiplying_time": share,
        "rest_time": 100 - share,
        "names": ", ".join(names),
    }


def multiplies(operation: str) -> bool:
    """Whether an operation, by its runtime's name, is a convolution or a product of matrices."""
    return bool(MULTIPLY.search(operation)) and not NOT_MULTIPLY.search(operation)


def _openvino(backend: Backend, classifier: Classifier, batch: int, threads: int) -> list:
    precision = "float32" if backend.integer else backend.precision
    network = load(
        classifier.onnx, "CPU", batch=batch, threads=threads, precision=precision, profiled=True
    )
    images = pixels(network.image_shape, batch, 0)
    times: dict[str, list[float]] = {}
    for _ in range(REQUESTS):
        network.request.infer({0: images})
        ran = [i for i in network.request.get_profiling_info() if i.status.name == "EXECUTED"]
        for one in ran:
            times.setdefault(one.node_name, []).append(one.real_time.total_seconds() * 1e3)
    return [
        (
            one.node_name,
            one.node_type,
            one.exec_type,
            multiplies(one.node_type),
            bool(re.search(r"_[iu]8$", one.exec_type, re.IGNORECASE)),
            1.0,
            float(np.mean(times[one.node_name])),
        )
        for one in ran
    ]


def _onnx_runtime(backend: Backend, classifier: Classifier, batch: int, threads: int) -> list:
    from .onnx_runtime import image_shape, session

    library("onnxruntime")
    with tempfile.TemporaryDirectory(prefix="qbench-") as folder:
        running = session(
            classifier.onnx, threads=threads, device=backend.device, profile=Path(folder, "ran")
        )
        images = pixels(image_shape(classifier.onnx), batch, 0)
        for _ in range(REQUESTS):
            running.run(None, {running.get_inputs()[0].name: images})
        events = json.loads(Path(running.end_profiling()).read_text())
    times: dict[str, tuple[str, list[float]]] = {}
    for event in events:
        name, operation = event["name"], event.get("args", {}).get("op_name")
        if event["cat"] == "Node" and operation and name.endswith("_kernel_time"):
            layer = name.removesuffix("_kernel_time")
            times.setdefault(layer, (operation, []))[1].append(event["dur"] / 1e3)
    return [
        (
            layer,
            operation,
            operation,
            multiplies(operation),
            bool(INTEGER_OPS.match(operation)),
            len(took) / REQUESTS,
            sum(took) / REQUESTS,
        )
        for layer, (operation, took) in times.items()
    ]


def _pytorch(backend: Backend, classifier: Classifier, batch: int, threads: int) -> list:
    import torch

    from qbench.threads import same_after

    from .backends import opened

    runner = opened(backend, classifier, batch=batch, threads=threads)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if backend.device == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with same_after():
        runner.run()
        with _silent(), torch.profiler.profile(activities=kinds) as profiler:
            for _ in range(REQUESTS):
                runner.run()
    rows = []
    for one in profiler.key_averages():
        took = one.self_cpu_time_total if backend.device == "cpu" else one.self_device_time_total
        if took:
            name, calls = one.key, one.count / REQUESTS
            works, whole_numbers = bool(LEAVES.search(name)), name.startswith("quantized::")
            rows.append((name, name, name, works, whole_numbers, calls, took / 1e3 / REQUESTS))
    return rows


@contextmanager
def _silent() -> Iterator[None]:
    """PyTorch's profiler says when it starts and stops, on the process' own standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
