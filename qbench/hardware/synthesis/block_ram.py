"""What the block RAMs of the 7 series do when they are read, as Verilog to simulate a netlist.

Yosys' library declares their ports and parameters and no more. Units only read from them: through
either port or, in the mode SDP, through both at once; without output registers (where the bits are:
UG473, "RAMB18E1/RAMB36E1 ... Memory Initialization").
"""

import re

WORDS = 1024  # of one port's width, in both sizes


def models(library: str) -> str:
    """RAMB18E1 and RAMB36E1 that can be read, with the headers that Yosys' `library` gives them."""
    return "\n".join(_model(library, name, bits) for name, bits in (("18", 16), ("36", 32)))


def _model(library: str, size: str, bits: int) -> str:
    header = re.search(rf"^module RAMB{size}E1 \(.*?(?=^ *specify$)", library, re.M | re.S)[0]
    contents, parities = bits * WORDS // 256, bits * WORDS // 8 // 256
    step = bits.bit_length() - 1  # address bits below a word
    return f"""\
{header}
    wire [{bits * WORDS - 1}:0] bits = {_joined("INIT", contents)};
    wire [{bits // 8 * WORDS - 1}:0] parities = {_joined("INITP", parities)};
    reg [{bits - 1}:0] a, b;
    reg [{bits // 8 - 1}:0] pa, pb;
    assign {{DOADO, DOBDO, DOPADOP, DOPBDOP}} = {{a, b, pa, pb}};
    // From a word of {bits} bits a narrow port takes those that the lower address bits say.
    function [{step - 1}:0] below(input integer width, input [{step - 1}:0] address);
        below = width == 1 ? address : width == 2 ? address & ~1 : width == 4 ? address & ~3
            : width == 9 ? address & ~7 : width == 18 ? address & ~15 : 0;
    endfunction
{_port("ARD", "A", "a", bits, step)}
{_port("BWR", "B", "b", bits, step)}
endmodule
"""


def _port(pins: str, port: str, out: str, bits: int, step: int) -> str:
    address = f"ADDR{pins}ADDR[{step + 9}:0]"
    both = f"{{ADDRARDADDR[{step + 9}:{step + 1}], 1'b{int(port == 'B')}}}"
    wide = f"READ_WIDTH_A == {bits * 9 // 4}"  # SDP: the even word through A, the odd one through B
    return f"""\
    wire [{step + 9}:0] at_{out} = {wide} ? {{{both}, {step}'b0}} : {address};
    wire [{step - 1}:0] low_{out} = below({wide} ? 0 : READ_WIDTH_{port}, at_{out}[{step - 1}:0]);
    wire en_{out} = {wide} ? ENARDEN : EN{pins}EN;
    always @(posedge CLKARDCLK) if (en_{out}) begin
        {out} <= bits[{{at_{out}[{step + 9}:{step}], low_{out}}} +: {bits}];
        p{out} <= parities[{{at_{out}[{step + 9}:{step}], low_{out}[{step - 1}:3]}} +: {bits // 8}];
    end"""


def _joined(name: str, count: int) -> str:
    return "{" + ", ".join(f"{name}_{at:02X}" for at in reversed(range(count))) + "}"
