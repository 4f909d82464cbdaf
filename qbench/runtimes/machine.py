"""What a measurement must say of the machine: its instructions, its clock, what else it is doing.

`fingerprint` names what stays the same from one run to the next and may become part of a result's
specification; `state` is how the machine is at the moment, which only a measurement may record.
"""

import importlib.metadata
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from qbench import provenance

SYSTEM = Path("/sys/devices/system/cpu")
CPUINFO = Path("/proc/cpuinfo")
LIBRARIES = ("torch", "onnxruntime", "openvino", "onnx")
# Instructions that decide how quick a network is, by the names of Linux: x86, then Arm.
INSTRUCTIONS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "AVX512-BF16": ("avx512_bf16",),
    "AVX512-FP16": ("avx512_fp16",),
    "AMX-INT8": ("amx_int8",),
    "AMX-BF16": ("amx_bf16",),
    "NEON": ("asimd", "neon"),
    "dot product": ("asimddp",),
    "I8MM": ("i8mm",),
    "BF16": ("bf16",),
    "FP16": ("asimdhp",),
}
# With one of these, products of 8-bit integers are summed in 32 bits by one instruction.
INTEGER_SUMS = ("VNNI", "AMX-INT8", "dot product", "I8MM")


@cache
def instructions() -> tuple[str, ...]:
    """Which of `INSTRUCTIONS` this processor has; empty where the system does not tell."""
    return found_in(_read(CPUINFO))


def found_in(cpuinfo: str) -> tuple[str, ...]:
    """Which of `INSTRUCTIONS` the text of Linux's /proc/cpuinfo lists."""
    flags: set[str] = set()
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags |= set(value.split())
    return tuple(name for name, any_of in INSTRUCTIONS.items() if flags & set(any_of))


def sums_integers() -> bool:
    """Whether one instruction multiplies 8-bit integers and sums them in 32 bits."""
    return bool(set(INTEGER_SUMS) & set(instructions()))


def governor() -> str:
    """The rule by which Linux sets the clock, such as `performance`; empty where it is not told."""
    return _read(SYSTEM / "cpu0/cpufreq/scaling_governor").strip()


def frequency_mhz() -> float | None:
    """Mean clock of the processors at the moment, in MHz; None where the system does not tell.

    In a virtual machine this may be a constant that the host made up.
    """
    clocks = [_number(file) for file in SYSTEM.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    clocks = [clock / 1e3 for clock in clocks if clock]  # from kHz
    if not clocks:
        lines = [line for line in _read(CPUINFO).splitlines() if line.startswith("cpu MHz")]
        clocks = [float(line.partition(":")[2]) for line in lines]
    return sum(clocks) / len(clocks) if clocks else None


def virtual() -> bool:
    """Whether the processor says that it is a guest of a hypervisor."""
    return " hypervisor" in _read(CPUINFO)


def accelerators() -> tuple[str, ...]:
    """Names of the GPUs that PyTorch can use."""
    import torch

    if not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def fingerprint() -> dict[str, Any]:
    """What decides the speed of a network here and does not change by itself.

    `processor`, `cores` (that this process may use), `instructions`, `accelerators` and `versions`
    of the libraries that compute.
    """
    about = provenance.machine()
    return {
        "processor": about["processor"],
        "cores": about["cores"],
        "instructions": list(instructions()),
        "accelerators": list(accelerators()),
        "versions": _versions(),
    }


def state() -> dict[str, float]:
    """`load`, processes that want to run (mean of a minute), and `mhz`; NaN where not told."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        load = float("nan")
    clock = frequency_mhz()
    return {"load": load, "mhz": float("nan") if clock is None else clock}


def described(machine: Mapping[str, Any]) -> str:
    """A fingerprint in a few words, for a caption: `AMD EPYC, 2 cores, AVX2`."""
    parts = [machine["processor"], f"{machine['cores']} cores", *machine["accelerators"]]
    widest = [name for name in machine["instructions"] if name != "AVX-512"]
    return ", ".join([*parts, "/".join(widest)] if widest else parts)


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(file: Path) -> float | None:
    text = _read(file).strip()
    return float(text) if text.replace(".", "", 1).isdigit() else None
