"""FPGAs and what they offer: `data/devices/*.yml`, checked; how much of one a design takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from qbench import paths
from qbench.errors import nearest

from .errors import HardwareError
from .mvtu import RESOURCES, Cost

DEVICES = paths.DEVICES

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0, strict=True)]
Positive = Annotated[float, Field(gt=0)]


class Device(BaseModel):
    """One FPGA: look-up tables, flip-flops, block RAMs of 18 kbit, DSP slices, and sources.

    `clock_mhz` and `power_w` are what a publication ran it at or states for it, None where none
    does. `data/devices/README.md` explains the fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    part: Text
    aliases: tuple[Text, ...] = ()
    lut: Count
    ff: Count
    bram18: Count
    dsp: Count
    clock_mhz: Positive | None = None
    power_w: Positive | None = None
    sources: dict[Literal["resources", "clock_mhz", "power_w"], Text]

    @model_validator(mode="after")
    def _sourced(self) -> Device:
        optional = [name for name in ("clock_mhz", "power_w") if getattr(self, name) is not None]
        if set(self.sources) != {"resources", *optional}:
            raise ValueError(f"sources must be given for {', '.join(['resources', *optional])}")
        return self

    def __str__(self) -> str:
        return self.name


def names() -> list[str]:
    """The devices there are, smallest first."""
    return list(_devices())


def device(name: str | Device) -> Device:
    """A device by name, part, or board; upper or lower case, with or without hyphens.

    Raises `HardwareError` naming the devices there are.
    """
    if isinstance(name, Device):
        return name
    known = _devices()
    for found in known.values():
        if _plain(name) in map(_plain, (found.name, found.part, *found.aliases)):
            return found
    every = [alias for found in known.values() for alias in (found.name, *found.aliases)]
    hint = nearest([alias.lower() for alias in every], name)
    raise HardwareError(f"unknown device {name!r}{hint}: the names are {', '.join(known)}.")


@dataclass(frozen=True)
class Fit:
    """How much of a device a design takes.

    `shares` maps each of lut, ff, bram18, dsp to the used part of what there is, 1 for all, NaN
    where the use is not known (flip-flops without a fitted model); `fits` is whether no known share
    exceeds 1; `first` is the resource with the largest known share, the one that runs out first as
    the design grows. Numbers, or arrays of the cost's shape.
    """

    device: Device
    shares: dict[str, Any]
    fits: bool | np.ndarray
    first: str | np.ndarray

    def __str__(self) -> str:
        if isinstance(self.fits, np.ndarray):
            return repr(self)
        known = (f"{share:.0%} of {_LABELS[r]}" for r, share in self.shares.items() if share >= 0)
        return f"{', '.join(known)} of the {self.device}"


_LABELS = {"lut": "the LUTs", "ff": "the flip-flops", "bram18": "the BRAM18", "dsp": "the DSPs"}


def fit(cost: Cost, on: str | Device) -> Fit:
    """What share of each resource of a device `cost` takes; numbers or arrays.

    Estimates before placement: tools fail well below all of a device, so that a design that "fits"
    at 95 % may not be routable. Raises `HardwareError` for an unknown device.
    """
    target = device(on)
    shares = {name: getattr(cost, name) / getattr(target, name) for name in RESOURCES}
    known = np.stack(np.broadcast_arrays(*(np.nan_to_num(s, nan=-1.0) for s in shares.values())))
    first = np.array(RESOURCES)[known.argmax(axis=0)]
    fits = (known <= 1).all(axis=0)
    if known.ndim == 1:
        return Fit(target, {k: float(v) for k, v in shares.items()}, bool(fits), str(first))
    return Fit(target, shares, fits, first)


@cache
def _devices() -> dict[str, Device]:
    import yaml

    found = []
    for file in sorted(DEVICES.glob("*.yml")):
        try:
            found.append(Device.model_validate(yaml.safe_load(file.read_text("utf-8"))))
        except (OSError, yaml.YAMLError) as error:
            raise HardwareError(f"{paths.shown(file)} cannot be read: {error}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"])) or "it"
            raise HardwareError(f"{paths.shown(file)}: {at}: {first['msg']}.") from error
    if not found:
        raise HardwareError(f"{paths.shown(DEVICES)} has no devices: use a complete checkout.")
    return {one.name: one for one in sorted(found, key=lambda one: one.lut)}


def _plain(name: Any) -> str:
    return re.sub(r"[^a-z0-9+]", "", str(name).lower())
