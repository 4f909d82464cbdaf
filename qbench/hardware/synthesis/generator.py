"""The matrix-vector-threshold unit as Verilog: one text holds the whole unit, its ROMs included.

A unit has one pipeline that moves or stands still as a whole:

1. fetch: `pe`·`simd` weights from their ROM and `simd` inputs, which the first `pe` rows take from
   the port and keep for the rows that follow;
2. multiply (not where products are XNORs);
3. add: for each of `pe` lanes the sum of `simd` products;
4. accumulate over mw/simd cycles;
5. search: the number of thresholds ≤ the sum, one bit a stage, the highest first, so that a lane
   has `out_bits` comparators and not 2^out_bits − 1.

Activations and outputs travel as two's complement, at one bit 1 for +1 and 0 for −1; the first of
several in the low bits. Both sides have a handshake: a beat passes in a cycle whose clock edge sees
`valid` and `ready`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .unit import Integers, Layer, SynthesisError, Unit, signed_width

LINE = 100  # characters


def verilog(
    unit: Unit, weights: ArrayLike, thresholds: ArrayLike | None, name: str = "mvtu"
) -> str:
    """The unit as module `name`, with the modules it is made of.

    `weights` (mh, mw) and `thresholds` (mh, 2^out_bits − 1) are whole numbers as `Unit.check` wants
    them. Ports: clk, rst (synchronous), in_valid, in_ready, in_data (simd·act_bits), out_valid,
    out_ready, out_data (pe·element_bits). Raises `SynthesisError` as `Unit.check` does.
    """
    return module(Layer(unit, weights, thresholds), identifier(name))


def module(layer: Layer, name: str) -> str:
    unit = layer.unit
    parts = [_top(layer, name), dot(unit, name)]
    if unit.out_bits is not None:
        parts += [_search(layer, name, lane) for lane in range(unit.pe)]
    return "\n".join(parts)


def _top(layer: Layer, name: str) -> str:
    u = layer.unit
    stages = 1 if u.out_bits is None else u.out_bits
    width, out = u.pe * u.simd * u.weight_bits, u.pe * u.element_bits
    rows, depth = address_bits(u.neuron_folds), filled(u)
    store = "distributed" if u.synapse_folds > 2 else "logic"  # a LUT holds at least 32 words
    return f"""\
// Matrix-vector-threshold unit {u}.
// One fold a cycle: {u.cycles} cycles a vector.
{ports(name, u.in_bits, out, "reg" if u.out_bits is None else "wire")}
    wire run = out_ready | ~out_valid;  // the whole pipeline moves or stands still

    // Fetch: which columns, which rows, and both together as the address of the weights
{register("column", u.synapse_folds)}
{register("row", u.neuron_folds)}
{register("fold", u.cycles)}
    wire first_rows = row == 0;
    wire last_column = column == {u.synapse_folds - 1};
    wire fetch = run & (in_valid | ~first_rows);
    assign in_ready = run & first_rows;
{counter("column", u.synapse_folds, "fetch")}
{counter("row", u.neuron_folds, "fetch & last_column")}
{counter("fold", u.cycles, "fetch")}

    // Inputs, kept for the rows that follow
    (* ram_style = "{store}" *) reg [{u.in_bits - 1}:0] kept [0:{u.synapse_folds - 1}];
    reg [{u.in_bits - 1}:0] x;
    always @(posedge clk) begin
        if (fetch & first_rows) kept[column] <= in_data;
        if (run) x <= first_rows ? in_data : kept[column];
    end

    // Weights, fold after fold: lane 0 in the low bits, and in it the first column
{rom("weights", packed_weights(layer), width, u.weights_in)}
    reg [{width - 1}:0] w;
    always @(posedge clk) if (run) w <= weights[fold];

    // How far the pipeline is filled, from fetch to add: folds, their first and last columns, rows
    reg [{depth - 1}:0] busy, starts, ends;
    reg [{(depth + stages - 1) * rows - 1}:0] rows;  // for the search as well
    reg [{stages - 1}:0] done;  // sums that stand before stage 0, 1, ... of the search
    always @(posedge clk)
        if (rst) begin
            busy <= 0;
            done <= 0;
        end else if (run) begin
            busy <= {{busy, fetch}};
            done <= {{done, busy[{depth - 1}] & ends[{depth - 1}]}};
        end
    always @(posedge clk) if (run) begin
        starts <= {{starts, column == 0}};
        ends <= {{ends, last_column}};
        rows <= {{rows, row}};
    end
{_lanes(u, name)}
endmodule
"""


def _lanes(u: Unit, name: str) -> str:
    """The lanes of the top module and its outputs."""
    group, depth = u.simd * u.weight_bits, filled(u)
    stages = 1 if u.out_bits is None else u.out_bits
    text = []
    for lane in range(u.pe):
        text += [
            f"    wire {_sign(u)}[{u.acc_bits - 1}:0] acc_{lane};",
            f"    {name}_dot dot_{lane} (.clk(clk), .run(run), .x(x),",
            f"        .w(w[{(lane + 1) * group - 1}:{lane * group}]), .add(busy[{depth - 1}]), "
            f".first(starts[{depth - 1}]), .acc(acc_{lane}));",
        ]
    text += [
        "",
        "    reg valid;",
        "    assign out_valid = valid;",
        "    always @(posedge clk)",
        f"        if (rst) valid <= 0; else if (run) valid <= done[{stages - 1}];",
    ]
    bits = address_bits(u.neuron_folds)
    for lane in range(u.pe):
        out = f"out_data[{(lane + 1) * u.element_bits - 1}:{lane * u.element_bits}]"
        if u.out_bits is None:
            value = f"2 * $signed({{1'b0, acc_{lane}}}) - {u.mw}" if u.binary else f"acc_{lane}"
            text += [f"    always @(posedge clk) if (run) {out} <= {value};"]
        else:
            later = f"rows[{(depth + stages - 1) * bits - 1}:{(depth - 1) * bits}]"
            text += [
                f"    {name}_search_{lane} search_{lane} (.clk(clk), .run(run),",
                f"        .acc_0(acc_{lane}), .rows({later}), .code({out}));",
            ]
    return "\n".join(text)


def dot(u: Unit, name: str) -> str:
    """One lane's products, their sum and its accumulator."""
    low, high = (0, 1) if u.binary else u.product_range
    size = u.simd.bit_length() if u.binary else signed_width(u.simd * low, u.simd * high)
    w, x = f"w[i * {u.weight_bits} +: {u.weight_bits}]", f"x[i * {u.act_bits} +: {u.act_bits}]"
    w, x = f"$signed({w})", f"$signed({x})" if u.act_signed else f"$signed({{1'b0, {x}}})"
    if u.weight_bits == 1:
        product = f"w[i] ? {x} : -{x}"
    elif u.act_bits == 1 and u.act_signed:
        product = f"x[i] ? {w} : -{w}"
    else:
        product = f"{w} * {x}"
    # A register behind each product: without it Yosys makes one large, costly sum of all partial
    # products, and the adders would be too long for any useful clock.
    bits = signed_width(low, high)
    products = f"""
    reg [{u.simd * bits - 1}:0] products;
    always @(posedge clk) if (run)
        for (i = 0; i < {u.simd}; i = i + 1)
            products[i * {bits} +: {bits}] <= {product};"""
    # An equality is one bit wide; an XNOR would be as wide as the sum that it stands in.
    term = "(w[i] == x[i])" if u.binary else f"$signed(products[i * {bits} +: {bits}])"
    return f"""\
module {name}_dot (
    input wire clk, run, add, first,
    input wire [{u.in_bits - 1}:0] x,
    input wire [{u.simd * u.weight_bits - 1}:0] w,
    output reg {_sign(u)}[{u.acc_bits - 1}:0] acc
);
    integer i;{"" if u.binary else products}
    reg {_sign(u)}[{size - 1}:0] total, dot;
    always @* begin
        total = 0;
        for (i = 0; i < {u.simd}; i = i + 1)
            total = total + {term};
    end
    always @(posedge clk) if (run) begin
        dot <= total;
        if (add) acc <= first ? dot : acc + dot;
    end
endmodule
"""


def _search(layer: Layer, name: str, lane: int) -> str:
    """One lane's binary search over the thresholds of its rows."""
    u = layer.unit
    rows, sign = address_bits(u.neuron_folds), _sign(u)
    of_lane = _stored_thresholds(layer)[lane :: u.pe]  # (neuron folds, 2^n - 1)
    acc = f"{sign}[{u.acc_bits - 1}:0]"
    last = u.out_bits - 1
    text = [
        f"module {name}_search_{lane} (",
        "    input wire clk, run,",
        f"    input wire {acc} acc_0,",
        "    // Rows of the sums: of the one about to be in acc_0, of that in acc_0, acc_1, ...",
        f"    input wire [{(last + 1) * rows - 1}:0] rows,",
        f"    output reg [{last}:0] code",
        ");",
    ]
    for k in range(last + 1):
        step = 2 ** (last - k)  # the prefix b leaves thresholds 2·b·step … of which this is midmost
        words = of_lane[:, step - 1 :: 2 * step].reshape(-1)
        row = f"rows[{(k + 1) * rows - 1}:{k * rows}]"
        address = row if k == 0 else f"{{{row}, {_found(k)}}}"
        large = len(words) > 64  # what fits into a LUT for each bit is no use of a block RAM
        text += [
            f"    // Stage {k}",
            rom(f"level_{k}", words, u.acc_bits, u.thresholds_in if large else "distributed", sign),
            f"    reg {acc} against_{k};",
            f"    wire reached_{k} = acc_{k} >= against_{k};",
            f"    always @(posedge clk) if (run) against_{k} <= level_{k}[{address}];",
        ]
        if k < last:
            text += [
                f"    reg {acc} acc_{k + 1};",
                f"    reg [{k}:0] found_{k + 1};",
                "    always @(posedge clk) if (run) begin",
                f"        acc_{k + 1} <= acc_{k};",
                f"        found_{k + 1} <= {_found(k + 1)};",
                "    end",
            ]
    found = _found(last + 1)
    # From 2 bits on the count less 2^(n-1): its highest bit turned over.
    value = found if last == 0 else f"{found} ^ {last + 1}'d{2**last}"
    text += [f"    always @(posedge clk) if (run) code <= {value};", "endmodule\n"]
    return "\n".join(text)


def _found(bits: int) -> str:
    """The highest `bits` bits of the count, the last of them just compared."""
    return "reached_0" if bits == 1 else f"{{found_{bits - 1}, reached_{bits - 1}}}"


def packed_weights(layer: Layer) -> list[int]:
    """The words of the weights' ROM, one a fold: row = fold // synapse folds, column the rest."""
    u = layer.unit
    codes = (layer.weights > 0) if u.weight_bits == 1 else layer.weights % 2**u.weight_bits
    codes = codes.reshape(u.neuron_folds, u.pe, u.synapse_folds, u.simd)
    words = codes.transpose(0, 2, 1, 3).reshape(u.cycles, -1)
    return pack(words, u.weight_bits)


def _stored_thresholds(layer: Layer) -> Integers:
    """Thresholds of what an accumulator holds, cut to its range and one: the counts stay the same.

    A binary unit counts the products that are +1, c of mw: 2c − mw ≥ t where c ≥ ⌈(t + mw)/2⌉.
    """
    u = layer.unit
    if u.binary:
        return np.clip(-((-layer.thresholds - u.mw) // 2), 0, u.mw + 1)
    low, high = u.sum_range
    return np.clip(layer.thresholds, low, high + 1)


def pack(codes: Integers, bits: int) -> list[int]:
    """Rows of codes (n, k) as n words, the first code in the low bits."""
    each = (codes[..., None] >> np.arange(bits)) & 1
    flat = np.packbits(each.reshape(len(codes), -1).astype(bool), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in flat]


def unpack(words: Sequence[int], count: int, bits: int) -> Integers:
    """`pack` undone: (n, count) codes without sign."""
    size = -(-count * bits // 8)
    rows = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8)
    each = np.unpackbits(rows.reshape(len(words), size), axis=1, bitorder="little")
    each = each[:, : count * bits].reshape(len(words), count, bits).astype(np.int64)
    return (each << np.arange(bits)).sum(-1)


def rom(name: str, words: Sequence[int], width: int, style: str, sign: str = "") -> str:
    """A read-only memory and its contents."""
    digits = -(-width // 4)
    entries = [
        f"{name}[{at}] = {width}'h{int(word) % 2**width:0{digits}x};"
        for at, word in enumerate(words)
    ]
    lines = [f'    (* rom_style = "{style}" *) reg {sign}[{width - 1}:0] {name} ']
    lines[0] += f"[0:{len(entries) - 1}];"
    lines += ["    initial begin"]
    line = "       "
    for entry in entries:
        if len(line) + len(entry) >= LINE and line.strip():
            lines.append(line)
            line = "       "
        line += " " + entry
    return "\n".join([*lines, line, "    end"])


def ports(name: str, takes: int, gives: int, kind: str) -> str:
    return f"""\
module {name} (
    input wire clk, rst,
    input wire in_valid,
    output wire in_ready,
    input wire [{takes - 1}:0] in_data,
    output wire out_valid,
    input wire out_ready,
    output {kind} [{gives - 1}:0] out_data
);"""


def register(name: str, count: int) -> str:
    return (
        f"    reg [{address_bits(count) - 1}:0] {name};" if count > 1 else f"    wire {name} = 0;"
    )


def counter(name: str, count: int, when: str) -> str:
    """Let a register go 0, 1, ..., count − 1, 0, a step in each cycle of `when`."""
    if count == 1:
        return f"    // {name} is always 0"
    following = f"{name} + 1"
    if count & (count - 1):  # else it turns over by itself
        following = f"{name} == {count - 1} ? 0 : {following}"
    return (
        f"    always @(posedge clk) if (rst) {name} <= 0; else if ({when}) {name} <= {following};"
    )


def filled(u: Unit) -> int:
    """Stages from fetch to add."""
    return 2 if u.binary else 3


def _sign(u: Unit) -> str:
    return "" if u.binary else "signed "


def address_bits(count: int) -> int:
    """Width of a number from 0 to count − 1."""
    return max(1, (count - 1).bit_length())


def identifier(name: str) -> str:
    if not (isinstance(name, str) and name.isascii() and name.isidentifier()):
        raise SynthesisError(f"name must be a Verilog identifier, not {name!r}.")
    return name
