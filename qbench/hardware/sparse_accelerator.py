"""What zeros are worth on an FPGA that reads run-length coded weights (Faraone 2021, Section 3.4).

A decoder turns codewords into addresses and signs, one a cycle, and feeds processing elements that
use the same weight R times. An operation is then skipped where its weight is zero, and costs a
share of a decoder where it is not. All costs here are of a multiply-accumulate (MAC); a throughput
counts two operations a MAC, as the thesis does:

    0.7 · 663,000 LUTs / 5 LUTs a MAC = 92,820 MACs at once, at 250 MHz 23.2 TMAC/s or 46.4 TOPS.

For floating-point activations it prints 1.3 TOPS and not what an adder takes. By the same count
that is 1.3e12 / 2 / 250e6 = 2,600 MACs at once, of 5,520 DSPs 2.12 each, which no whole number is:
two each would allow 2,760 MACs, 1.38 TOPS. So look-up tables run out first, and

    0.7 · 663,000 LUTs / 2,600 MACs = 178.5 LUTs a MAC, from 171.9 to 185.6 for what rounds to 1.3.

The throughputs are peaks: nothing is counted for memories, for processing elements that wait, or
for the codewords that bridge long gaps and carry no weight. Who knows how many those are gives as
γ the codewords a weight instead of the share of weights that are not zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from . import devices, mvtu
from .errors import HardwareError
from .folding import check_layers, positive
from .layers import Layer

if TYPE_CHECKING:
    import pandas as pd

OPS_A_MAC = 2
DECODER_LUT = 112  # Section 3.4.1, an estimate of Vivado HLS
LUT_SHARE, DSP_SHARE = 0.7, 1.0  # what a design can use, Section 3.4.3
PRINTED_LUT, PRINTED_CLOCK, PRINTED_FLOAT_TOPS = 663_000, 250e6, 1.3  # of the KU115, there too

Number = float | np.ndarray


@dataclass(frozen=True)
class Operation:
    """What one MAC takes of an FPGA, on average: look-up tables and DSP slices.

    Raises `HardwareError` for a negative number, and for an operation that takes nothing.
    """

    lut: float
    dsp: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lut", "dsp"):
            if getattr(self, name) != 0:
                positive(f"{name} of an operation", getattr(self, name))
        if not (self.lut or self.dsp):
            raise HardwareError("lut or dsp of an operation must be above 0, and both are 0.")


_FLOAT_MACS = PRINTED_FLOAT_TOPS * 1e12 / OPS_A_MAC / PRINTED_CLOCK
OPERATIONS = {
    "binary": Operation(5.0),  # XNOR and popcount, 2.5 LUTs an operation
    "float": Operation(LUT_SHARE * PRINTED_LUT / _FLOAT_MACS, 2.0),
}


@dataclass(frozen=True)
class Accelerator:
    """Processing elements for binary weights on an FPGA, with or without run-length decoders.

    `activations` is "binary" (type 1 of the thesis), "float" (its type 2) or an `Operation`;
    `device` one of `data/devices`. `decoder_lut` is what a decoder takes, `lut_share` and
    `dsp_share` are what a design can use of the device, `clock_mhz` None is the device's. Raises
    `HardwareError` for what is unknown, not positive, or a share above 1.
    """

    activations: str | Operation = "binary"
    device: str | devices.Device = "KU115"
    decoder_lut: float = DECODER_LUT
    lut_share: float = LUT_SHARE
    dsp_share: float = DSP_SHARE
    clock_mhz: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.activations, Operation):
            mvtu.one_of("activations", self.activations, tuple(OPERATIONS))
        target = devices.device(self.device)
        object.__setattr__(self, "device", target)
        if self.clock_mhz is None:
            if target.clock_mhz is None:
                raise HardwareError(f"clock_mhz must be given: no publication runs the {target}.")
            object.__setattr__(self, "clock_mhz", target.clock_mhz)
        for name in ("decoder_lut", "lut_share", "dsp_share", "clock_mhz"):
            positive(name, getattr(self, name))
        for name in ("lut_share", "dsp_share"):
            if getattr(self, name) > 1:
                raise HardwareError(f"{name} must be at most 1, not {getattr(self, name)!r}.")

    @property
    def operation(self) -> Operation:
        """What a MAC takes."""
        known = isinstance(self.activations, Operation)
        return self.activations if known else OPERATIONS[self.activations]

    @property
    def operation_share(self) -> float:
        """C_op: the share of the usable device that one MAC takes, of what runs out first."""
        luts = self.operation.lut / (self.lut_share * self.device.lut)
        return max(luts, self.operation.dsp / (self.dsp_share * self.device.dsp))

    @property
    def decoder_share(self) -> float:
        """C_d: the share of the usable look-up tables that one decoder takes."""
        return self.decoder_lut / (self.lut_share * self.device.lut)

    @property
    def dense_tops(self) -> float:
        """Peak of the dense binary network: γ = 1, no decoder; 10^12 operations a second."""
        return self._tops(self.operation_share)

    def cost(self, gamma: ArrayLike, reuse: ArrayLike) -> Number:
        """C_e = γ·(C_op + C_d/R): the share of the device that a MAC of the dense network takes.

        `gamma` is the share of weights that are not zero, above 0 and up to 1; `reuse` R is a whole
        number of MACs that each decoded weight serves. Numbers, or arrays that broadcast. Raises
        `HardwareError` for others.
        """
        gamma, reuse = _gamma(gamma), mvtu.whole("reuse", reuse)
        return gamma * (self.operation_share + self.decoder_share / reuse)

    def tops(self, gamma: ArrayLike, reuse: ArrayLike) -> Number:
        """T_e = 2·f/C_e: effective throughput, skipped operations included; 10^12 a second.

        Arguments and errors as `cost`.
        """
        return self._tops(self.cost(gamma, reuse))

    def speedup(self, gamma: ArrayLike, reuse: ArrayLike) -> Number:
        """How many times as fast as the dense binary network; arguments and errors as `cost`."""
        return self.operation_share / self.cost(gamma, reuse)

    def break_even(self, gamma: ArrayLike) -> Number:
        """The reuse R at which the sparse network is as fast as the dense binary one.

        It is faster from the next whole number above on, at all R where this is below 1. From
        γ·(C_op + C_d/R) = C_op: R = γ/(1 − γ) · C_d/C_op; infinite at γ = 1, where nothing is
        skipped. Raises `HardwareError` as `cost` does.
        """
        gamma = _gamma(gamma)
        with np.errstate(divide="ignore"):
            return np.divide(gamma, 1 - gamma) * (self.decoder_share / self.operation_share)

    def largest_gamma(self, reuse: ArrayLike) -> Number:
        """The share of nonzeros at which, with a reuse R, both are equally fast.

        The sparse network is faster below: γ = C_op/(C_op + C_d/R). Raises `HardwareError`
        as `cost` does.
        """
        reuse = mvtu.whole("reuse", reuse)
        return self.operation_share / (self.operation_share + self.decoder_share / reuse)

    def _tops(self, cost: Number) -> Number:
        return OPS_A_MAC * self.clock_mhz * 1e6 / cost / 1e12


def reuse_of(layer: Layer, batch: int = 1) -> int:
    """R: how often a batch uses each weight, B fully connected, B × output pixels convolved.

    Raises `HardwareError` for what is no layer and a batch below 1.
    """
    (layer,) = check_layers([layer])
    return mvtu.single("batch", batch) * layer.vectors


def throughputs(
    gammas: Iterable[float],
    reuses: Iterable[int],
    accelerators: Iterable[Accelerator] = (Accelerator("binary"), Accelerator("float")),
) -> pd.DataFrame:
    """Figures 3.6 (float) and 3.7 (binary): a row for each accelerator, γ and R.

    Columns activations, device, gamma, reuse, cost (C_e), tops, dense_tops, speedup. Raises
    `HardwareError` as `Accelerator.cost` does.
    """
    import pandas as pd

    gammas, reuses = (np.asarray(list(values)) for values in (gammas, reuses))
    gamma, reuse = (grid.ravel() for grid in np.meshgrid(gammas, reuses, indexing="ij"))
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "activations": str(one.activations),
                    "device": one.device.name,
                    "gamma": gamma,
                    "reuse": reuse,
                    "cost": one.cost(gamma, reuse),
                    "tops": one.tops(gamma, reuse),
                    "dense_tops": one.dense_tops,
                    "speedup": one.speedup(gamma, reuse),
                }
            )
            for one in accelerators
        ],
        ignore_index=True,
    )


def by_layer(
    layers: Sequence[Layer],
    gammas: float | Sequence[float],
    accelerator: Accelerator | None = None,
    *,
    batch: int = 1,
) -> pd.DataFrame:
    """What zeros are worth in each layer of a network: a row a layer.

    Of `layers` only the sizes count. `gammas` is the share of nonzeros, one for all layers or one
    each; `accelerator` None is `Accelerator()`. Columns layer, kind, macs (a frame), gamma, reuse,
    tops, dense_tops, speedup, break_even (in R), microseconds and dense_microseconds (a frame, with
    the whole device at work on this layer; their sums are those of the network). Raises
    `HardwareError` for another number of gammas than of layers, and as `Accelerator.cost` does.
    """
    import pandas as pd

    layers, one = check_layers(layers), accelerator or Accelerator()
    if np.shape(gammas) not in ((), (len(layers),)):
        raise HardwareError(
            f"gammas must be one number, or one for each of the {len(layers)} layers, not "
            f"of shape {np.shape(gammas)}."
        )
    gamma = np.broadcast_to(_gamma(gammas), len(layers))
    reuse = np.array([reuse_of(layer, batch) for layer in layers])
    macs = np.array([layer.mw * layer.mh * layer.vectors for layer in layers])
    tops = one.tops(gamma, reuse)
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in layers],
            "kind": [layer.kind for layer in layers],
            "macs": macs,
            "gamma": gamma,
            "reuse": reuse,
            "tops": tops,
            "dense_tops": one.dense_tops,
            "speedup": one.speedup(gamma, reuse),
            "break_even": one.break_even(gamma),
            "microseconds": OPS_A_MAC * macs / tops / 1e6,
            "dense_microseconds": OPS_A_MAC * macs / one.dense_tops / 1e6,
        }
    )


def _gamma(value: ArrayLike) -> np.ndarray | np.floating:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or not ((array > 0) & (array <= 1)).all():
        raise HardwareError(f"gamma must be above 0 and at most 1, not {value!r}.")
    return array.astype(float)[()]
