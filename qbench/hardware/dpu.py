"""Xilinx's DPUCZDX8G: its cores, and what they take of an FPGA (Vailakis 2022, 6.2.2).

A core works through a network layer by layer with one array of multipliers for 8-bit integers. In
each cycle it takes PP pixels, ICP input channels and OCP output channels, PP·ICP·OCP
multiply-accumulates (MACs) of 2 operations each (Section 6.2.2, Table 6.4). How fast that makes a
network is in `dpu_speed`, what the cores take of an FPGA is here.

The resources are those that Xilinx publishes and the thesis prints. Table 6.4 does not say which
options its cores have. Its DSPs and block RAMs do: low RAM usage, low DSP usage and depthwise
convolution, see `structure`. Its LUTs do not, and Table 6.10, three times Table 6.4 to the last
digit, adds nothing. That channel augmentation, average pooling and leaky ReLU are in them is our
assumption; if they are not, a B4096 with all three has up to a tenth more LUTs, and as many cores
fit a ZCU102. Softmax, whose DSPs would show, is not in them. So `Options()` is the core of Table
6.4. Leaky ReLU stays: 347 to 706 LUTs are printed for it, not which architecture has how many.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from . import devices
from .errors import HardwareError
from .folding import positive
from .mvtu import RESOURCES, one_of, single

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "vailakis2022"
OPS_A_MAC = 2
MOST_CORES = 4  # of one IP, Section 6.2.2
USAGES = ("low", "high")

# An RAMB18 holds 2,048 bytes of 9 bits; a bank is 2,048 words of one byte a channel.
RAM_BITS = 9


@dataclass(frozen=True)
class Architecture:
    """A convolution array: `pixels` PP, `inputs` ICP and `outputs` OCP at once (Table 6.4).

    Raises `HardwareError` for anything but whole numbers of at least 1.
    """

    name: str
    pixels: int
    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        for field in ("pixels", "inputs", "outputs"):
            value = single(f"{field} of {self.name}", getattr(self, field))
            object.__setattr__(self, field, value)

    @property
    def macs(self) -> int:
        """Multiply-accumulates a cycle: PP·ICP·OCP."""
        return self.pixels * self.inputs * self.outputs

    @property
    def operations(self) -> int:
        """Operations a cycle: PP·ICP·OCP·2. For B512 512, where Table 6.4 prints 510."""
        return OPS_A_MAC * self.macs

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Options:
    """What a core is built with; the default is taken to be the core of Table 6.4, see the module.

    - `ram_usage`: "low" or "high" (Table 6.5);
    - `dsp_usage`: "low" accumulates in LUTs, "high" in DSP slices (Table 6.9);
    - `channel_augmentation` (Table 6.6), `depthwise` convolution (6.7), `average_pool` (6.8);
    - `softmax`: once for all cores (Section 6.2.2), up to 1,023 labels.

    Raises `HardwareError` for other values.
    """

    ram_usage: str = "low"
    dsp_usage: str = "low"
    channel_augmentation: bool = True
    depthwise: bool = True
    average_pool: bool = True
    softmax: bool = False

    def __post_init__(self) -> None:
        for name in ("ram_usage", "dsp_usage"):
            one_of(name, getattr(self, name), USAGES)
        for name in ("channel_augmentation", "depthwise", "average_pool", "softmax"):
            if not isinstance(getattr(self, name), bool):
                raise HardwareError(f"{name} must be True or False, not {getattr(self, name)!r}.")


@dataclass(frozen=True)
class Resources:
    """Look-up tables, flip-flops, block RAMs of 18 kbit and DSP slices; `devices.fit` takes it."""

    lut: int
    ff: int
    bram18: int
    dsp: int

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(getattr(self, r) + getattr(other, r) for r in RESOURCES))

    def __mul__(self, times: int) -> Resources:
        return Resources(*(times * getattr(self, r) for r in RESOURCES))


def names() -> list[str]:
    """The architectures, smallest first (Table 6.4)."""
    return list(_architectures())


def architecture(name: str | Architecture) -> Architecture:
    """An architecture by name; `HardwareError` for an unknown one."""
    if isinstance(name, Architecture):
        return name
    one_of("architecture", name, tuple(names()))
    return _architectures()[name]


def resources(
    name: str | Architecture, cores: int = 1, options: Options | None = None
) -> Resources:
    """What `cores` cores take, by adding up Tables 6.4 to 6.9 and Section 6.2.2; default `Options`.

    What an option costs is taken off where it is off: the tables print it for each alone, and not
    what they share. Raises `HardwareError` for a core
    number that is not from 1 to 4 and an architecture that the tables do not have.
    """
    own = architecture(name)
    if _architectures().get(own.name) != own:
        raise HardwareError(f"architecture must be one of {', '.join(names())}, not {own!r}.")
    cores, with_ = single("cores", cores, most=MOST_CORES), _checked(options)
    core = _tabulated(own.name, "core")
    for feature, added in (
        ("channel_augmentation", -(not with_.channel_augmentation)),
        ("depthwise_convolution", -(not with_.depthwise)),
        ("average_pooling", -(not with_.average_pool)),
        ("low_dsp_usage", -(with_.dsp_usage == "high")),
        ("high_ram_usage", with_.ram_usage == "high"),
    ):
        core += _tabulated(own.name, feature) * int(added)
    return core * cores + _softmax() * int(with_.softmax)


def most_cores(
    name: str | Architecture, on: str | devices.Device = "ZCU102", options: Options | None = None
) -> int:
    """How many cores an FPGA has room for, 0 to 4; raises `HardwareError` as `resources` does.

    Counted by LUTs, flip-flops, block RAMs and DSP slices of the whole device: an upper bound, as
    placement and whatever else the design holds need some. UltraRAM, which the core can use where a
    device has it, is not counted.
    """
    found = [resources(name, cores, options) for cores in range(1, MOST_CORES + 1)]
    return sum(devices.fit(one, on).fits for one in found)


def structure(name: str | Architecture, options: Options | None = None) -> dict[str, int]:
    """`dsp` and `bram18` of one core from its parallelism: what the tables' numbers are made of.

    DSP slices: PP·ICP·OCP/4 multipliers, as a slice multiplies two pairs of bytes (Xilinx WP486) at
    twice the clock, and 2; 3/8·PP·OCP for depthwise convolution; PP·OCP for accumulation with high
    DSP usage. For B4096 512 + 2 + 48 = 562, Table 6.4's number, which so cannot be high usage: less
    the 128 slices of Table 6.9, too few would be left to multiply.

    Block RAM, in banks of 2,048 words of ICP = OCP bytes, ⌈8·OCP/9⌉ RAMB18 each: 2·PP banks of
    images, OCP + 1 of weights, one for depthwise convolution, PP more with high RAM usage. What is
    left is 3 RAMB18 up to ten channels and 4 above, which we fit and cannot explain.

    All DSPs and block RAMs of Tables 6.4, 6.5, 6.7 and 6.9 follow, but B4096's with high RAM usage:
    317.5 blocks of 36 kbit are printed, 317 follow. So do those of cores without depthwise
    convolution in an older product guide (PG338 v1.2, Table 9). LUTs and flip-flops follow no such
    rule that we found: `resources` reads them from the tables.
    """
    one, with_ = architecture(name), _checked(options)
    bank = -(-8 * one.outputs // RAM_BITS)
    banks = 2 * one.pixels + one.outputs + 1 + with_.depthwise
    banks += one.pixels * (with_.ram_usage == "high")
    accumulators = one.pixels * one.outputs
    return {
        "dsp": one.macs // 4
        + 2
        + 3 * accumulators // 8 * with_.depthwise
        + accumulators * (with_.dsp_usage == "high"),
        "bram18": bank * banks + (3 if one.outputs <= 10 else 4),
    }


@dataclass(frozen=True)
class Dpu:
    """Cores of one architecture on an FPGA, each working on an image of its own.

    `clock_mhz` is that of the general logic, None the device's (the thesis runs a ZCU102 at 300);
    DSP slices run at twice that (Table 6.10). Raises `HardwareError` for what is unknown, more than
    4 cores, and more cores than fit.
    """

    architecture: str | Architecture = "B4096"
    cores: int = 1
    options: Options = Options()
    device: str | devices.Device = "ZCU102"
    clock_mhz: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "architecture", architecture(self.architecture))
        object.__setattr__(self, "device", devices.device(self.device))
        if self.clock_mhz is None:
            if self.device.clock_mhz is None:
                raise HardwareError(
                    f"clock_mhz must be given: no publication runs the {self.device}."
                )
            object.__setattr__(self, "clock_mhz", self.device.clock_mhz)
        positive("clock_mhz", self.clock_mhz)
        share = devices.fit(self.resources, self.device)
        if not share.fits:
            most = most_cores(self.architecture, self.device, self.options)
            raise HardwareError(
                f"cores of {self.architecture} must be at most {most} on the {self.device}, not "
                f"{self.cores}, which takes {share.shares[share.first]:.0%} of {share.first}."
            )

    @property
    def resources(self) -> Resources:
        """What all cores take."""
        return resources(self.architecture, self.cores, self.options)

    @property
    def peak_tops(self) -> float:
        """10^12 operations a second, were all multipliers always busy: cores·PP·ICP·OCP·2·clock."""
        return self.cores * self.architecture.operations * self.clock_mhz / 1e6


def architectures(on: str | devices.Device = "ZCU102", **options: object) -> pd.DataFrame:
    """One row an architecture: its parallelism and resources, the cores that fit, and their peak.

    `first` is the resource that one core more would exceed, or, of four cores, the fullest; `tops`
    is at the device's clock. `options` are fields of `Options`. Raises `HardwareError`.
    """
    import pandas as pd

    with_, target, rows = Options(**options), devices.device(on), []
    for name in names():
        one, count = architecture(name), most_cores(name, target, with_)
        needed = devices.fit(resources(name, min(count + 1, MOST_CORES), with_), target)
        row = {"architecture": name, "pixels": one.pixels, "inputs": one.inputs}
        row |= {"outputs": one.outputs, "operations": one.operations}
        row |= vars(resources(name, 1, with_)) | {"cores": count, "first": needed.first}
        clock = target.clock_mhz or float("nan")
        rows.append(row | {"tops": count * one.operations * clock / 1e6})
    return pd.DataFrame(rows)


def _checked(options: Options | None) -> Options:
    if options is not None and not isinstance(options, Options):
        raise HardwareError(f"options must be dpu.Options, not {options!r}.")
    return options or Options()


# The published tables


@cache
def _architectures() -> dict[str, Architecture]:
    sides = ("pixel_parallelism", "input_channel_parallelism", "output_channel_parallelism")
    core = _printed("table_6_4")
    found = [one for one, quantity in core if quantity == "lut"]
    return {name: Architecture(name, *(int(core[name, side]) for side in sides)) for name in found}


@cache
def _tabulated(name: str, feature: str) -> Resources:
    """What a `core` of Table 6.4 takes, or what one of the features of 6.5 to 6.9 adds to one."""
    table = {
        "core": "table_6_4",
        "channel_augmentation": "table_6_6",
        "depthwise_convolution": "table_6_7",
        "average_pooling": "table_6_8",
        "low_dsp_usage": "table_6_9",
    }
    if feature == "high_ram_usage":
        ram = _printed("table_6_5", "ram_usage")
        return _resources(bram=ram[name, "high"] - ram[name, "low"])
    found = {
        what.removeprefix("extra_"): v
        for (n, what), v in _printed(table[feature]).items()
        if n == name
    }
    if feature == "low_dsp_usage":  # headed block RAMs, but they are registers: see the errata
        found["register"] = found.pop("bram")
    return _resources(**{k: v for k, v in found.items() if k in ("lut", "register", "bram", "dsp")})


@cache
def _softmax() -> Resources:
    from qbench import reference

    stated = reference.claims(SOURCE).set_index("claim")["value"]
    lut, ff, bram, dsp = (
        stated[f"softmax_extra_{what}"] for what in ("lut", "flip_flop", "bram", "dsp")
    )
    return _resources(lut, ff, bram, dsp)


def _resources(lut: float = 0, register: float = 0, bram: float = 0, dsp: float = 0) -> Resources:
    """From the tables' units: block RAMs of 36 kbit are two of 18."""
    return Resources(int(lut), int(register), int(2 * bram), int(dsp))


@cache
def _printed(table: str, key: str = "quantity") -> dict[tuple[str, str], float]:
    """A table's values by architecture and `key`."""
    from qbench import reference

    rows = reference.load(SOURCE, table)
    return {
        (a, k): float(v) for a, k, v in rows[["architecture", key, "value"]].itertuples(index=False)
    }
