"""Joules of a computation: from the machine's own counters, else power × time as a thesis does it.

Vailakis 2022, eqs. 7.3 and 7.4: E = P · T. Counters are RAPL for processors (Intel since 2011, AMD
since 2017, read through Linux's powercap) and NVML for NVIDIA's GPUs. Every number goes with the
`how` it came about, as a maker's thermal design power is no measurement.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import RuntimesError

POWERCAP = Path("/sys/class/powercap")
RAPL, NVML, POWER_TIME, NONE = "RAPL", "NVML", "power × time", "none"


@dataclass(frozen=True)
class Meter:
    """Where joules come from: `how` is RAPL, NVML, power × time or none; `note` says it in words.

    `counter` gives the joules since some moment, which starts again from 0 after `wrap`; None where
    nothing is measured. `watts` is the power that is taken instead, None where none is stated.
    """

    how: str
    note: str
    watts: float | None = None
    counter: Callable[[], tuple[float, ...]] | None = None
    wrap: tuple[float, ...] = ()

    def read(self) -> tuple[float, ...]:
        """The counters now, for `joules`."""
        return self.counter() if self.counter else ()

    def joules(self, before: tuple[float, ...], seconds: float) -> float:
        """Joules since `before` was read, `seconds` ago; NaN where nothing tells."""
        if self.counter:
            pairs = zip(before, self.counter(), self.wrap, strict=True)
            return sum((after - start) % wrap for start, after, wrap in pairs)
        return math.nan if self.watts is None else self.watts * seconds


def meter(
    device: str = "cpu", *, watts: float | None = None, powercap: Path = POWERCAP, number: int = 0
) -> Meter:
    """The best that this machine offers for `device`, "cpu" or "cuda".

    `watts` is the stated power that counts where nothing is measured, of the processor or of the
    GPU; `number` is which GPU. Raises `RuntimesError` for watts that are not positive.
    """
    if watts is not None and not (0 < watts < math.inf):
        raise RuntimesError(f"watts must be a positive finite number, not {watts!r}.")
    found = _rapl(powercap) if device == "cpu" else _nvml(number)
    if found.counter:
        return found
    if watts is not None:
        note = f"stated power of {watts:g} W × time, not measured: {found.note}"
        return Meter(POWER_TIME, note, watts)
    return found


def _rapl(folder: Path) -> Meter:
    """The counters of all processor packages together."""
    try:
        domains = sorted(folder.glob("intel-rapl:*"))
        packages = [one for one in domains if _text(one / "name").startswith("package")]
    except OSError:
        packages = []
    if not packages:
        return Meter(
            NONE,
            "RAPL is not offered (no intel-rapl package in powercap): it takes Linux on the machine"
            " itself, not in most virtual ones, and the module intel_rapl_msr",
        )
    files = [one / "energy_uj" for one in packages]
    try:
        for file in files:
            int(file.read_text())
        wrap = tuple(int((one / "max_energy_range_uj").read_text()) / 1e6 for one in packages)
    except PermissionError:
        return Meter(
            NONE,
            "RAPL is there, but only root may read it: sudo chmod a+r "
            "/sys/class/powercap/intel-rapl:*/energy_uj until the next start",
        )
    except (OSError, ValueError) as error:
        return Meter(NONE, f"RAPL is there, but cannot be read: {error}")
    return Meter(
        RAPL,
        f"measured by RAPL, {len(files)} package{'s' if len(files) > 1 else ''}, all that it does",
        counter=lambda: tuple(int(file.read_text()) / 1e6 for file in files),
        wrap=wrap,
    )


def _nvml(number: int) -> Meter:
    try:
        import pynvml
    except ImportError:
        return Meter(NONE, "NVML is not offered: pip install nvidia-ml-py brings it")
    try:
        pynvml.nvmlInit()
        gpu: Any = pynvml.nvmlDeviceGetHandleByIndex(number)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except pynvml.NVMLError as error:
        return Meter(NONE, f"NVML gives no energy here: {error}")
    return Meter(
        NVML,
        "measured by NVML, the whole GPU",
        counter=lambda: (pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3,),
        wrap=(math.inf,),
    )


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
