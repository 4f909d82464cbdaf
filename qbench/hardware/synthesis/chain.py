"""Several units one behind the other, as Verilog."""

from collections.abc import Sequence

from .generator import identifier, module, ports
from .unit import Layer, chain

HANDSHAKE = ("valid", "ready", "data")


def pipeline(layers: Layer | Sequence[Layer], name: str = "network") -> str:
    """Several units one behind the other as module `name`, with the ports of `verilog`.

    Between two units lies a FIFO with room for one vector: a unit that works on its later rows
    takes no input, and would else hold up the one before. Raises `SynthesisError` where a unit
    cannot take what the one before gives.
    """
    layers, name = chain(layers), identifier(name)
    first, last = layers[0].unit, layers[-1].unit
    widths = [first.in_bits, *(layer.unit.pe * layer.unit.element_bits for layer in layers)]
    body, links = [], []
    for number, layer in enumerate(layers):
        end = number == len(layers) - 1
        source = "in" if number == 0 else f"kept_{number - 1}"
        sink = "out" if end else f"made_{number}"
        body += [f"    {name}_{number} unit_{number} ({_connections(source, sink)});"]
        if not end:
            links += [f"    wire {sink}_valid, {sink}_ready, kept_{number}_valid, "]
            links[-1] += f"kept_{number}_ready;"
            links += [f"    wire [{widths[number + 1] - 1}:0] {sink}_data, kept_{number}_data;"]
            bits = max(1, (layer.unit.neuron_folds - 1).bit_length())
            body += [
                f"    {name}_fifo #(.WIDTH({widths[number + 1]}), .BITS({bits})) fifo_{number}",
                f"        ({_connections(sink, f'kept_{number}')});",
            ]
    text = [
        f"// {len(layers)} units: {first.mw} inputs, {last.mh} outputs.",
        ports(name, first.in_bits, widths[-1], "wire"),
        *links,
        *body,
        "endmodule\n",
        *([_fifo(name)] if len(layers) > 1 else []),
        *(module(layer, f"{name}_{number}") for number, layer in enumerate(layers)),
    ]
    return "\n".join(text)


def _connections(source: str, sink: str) -> str:
    ports = (("in", source), ("out", sink))
    pairs = [f".{port}_{part}({net}_{part})" for port, net in ports for part in HANDSHAKE]
    return ", ".join([".clk(clk)", ".rst(rst)", *pairs])


def _fifo(name: str) -> str:
    return f"""\
module {name}_fifo #(parameter WIDTH = 1, parameter BITS = 1) (
    input wire clk, rst,
    input wire in_valid,
    output wire in_ready,
    input wire [WIDTH - 1:0] in_data,
    output wire out_valid,
    input wire out_ready,
    output wire [WIDTH - 1:0] out_data
);
    (* ram_style = "distributed" *) reg [WIDTH - 1:0] words [0:2 ** BITS - 1];
    reg [BITS:0] written, taken;
    wire [BITS:0] held = written - taken;  // as wide as both: they turn over
    assign in_ready = ~held[BITS];
    assign out_valid = written != taken;
    assign out_data = words[taken[BITS - 1:0]];
    always @(posedge clk) begin
        if (in_valid & in_ready) words[written[BITS - 1:0]] <= in_data;
        if (rst) begin
            written <= 0;
            taken <= 0;
        end else begin
            written <= written + (in_valid & in_ready);
            taken <= taken + (out_valid & out_ready);
        end
    end
endmodule
"""
