"""A matrix-vector unit whose sums are scaled group by group, as Verilog: Faraone 2021, 5.7.2.

The columns of the matrix are cut into equal groups, one behind the other: the pixels of a kernel,
K² groups of I columns, or its rows, K groups of K·I. A lane sums the products of one group as the
plain unit does, multiplies that sum by the group's scale, and adds it to what the groups before
gave. All lanes share a ring of scales that moves on by one when a group is finished: beside the
plain unit it takes the ring and in each lane one multiplier, whose DSP block also adds the groups
up. The lane's own accumulator has to hold the sum of one group only, and is narrower for it.

With one group there is nothing here: a scale for the whole layer goes into the thresholds that
follow, and the unit is the plain one.
"""

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from qbench import store

from .generator import (
    counter,
    dot,
    filled,
    identifier,
    pack,
    packed_weights,
    ports,
    register,
    rom,
    unpack,
    verilog,
)
from .grid import random_layer
from .reference import activations
from .simulation import TOP, Engine, Run, check_how, exchange
from .unit import Integers, Layer, SynthesisError, Unit, is_whole, signed_width
from .yosys import synthesise

MOST_SCALE_BITS = 16  # and a sign: what one DSP block multiplies by


@dataclass(frozen=True)
class ScaledUnit:
    """A `Unit` that gives sums, its columns in `groups` equal parts with a scale each.

    `scale_bits` are those of a scale, a whole number from 0: 1 to 16. Raises `SynthesisError` for a
    unit with thresholds, one whose products are XNORs, and groups that `simd` columns a cycle
    cannot walk through one by one.
    """

    unit: Unit
    groups: int
    scale_bits: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.unit, Unit):
            raise SynthesisError(f"unit must be a Unit, not {self.unit!r}.")
        if self.unit.out_bits is not None:
            raise SynthesisError(
                "out_bits of a unit whose sums are scaled must be None, not "
                f"{self.unit.out_bits}: it has no thresholds."
            )
        if self.unit.binary:
            raise SynthesisError(
                "a unit whose sums are scaled needs activations of more than one signed bit."
            )
        for name, least, most in (
            ("groups", 2, self.unit.synapse_folds),
            ("scale_bits", 1, MOST_SCALE_BITS),
        ):
            value = getattr(self, name)
            if not is_whole(value) or not least <= value <= most:
                raise SynthesisError(
                    f"{name} must be a whole number from {least} to {most}, not {value!r}."
                )
            object.__setattr__(self, name, int(value))
        if self.unit.synapse_folds % self.groups:
            raise SynthesisError(
                f"groups must divide mw / simd, the cycles of a row, and {self.groups} does not "
                f"divide {self.unit.synapse_folds}."
            )

    @cached_property
    def part(self) -> Unit:
        """The unit of one group's columns: its sums are what is scaled."""
        sizes = asdict(self.unit) | {"mw": self.unit.mw // self.groups}
        return Unit(**sizes)

    @property
    def scale_range(self) -> tuple[int, int]:
        """Lowest and highest scale."""
        return 0, 2**self.scale_bits - 1

    @property
    def product_bits(self) -> int:
        """Width of a group's sum times its scale."""
        return signed_width(*(end * self.scale_range[1] for end in self.part.sum_range))

    @property
    def out_width(self) -> int:
        """Width of one output."""
        return signed_width(*(end * self.scale_range[1] for end in self.unit.sum_range))

    def check_scales(self, scales: ArrayLike) -> Integers:
        """(groups,) whole numbers that fit; raises `SynthesisError`."""
        found = np.asarray(scales)
        if found.shape != (self.groups,) or found.dtype.kind not in "iu":
            raise SynthesisError(f"scales must be {self.groups} whole numbers, a group each.")
        low, high = self.scale_range
        wrong = found[(found < low) | (found > high)]
        if len(wrong):
            raise SynthesisError(f"scales must be from {low} to {high}, and one is {wrong[0]}.")
        return found.astype(np.int64)


def compute_scaled(
    scaled: ScaledUnit, weights: ArrayLike, scales: ArrayLike, vectors: ArrayLike
) -> Integers:
    """Outputs (n, mh) of `vectors` (n, mw): Σ over groups of scale · (W · x in that group).

    Raises `SynthesisError` for weights, scales or activations that do not fit.
    """
    unit = scaled.unit
    weights, _ = unit.check(weights, None)
    values = activations(unit, vectors)
    each = np.repeat(scaled.check_scales(scales), unit.mw // scaled.groups)
    return values @ (weights * each).T


def scaled_verilog(
    scaled: ScaledUnit, weights: ArrayLike, scales: ArrayLike, name: str = "scaled"
) -> str:
    """The unit as module `name`; `weights` (mh, mw) and `scales` (groups,) whole numbers.

    Ports as those of `verilog`; an output has `out_width` bits. Raises `SynthesisError` for weights
    and scales that do not fit.
    """
    u, part, name = scaled.unit, scaled.part, identifier(name)
    found = scaled.check_scales(scales)
    width, bits = u.pe * u.simd * u.weight_bits, scaled.scale_bits
    full, depth = scaled.groups * bits, filled(u)
    held = "".join(f"{scale:0{bits}b}" for scale in reversed(found.tolist()))
    store_in = "distributed" if u.synapse_folds > 2 else "logic"  # a LUT holds at least 32 words
    return f"""\
// Matrix-vector unit {u}, scaled in {scaled.groups} groups.
{ports(name, u.in_bits, u.pe * scaled.out_width, "wire")}
    wire run = out_ready | ~out_valid;  // the whole pipeline moves or stands still

    // Fetch, as the plain unit does, and the place in the group
{register("place", part.synapse_folds)}
{register("column", u.synapse_folds)}
{register("row", u.neuron_folds)}
{register("fold", u.cycles)}
    wire first_rows = row == 0;
    wire last_column = column == {u.synapse_folds - 1};
    wire fetch = run & (in_valid | ~first_rows);
    assign in_ready = run & first_rows;
{counter("place", part.synapse_folds, "fetch")}
{counter("column", u.synapse_folds, "fetch")}
{counter("row", u.neuron_folds, "fetch & last_column")}
{counter("fold", u.cycles, "fetch")}
    (* ram_style = "{store_in}" *) reg [{u.in_bits - 1}:0] kept [0:{u.synapse_folds - 1}];
    reg [{u.in_bits - 1}:0] x;
    always @(posedge clk) begin
        if (fetch & first_rows) kept[column] <= in_data;
        if (run) x <= first_rows ? in_data : kept[column];
    end
{rom("weights", packed_weights(Layer(u, weights)), width, u.weights_in)}
    reg [{width - 1}:0] w;
    always @(posedge clk) if (run) w <= weights[fold];

    // From fetch to add: folds, the first and the last of a group, the first and the last group
    reg [{depth - 1}:0] busy, starts, ends;
    reg [{depth + 1}:0] opens, closes;
    reg summed, scaled, valid;  // a group's sum stands; its product does; a row's total does
    always @(posedge clk)
        if (rst) begin
            busy <= 0;
            summed <= 0;
            scaled <= 0;
            valid <= 0;
        end else if (run) begin
            busy <= {{busy, fetch}};
            summed <= busy[{depth - 1}] & ends[{depth - 1}];
            scaled <= summed;
            valid <= scaled & closes[{depth + 1}];
        end
    always @(posedge clk) if (run) begin
        starts <= {{starts, place == 0}};
        ends <= {{ends, place == {part.synapse_folds - 1}}};
        opens <= {{opens, column < {part.synapse_folds}}};
        closes <= {{closes, column >= {u.synapse_folds - part.synapse_folds}}};
    end
    assign out_valid = valid;

    // The scales: that of the group whose sum stands next is in the low bits
    reg [{full - 1}:0] ring;
    always @(posedge clk)
        if (rst) ring <= {full}'b{held};
        else if (run & summed) ring <= {{ring[{bits - 1}:0], ring[{full - 1}:{bits}]}};
    wire [{bits - 1}:0] scale = ring[{bits - 1}:0];
{_lanes(scaled, name)}
endmodule

{dot(part, name)}
module {name}_lane (
    input wire clk, run, scaled, first,
    input wire signed [{part.acc_bits - 1}:0] sum,
    input wire [{bits - 1}:0] scale,
    output reg signed [{scaled.out_width - 1}:0] total
);
    reg signed [{scaled.product_bits - 1}:0] product;
    always @(posedge clk) if (run) begin
        product <= sum * $signed({{1'b0, scale}});
        if (scaled) total <= product + (first ? 0 : total);  // as a DSP block can
    end
endmodule
"""


def _lanes(scaled: ScaledUnit, name: str) -> str:
    u, part, depth = scaled.unit, scaled.part, filled(scaled.unit)
    group, out = u.simd * u.weight_bits, scaled.out_width
    text = []
    for lane in range(u.pe):
        text += [
            f"    wire signed [{part.acc_bits - 1}:0] acc_{lane};",
            f"    {name}_dot dot_{lane} (.clk(clk), .run(run), .x(x),",
            f"        .w(w[{(lane + 1) * group - 1}:{lane * group}]), .add(busy[{depth - 1}]), "
            f".first(starts[{depth - 1}]), .acc(acc_{lane}));",
            f"    {name}_lane lane_{lane} (.clk(clk), .run(run), .scaled(scaled), "
            f".first(opens[{depth + 1}]),",
            f"        .sum(acc_{lane}), .scale(scale), "
            f".total(out_data[{(lane + 1) * out - 1}:{lane * out}]));",
        ]
    return "\n".join(text)


def simulate_scaled(
    scaled: ScaledUnit,
    weights: ArrayLike,
    scales: ArrayLike,
    vectors: ArrayLike,
    *,
    stalls: float = 0.0,
    seed: int = 0,
    gates: bool = False,
    engine: Engine | None = None,
    text: str | None = None,
) -> Run:
    """Send `vectors` (n, mw) through the unit; options and errors as those of `simulate`.

    `text` is the Verilog where it is not `scaled_verilog(...)`, the top module being `network`.
    """
    unit = scaled.unit
    values = activations(unit, vectors)
    if not len(values):
        raise SynthesisError("vectors must have at least one row, and there is none.")
    check_how(stalls, seed, engine)
    beats = exchange(
        scaled_verilog(scaled, weights, scales, TOP) if text is None else text,
        pack((values % 2**unit.act_bits).reshape(-1, unit.simd), unit.act_bits),
        wanted=len(values) * unit.neuron_folds,
        busy=(len(values) + 1) * unit.cycles + 20,
        widths=(unit.in_bits, unit.pe * scaled.out_width),
        stalls=stalls,
        seed=seed,
        gates=gates,
        engine=engine,
    )
    codes = unpack([word for _, word in beats], unit.pe, scaled.out_width)
    outputs = codes - (codes >> (scaled.out_width - 1) << scaled.out_width)
    when = np.array([cycle for cycle, _ in beats], dtype=np.int64)
    return Run(outputs.reshape(-1, unit.mh), when.reshape(-1, unit.neuron_folds))


@store.method(version=1)
def synthesise_scaled(
    *,
    mw: int,
    mh: int,
    pe: int,
    simd: int,
    groups: int,
    weight_bits: int = 1,
    act_bits: int = 2,
    scale_bits: int = 8,
    seed: int = 0,
) -> pd.DataFrame:
    """What a unit takes of a 7-series device: one row, its parameters and its `Resources`.

    `groups` 1 is the plain unit. Unsigned activations, weights and scales drawn from the seed,
    weights in block RAM, multipliers in DSP blocks; neither unit has thresholds. Raises
    `SynthesisError`.
    """
    unit = Unit(mw, mh, pe, simd, weight_bits, act_bits, None, act_signed=False)
    scaled = None if groups == 1 else ScaledUnit(unit, groups, scale_bits)
    weights = random_layer(unit, seed).weights
    if scaled is None:
        text, top = verilog(unit, weights, None), "mvtu"
    else:
        scales = np.random.default_rng(seed).integers(1, 2**scale_bits, groups)
        text, top = scaled_verilog(scaled, weights, scales), "scaled"
    found = synthesise(text, top, dsp=True)
    asked = {"mw": mw, "mh": mh, "pe": pe, "simd": simd, "groups": groups}
    asked |= {"weight_bits": weight_bits, "act_bits": act_bits}
    asked |= {"scale_bits": scale_bits if scaled else 0, "cycles": unit.cycles}
    return pd.DataFrame([asked | found.row()])
