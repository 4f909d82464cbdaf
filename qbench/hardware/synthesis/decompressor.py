"""A decoder of run-length coded ternary weights as Verilog, in the manner of Faraone 2021, 3.4.1.

A codeword of W + 1 bits stands for one weight that is not zero: its highest bit is the sign, 1 for
−1, the W others the difference between its index and the one before, less 1; the first is counted
from −1. W ones are an escape: 2^W − 1 positions further, and no weight.

The whole decoder is one register, the index reached, and one adder: a codeword adds its W bits and,
unless they are an escape, 1. It takes a codeword and gives an address and a sign in every cycle.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from qbench import store

from .generator import identifier
from .simulation import TOP, Engine, check_how, exchange
from .unit import Integers, SynthesisError, is_whole
from .yosys import synthesise

MOST_ADDRESS_BITS = 32


@dataclass(frozen=True)
class Decompressor:
    """`magnitude_bits` W of a codeword, and `address_bits` of the index it is turned into.

    Raises `SynthesisError` unless 1 ≤ W ≤ `address_bits` ≤ 32.
    """

    magnitude_bits: int
    address_bits: int

    def __post_init__(self) -> None:
        for name, most in (
            ("address_bits", MOST_ADDRESS_BITS),
            ("magnitude_bits", self.address_bits),
        ):
            value = getattr(self, name)
            if not is_whole(value) or not 1 <= value <= most:
                also = ", the address_bits" if name == "magnitude_bits" else ""
                raise SynthesisError(
                    f"{name} must be a whole number from 1 to {most}{also}, not {value!r}."
                )
            object.__setattr__(self, name, int(value))  # NumPy's numbers have no JSON

    @property
    def escape(self) -> int:
        """The W bits that are no weight; positions that they skip."""
        return 2**self.magnitude_bits - 1

    def check(self, codewords: ArrayLike) -> Integers:
        """Codewords as integers; `SynthesisError` for none, and for those that do not fit.

        Each has W + 1 bits, and the index of the last must have at most `address_bits`.
        """
        try:
            found = np.asarray(codewords)
        except ValueError:  # rows of several lengths
            found = np.empty(0)
        if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu":
            raise SynthesisError("codewords must be one or more whole numbers, in a row.")
        most = 2 ** (self.magnitude_bits + 1) - 1
        wrong = found[(found < 0) | (found > most)]
        if len(wrong):
            raise SynthesisError(f"codewords must be from 0 to {most}, and one is {wrong[0]}.")
        found = found.astype(np.int64)
        gaps = found & self.escape
        last = int((gaps + (gaps != self.escape)).sum()) - 1
        if last >= 2**self.address_bits:
            raise SynthesisError(
                f"codewords must end at {2**self.address_bits - 1}, the last address of "
                f"{self.address_bits} bits, and end at {last}."
            )
        return found


@dataclass(frozen=True, eq=False)
class Decoded:
    """What came out: of each weight its index, whether it is −1, and the cycle it left in."""

    addresses: Integers
    negative: NDArray[np.bool_]
    cycles: Integers


def decompressor_verilog(unit: Decompressor, name: str = "decompressor") -> str:
    """The decoder as Verilog, module `name`, its two widths as parameters.

    Ports: clk, rst (synchronous; a list of codewords begins after it), in_valid, in_ready, in_data
    (W + 1), out_valid, out_ready, out_data (1 + address_bits: the sign above the address). A beat
    passes in a cycle whose clock edge sees `valid` and `ready`; an address follows its codeword by
    one cycle. Raises `SynthesisError` for a name that Verilog cannot have.
    """
    return f"""\
// Decoder of run-length coded ternary weights: {unit.magnitude_bits} bits of difference and a sign.
module {identifier(name)} #(
    parameter MAGNITUDE = {unit.magnitude_bits},
    parameter ADDRESS = {unit.address_bits}
) (
    input wire clk, rst,
    input wire in_valid,
    output wire in_ready,
    input wire [MAGNITUDE:0] in_data,
    output reg out_valid,
    input wire out_ready,
    output wire [ADDRESS:0] out_data
);
    reg negative;
    reg [ADDRESS - 1:0] reached;  // the index of the weight before, -1 at first
    wire weight = ~&in_data[MAGNITUDE - 1:0];  // no escape
    // One carry chain: a column below the lowest makes the carry of what is 1 further
    wire [ADDRESS:0] sum = {{reached, 1'b1}} + {{in_data[MAGNITUDE - 1:0], weight}};
    assign in_ready = out_ready | ~out_valid;
    assign out_data = {{negative, reached}};
    always @(posedge clk)
        if (rst) begin
            reached <= {{ADDRESS{{1'b1}}}};
            out_valid <= 0;
        end else if (in_ready) begin
            out_valid <= in_valid & weight;
            if (in_valid) reached <= sum[ADDRESS:1];
        end
    always @(posedge clk) if (in_ready) negative <= in_data[MAGNITUDE];
endmodule
"""


def decompress(
    unit: Decompressor,
    codewords: ArrayLike,
    *,
    stalls: float = 0.0,
    seed: int = 0,
    gates: bool = False,
    engine: Engine | None = None,
    text: str | None = None,
) -> Decoded:
    """Simulate the decoder on a list of codewords; what it gives, and when.

    `text` is the Verilog where it is not `decompressor_verilog(unit)`, the top module being
    `network`; the other options are those of `simulate`. A list of escapes alone gives nothing.
    Raises `SynthesisError` for codewords that do not fit the unit, before any work, and as
    `simulate` does.
    """
    found = unit.check(codewords)
    check_how(stalls, seed, engine)
    wanted = int(((found & unit.escape) != unit.escape).sum())
    beats = exchange(
        decompressor_verilog(unit, TOP) if text is None else text,
        found.tolist(),
        wanted=wanted,
        busy=len(found) + 5,
        widths=(unit.magnitude_bits + 1, unit.address_bits + 1),
        stalls=stalls,
        seed=seed,
        gates=gates,
        engine=engine,
    )
    cycles, data = np.array(beats, dtype=np.int64).reshape(-1, 2).T
    return Decoded(data % 2**unit.address_bits, data >> unit.address_bits == 1, cycles)


@store.method(version=1)
def synthesise_decompressor(*, magnitude_bits: int, address_bits: int) -> pd.DataFrame:
    """What a decoder takes of a 7-series device: one row, its widths and its `Resources`.

    Yosys counts no LUT where a register goes into the carry chain as it is, which a slice may need:
    up to `address_bits` − `magnitude_bits` more. Nothing here reads the codewords from a memory.
    The 112 LUTs of Faraone 2021, Section 3.4.1, are an estimate of Vivado HLS for a decoder whose
    widths are not printed and which walks through its memory itself: another tool and another
    extent, so no number to reproduce. Raises `SynthesisError`.
    """
    unit = Decompressor(magnitude_bits, address_bits)
    found = synthesise(decompressor_verilog(unit), "decompressor")
    return pd.DataFrame(
        [{"magnitude_bits": magnitude_bits, "address_bits": address_bits, **found.row()}]
    )
