"""A trained classifier outside PyTorch: exported, checked, and measured on a named device.

    from qbench import runtimes

    file = runtimes.to_ir(runtimes.to_onnx(model, images[:1], "net.onnx"), "net.xml")
    assert runtimes.agreement(model, file, images).ok
    print(runtimes.latency(file, "CPU").median_ms)

- `export`: `to_onnx`, and `to_ir` for OpenVINO's intermediate representation with FP16 weights;
- `agreement`: whether a file still is the network that was trained, `onnx_logits` by ONNX Runtime;
- `openvino`: `devices`, and `load`, a file compiled for one of them as a `Network`;
- `timing`: the `latency` of one network, or of several by turns (`by_turns`, `side_by_side`);
- `backends`: PyTorch, ONNX Runtime and OpenVINO behind one interface, `Backend`, `Classifier` and
  `Runner`; what is missing on this machine and how to get it;
- `throughput`: latency and throughput of all of these over batch sizes and threads, by turns;
- `profile`: which kernels ran, and whether with integers; `integer`: files of 8 bits;
- `energy`: joules by RAPL or NVML, or power × time; `machine`: its instructions, clock and load;
- `cost`: `macs`, the work of a network by counting.

OpenVINO, ONNX and ONNX Runtime are imported where they are used. Whatever cannot be is a
`RuntimesError`, one sentence, before any work.
"""

from .agreement import Agreement, agreement, onnx_logits
from .backends import Backend, Classifier, Runner
from .cost import macs
from .errors import RuntimesError
from .export import to_ir, to_onnx
from .openvino import Network, device_name, devices, full_name, load
from .timing import Latency, by_turns, distinguishable, latency, side_by_side

__all__ = [
    "Agreement",
    "Backend",
    "Classifier",
    "Latency",
    "Network",
    "Runner",
    "RuntimesError",
    "agreement",
    "by_turns",
    "device_name",
    "devices",
    "distinguishable",
    "full_name",
    "latency",
    "load",
    "macs",
    "onnx_logits",
    "side_by_side",
    "to_ir",
    "to_onnx",
]
