"""Adders as slices of the 7 series hold them: a look-up table a bit in front of the carry chain.

Bit by bit a table computes p = a ⊕ b of the two terms of a sum, each a function of its inputs; the
chain (CARRY4) adds them: it passes its carry on where p is 1, and else one of the terms. That term
is an input as it is, or the table's second output (LUT6_2), a function of five inputs at most.

Yosys has no pass that packs multiplexers and adders like this, and designers write these cells
down, as the thesis' authors did (Faraone 2021, Fig. 6.3).
"""

import re
from collections.abc import Callable, Sequence
from itertools import product

from . import yosys

Table = Callable[..., tuple[int, int]]  # input bits → p, and the term that is passed on


def row(
    name: str,
    inputs: Sequence[Sequence[str]],
    table: Table,
    *,
    passed: Sequence[str] | None = None,
    carry: str = "1'b0",
) -> str:
    """An adder as Verilog: a wire `name` of `len(inputs)` bits, and its cells.

    `inputs` are the nets of each bit's table, at most six; `passed` are the nets that go to the
    chain as they are, None for the table's second output, which leaves it five. `carry` is the
    carry in.
    """
    width = len(inputs)
    second = passed is None
    init, kind = initial(table, len(inputs[0]), second=second), "LUT6_2" if second else "LUT6"
    lines = [f"    wire [{width - 1}:0] {name}, {name}_p, {name}_t;"]
    for bit, nets in enumerate(inputs):
        pins = [*nets, *["1'b0"] * (5 - len(nets)), "1'b1"] if second else nets
        outs = f".O6({name}_p[{bit}]), .O5({name}_t[{bit}])" if second else f".O({name}_p[{bit}])"
        given = ", ".join(f".I{at}({net})" for at, net in enumerate(_padded(pins, 6)))
        lines.append(f"    {kind} #(.INIT(64'h{init:016x})) {name}_{bit} ({given}, {outs});")
    if not second:
        lines.append(f"    assign {name}_t = {{{', '.join(reversed(passed))}}};")
    for at, low in enumerate(range(0, width, 4)):
        high = min(low + 3, width - 1)
        before = (
            f".CI({name}_c{at - 1}[3]), .CYINIT(1'b0)" if at else f".CI(1'b0), .CYINIT({carry})"
        )
        rest = f"{3 - high + low}'b0, " if high - low < 3 else ""
        pins = f".S({{{rest}{name}_p[{high}:{low}]}}), .DI({{{rest}{name}_t[{high}:{low}]}})"
        lines += [
            f"    wire [3:0] {name}_c{at}, {name}_o{at};",
            f"    CARRY4 {name}_chain{at} ({before}, {pins}, .CO({name}_c{at}), .O({name}_o{at}));",
            f"    assign {name}[{high}:{low}] = {name}_o{at}[{high - low}:0];",
        ]
    return "\n".join(lines)


def cells() -> str:
    """What these cells do, from Yosys' library; raises `SynthesisError` where it is missing."""
    yosys.require()
    library = (yosys.share() / "xilinx" / "cells_sim.v").read_text()
    found = re.findall(
        r"^module (?:LUT2|LUT6|LUT6_2|CARRY4) ?\(.*?^endmodule$", library, re.M | re.S
    )
    return "\n".join(found)


def initial(table: Table, count: int, *, second: bool) -> int:
    """INIT of a LUT6 for the first output of `table`, or of a LUT6_2 for both; unused pins do not
    matter, but that the sixth of a LUT6_2 is 1.
    """
    found = 0
    for place, pins in enumerate(product((0, 1), repeat=6)):
        p, term = table(*pins[::-1][:count])
        found |= (term if second and not pins[0] else p) << place
    return found


def _padded(nets: Sequence[str], count: int) -> list[str]:
    return [*nets, *["1'b0"] * (count - len(nets))]
