"""Multipliers as Verilog, simulated for every input and counted: RCCMs beside generic ones.

Three things multiply a signed input x by a coefficient here:

- a `Circuit` of `rccm`, whose coefficient is one of a set that select bits choose from: an adder a
  base topology, as `carry.row`, and a table where an adder's carry in depends on the select value;
- a generic `Multiplier` with a coefficient of n bits, "array": n − 1 adders that add a row of
  n-bit partial products each, the first one two of them: (n − 1)(w + 1) + 1 tables at w input bits;
- the same as "booth": n/2 adders, each of which adds −2, −1, 0, 1 or 2 times x after three bits of
  the coefficient (radix-4 Booth recoding), which just fits a table: n/2 · (w + 2) tables. Section
  6.2.1 of the thesis names it and takes Xilinx's own multiplier, which grows by 7.4 tables a bit;
- the same as "operator", x · c left to Yosys: not what a designer would compare with.

Figure 6.8 counts tables at n = 8. All are combinational, and none uses DSP blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qbench.hardware.mvtu import one_of, single
from qbench.hardware.rccm import Adder, Circuit, Integers, wiring

from .carry import Table, cells, row
from .generator import identifier, ports
from .simulation import TOP, Engine, check_how, exchange
from .unit import SynthesisError, signed_width

KINDS = ("array", "booth", "operator")
MOST_BITS = 32


@dataclass(frozen=True)
class Multiplier:
    """A generic multiplier by a coefficient of `coefficient_bits` in two's complement.

    Raises `HardwareError` for less than 2 or more than 32 bits, an odd number of them where `kind`
    is "booth", and an unknown kind.
    """

    coefficient_bits: int
    kind: str = "array"

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        bits = single("coefficient_bits", self.coefficient_bits, 2, MOST_BITS)
        if self.kind == "booth" and bits % 2:
            raise SynthesisError(f"coefficient_bits of kind 'booth' must be even, not {bits}.")
        object.__setattr__(self, "coefficient_bits", bits)

    @property
    def select_bits(self) -> int:
        """Bits of the port that chooses the coefficient: here it is the coefficient itself."""
        return self.coefficient_bits

    @property
    def coefficients(self) -> Integers:
        """The coefficient of each code of the port."""
        codes = np.arange(2**self.coefficient_bits)
        return codes - (codes >> (self.coefficient_bits - 1) << self.coefficient_bits)


def product_bits(unit: Circuit | Multiplier, input_bits: int) -> int:
    """Bits of the product, in two's complement, for any signed input of `input_bits`."""
    if isinstance(unit, Multiplier):
        return unit.coefficient_bits + input_bits
    return _width(unit.coefficients, input_bits)


def multiplier_verilog(
    unit: Circuit | Multiplier, input_bits: int, name: str = "multiplier"
) -> str:
    """The multiplier as module `name`, with ports x (input_bits), code (select_bits) and y.

    `code` is the select value, or the coefficient of a generic multiplier; `y` has `product_bits`.
    Raises `HardwareError` for a width that is not allowed.
    """
    w = single("input_bits", input_bits, 2, MOST_BITS)
    out = product_bits(unit, w)
    made = {"array": _array, "booth": _booth, "operator": _operator}
    body = _adders if isinstance(unit, Circuit) else made[unit.kind]
    said = unit.architecture if isinstance(unit, Circuit) else f"{unit.kind} multiplier"
    return f"""\
// {said}: {unit.select_bits} bits of code, {w} of input
module {identifier(name)} (
    input wire [{w - 1}:0] x,
    input wire [{unit.select_bits - 1}:0] code,
    output wire [{out - 1}:0] y
);
{body(unit, w)}
endmodule
"""


def _adders(circuit: Circuit, w: int) -> str:
    """The adders of an RCCM, each in the bits above those that are always 0."""
    widths = [w, *(_width(level, w) for level in circuit.levels)]
    names = ["x", *(f"y{place}" for place in range(1, len(widths)))]
    lines = []
    for place, (adder, (a, b1)) in enumerate(
        zip(circuit.adders, wiring(circuit.architecture), strict=True), 1
    ):
        sources = [a] * (len(adder.shifts) - 1) + [b1]
        nets = [
            [_bit(names[of], bit - shift, widths[of]) for bit in range(widths[place])]
            for of, shift in zip(sources, adder.shifts, strict=True)
        ]
        select = [f"code[{2 * place - 2 + bit}]" for bit in (0, 1)]
        low = min(adder.shifts)
        inputs = [[*bits, *select] for bits in zip(*nets, strict=True)][low:]
        passed = nets[-1][low:] if adder.topology == "A" else None
        own = f"s{place}"
        carry, text = _carry(adder, own, select)
        zeros = f", {low}'b0" if low else ""
        lines += [
            *text,
            row(own, inputs, _table(adder), passed=passed, carry=carry),
            f"    wire [{widths[place] - 1}:0] {names[place]} = {{{own}{zeros}}};",
        ]
    return "\n".join([*lines, f"    assign y = {names[-1]};"])


def _table(adder: Adder) -> Table:
    """What a look-up table of an RCCM's adder computes: a ⊕ b, and b."""

    def table(*pins: int) -> tuple[int, int]:
        *values, s0, s1 = pins
        terms = adder.terms[s0 + 2 * s1]
        # A term is negated by inverting its bits; the carry in adds the 1
        inverted = [int(value) ^ (term < 0) for value, term in zip(values, terms, strict=True)]
        *a, b = [bit * abs(int(term)) for bit, term in zip(inverted, terms, strict=True)]
        return int(any(a)) ^ int(b), int(b)

    return table


def _carry(adder: Adder, name: str, select: Sequence[str]) -> tuple[str, list[str]]:
    """The carry in of an adder, 1 where a term is negated, and the table that makes it."""
    negative = (adder.terms < 0).any(1)
    if negative.all() or not negative.any():
        return f"1'b{int(negative[0])}", []
    init = sum(int(one) << place for place, one in enumerate(negative))
    pins = ", ".join(f".I{at}({net})" for at, net in enumerate(select))
    cell = f"    LUT2 #(.INIT(4'h{init:x})) {name}_negate ({pins}, .O({name}_carry));"
    return f"{name}_carry", [f"    wire {name}_carry;", cell]


def _array(unit: Multiplier, w: int) -> str:
    """Partial products, added one after the other; the highest bit of the coefficient counts −."""
    n = unit.coefficient_bits
    lines = ["    wire p0 = x[0] & code[0];"]
    for at in range(1, n):
        minus = int(at == n - 1)
        if at == 1:  # two partial products at once
            inputs = [
                [_bit("x", bit + 1, w), "code[0]", _bit("x", bit, w), "code[1]"]
                for bit in range(w + 1)
            ]
            table = lambda a, c, b, d, m=minus: (a & c ^ b & d ^ m, a & c)  # noqa: E731
            lines.append(row("r1", inputs, table, carry=f"1'b{minus}"))
            continue
        before = [_bit(f"r{at - 1}", bit + 1, w + 1) for bit in range(w + 1)]
        inputs = [[sum_, _bit("x", bit, w), f"code[{at}]"] for bit, sum_ in enumerate(before)]
        table = lambda s, b, d, m=minus: (s ^ b & d ^ m, s)  # noqa: E731
        lines.append(row(f"r{at}", inputs, table, passed=before, carry=f"1'b{minus}"))
    parts = [f"r{n - 1}", *(f"r{at}[0]" for at in range(n - 2, 0, -1)), "p0"]
    return "\n".join([*lines, f"    assign y = {{{', '.join(parts)}}};"])


def _booth(unit: Multiplier, w: int) -> str:
    """For each two bits of the coefficient, −2 to 2 times x; carry in and inversion negate it."""

    def table(
        before: int, one: int, half: int, high: int, middle: int, low: int
    ) -> tuple[int, int]:
        once, twice = middle ^ low, high ^ middle and middle == low
        return before ^ high ^ (once & one | twice & half), before

    lines, rows = [], unit.coefficient_bits // 2
    for at in range(rows):
        before = [_bit(f"r{at - 1}", bit + 2, w + 2) if at else "1'b0" for bit in range(w + 2)]
        digit = [f"code[{2 * at + 1}]", f"code[{2 * at}]", _bit("code", 2 * at - 1, 2 * rows)]
        inputs = [
            [sum_, _bit("x", bit, w), _bit("x", bit - 1, w), *digit]
            for bit, sum_ in enumerate(before)
        ]
        lines.append(row(f"r{at}", inputs, table, passed=before, carry=digit[0]))
    parts = [f"r{rows - 1}", *(f"r{at}[1:0]" for at in range(rows - 2, -1, -1))]
    return "\n".join([*lines, f"    assign y = {{{', '.join(parts)}}};"])


def _operator(unit: Multiplier, w: int) -> str:
    return "    assign y = $signed(x) * $signed(code);"


def _bit(name: str, bit: int, width: int) -> str:
    """A net of a number in two's complement: 0 below it, its sign above it."""
    return "1'b0" if bit < 0 else f"{name}[{min(bit, width - 1)}]"


def _width(coefficients: Integers, input_bits: int) -> int:
    """Bits of every product of these and a signed input."""
    half = 2 ** (input_bits - 1)
    ends = [int(c) * x for c in coefficients for x in (-half, half - 1)]
    return signed_width(min(ends), max(ends))


def multiply(
    unit: Circuit | Multiplier,
    x: Sequence[int] | Integers,
    codes: Sequence[int] | Integers,
    *,
    input_bits: int,
    stalls: float = 0.0,
    seed: int = 0,
    gates: bool = False,
    engine: Engine | None = None,
    text: str | None = None,
) -> Integers:
    """Products that the Verilog gives in simulation: of x (n,) by codes (n,).

    `gates` simulates what Yosys' synthesis makes of it instead of the cells as they are written;
    `text` is the Verilog where it is not `multiplier_verilog`, its module named `multiplier`; the
    other options are those of `simulate`, which a register with a handshake behind the multiplier
    serves. Raises `SynthesisError` for inputs and codes that do not fit, before any work, and as
    `simulate` does.
    """
    w, s = single("input_bits", input_bits, 2, MOST_BITS), unit.select_bits
    half = 2 ** (w - 1)
    x = _within("x", x, -half, half - 1)
    codes = _within("codes", codes, 0, 2**s - 1)
    if x.shape != codes.shape:
        raise SynthesisError(f"x and codes must be as many, not {x.size} and {codes.size}.")
    check_how(stalls, seed, engine)
    out = product_bits(unit, w)
    text = multiplier_verilog(unit, w) if text is None else text
    found = exchange(
        text + _registered(w, s, out) + ("" if gates else cells()),
        (codes << w | x % 2**w).tolist(),
        wanted=len(x),
        busy=len(x) + 5,
        widths=(w + s, out),
        stalls=stalls,
        seed=seed,
        gates=gates,
        engine=engine,
    )
    products = np.array([word for _, word in found], dtype=np.int64)
    return products - (products >> (out - 1) << out)


def check_multiplier(unit: Circuit | Multiplier, input_bits: int = 8, **how: object) -> int:
    """Multiply every input by every code in simulation; the number of products, which are right.

    `how` is as for `multiply`. Raises `SynthesisError` for the first product that is wrong.
    """
    half = 2 ** (single("input_bits", input_bits, 2, MOST_BITS) - 1)
    x, codes = map(np.ravel, np.meshgrid(np.arange(-half, half), np.arange(2**unit.select_bits)))
    expected = unit.coefficients[codes] * x
    found = multiply(unit, x, codes, input_bits=input_bits, **how)
    wrong = np.flatnonzero(found != expected)
    if len(wrong):
        at = wrong[0]
        raise SynthesisError(
            f"{len(wrong)} of {len(x)} products differ, the first of {x[at]} by "
            f"{unit.coefficients[codes[at]]} (code {codes[at]}): {found[at]} simulated."
        )
    return len(x)


def _registered(w: int, s: int, out: int) -> str:
    """A multiplier with a register behind it and a handshake, as the simulation wants it."""
    return f"""
{ports(TOP, w + s, out, "reg").replace("output wire out_valid", "output reg out_valid")}
    wire [{out - 1}:0] y;
    multiplier core (.x(in_data[{w - 1}:0]), .code(in_data[{w + s - 1}:{w}]), .y(y));
    assign in_ready = out_ready | ~out_valid;
    always @(posedge clk)
        if (rst) out_valid <= 0;
        else if (in_ready) out_valid <= in_valid;
    always @(posedge clk) if (in_ready) out_data <= y;
endmodule
"""


def _within(name: str, values: Sequence[int] | Integers, low: int, high: int) -> Integers:
    found = np.asarray(values)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu":
        raise SynthesisError(f"{name} must be one or more whole numbers, in a row.")
    wrong = found[(found < low) | (found > high)]
    if len(wrong):
        raise SynthesisError(f"{name} must be from {low} to {high}, and one is {wrong[0]}.")
    return found.astype(np.int64)
