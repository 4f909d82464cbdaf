"""Chapter 15: what a network of any chapter costs, by one set of models.

A `Design` says what a device would compute: an architecture, bits, and the method's own hardware if
it has one. From it follow the weights, the multiply-accumulates (MACs), the memory, an energy and,
where an FPGA can compute with its numbers, a throughput and look-up tables. All are models' numbers
but the counts. What a model cannot tell is missing, with the reason.

- *Throughput*: the fastest folding that keeps to a share of the device (`hardware.fastest`).
- *LUTs and block RAM*: the cheapest folding that is fast enough for real time, so that networks are
  compared at one service, not by how much of a device each can fill.
- *Energy*: operations × energy an operation, as chapter 1 has it, at 45 nm; neither memory nor
  control counts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from math import nan, prod
from typing import Any

import torch
from torch import nn

from qbench import hardware, reference, runtimes
from qbench.data import specs as specs_of
from qbench.hardware import Cost, HardwareError, Layer, rccm
from qbench.hardware.mvtu import accumulator
from qbench.hardware.sparse_accelerator import Accelerator, by_layer
from qbench.models import binary_connect, convolutional, mlp, small
from qbench.pruning import networks as pruned
from qbench.quantizers.networks import usual_fraction
from qbench.small_runs import channels
from qbench.studies.folding import Setup

FLOAT = 32
PIXEL_BITS = 8  # images arrive with 256 levels
SIDE = 32  # pixels of an image that a convolutional network sees
CODED = 2  # weights of up to so many bits are −1, 0 and 1: a product with them is a sign

FLOAT_WHY = "float32, which FINN's units do not compute with; no latency was measured"
FLOAT_UNITS = "float32, which FINN's units do not compute with"
DENSE = "FINN's formulas"
RCCM = "FINN's formulas with AddNet's multipliers"
SPARSE = "accelerator for sparse weights, at its peak"
FILLS = "the model of the accelerator fills the device, whatever the network"


@dataclass(frozen=True)
class Architecture:
    """A network for the images of a data set; `room` says which of `qbench.models` makes it.

    `size` is what the room needs besides the name: neurons, a width, or (channels, neurons).
    """

    room: str
    network: str
    dataset: str
    size: Any = None


@dataclass(frozen=True)
class Design:
    """What is computed. 32 bits are float32.

    - `outer_bits`: weights of the first and the last layer, None where they are as the others;
    - `multiplier`, `outer_multiplier`: an RCCM of `hardware.rccm` and the bits of its coefficients;
      with one, bits of the weights are those that choose a coefficient;
    - `nonzeros`: share of each layer's weights that are not 0, for an accelerator that skips zeros;
    - `filters`: of each convolution, where some were pruned;
    - `memory_bits`: bits of a weight in memory where not `weight_bits`;
    - `layer_bits`: bits of weights and of the activations behind them, layer by layer where layers
      differ (the last one's activations do not count); the bits above are then the most of any.
    """

    architecture: Architecture
    weight_bits: int = FLOAT
    act_bits: int = FLOAT
    outer_bits: int | None = None
    multiplier: tuple[str, int] | None = None
    outer_multiplier: tuple[str, int] | None = None
    nonzeros: tuple[float, ...] = ()
    filters: tuple[tuple[str, int], ...] = ()
    memory_bits: int | None = None
    signed_acts: bool = False
    layer_bits: tuple[tuple[int, int], ...] = ()

    def bits(self, place: int, count: int) -> tuple[int, int, int]:
        """Of layer `place` of `count`: bits of its inputs, its weights and its outputs."""
        if self.layer_bits:
            behind = [PIXEL_BITS, *(acts for _, acts in self.layer_bits)]
            return behind[place], self.layer_bits[place][0], behind[place + 1]
        outer = self.outer_bits if place in (0, count - 1) else None
        inputs = self.act_bits if place else PIXEL_BITS
        return inputs, outer or self.weight_bits, self.act_bits

    @property
    def whole_numbers(self) -> bool:
        """Whether weights and activations between the first and the last layer are rounded."""
        return self.weight_bits < FLOAT and self.act_bits < FLOAT


@dataclass(frozen=True)
class Terms:
    """What all networks of a page are costed by.

    `setup`: device, clock and how units are built. `real_time` in frames/s. `outer_bits`: what
    weights get in the first and the last layer where a method leaves them in float32; None: such a
    network has no throughput. `luts`: of each RCCM, LUTs a bit of its input and at none.
    """

    setup: Setup
    real_time: float = 30.0
    outer_bits: int | None = 8
    luts: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True)
class RccmLayer(Layer):
    """A layer whose products are RCCMs' (Faraone 2021, chapter 6), in FINN's unit.

    Its memory holds select bits, `weight_bits` of them; adders and accumulator are as wide as
    coefficients of `coefficient_bits` make them; FINN's term for products gives way to
    `product_luts`, those of one RCCM by synthesis. Flip-flops are not known.
    """

    coefficient_bits: int = 8
    product_luts: int = 0

    def _with(self, bits: int) -> Layer:
        values = {field.name: getattr(self, field.name) for field in fields(Layer)}
        return Layer(**{**values, "weight_bits": bits})

    def cost(self, pe: Any, simd: Any, **options: Any) -> Cost:
        """As `Layer.cost`; multipliers are never DSPs."""
        plain = options | {"multipliers": "dsp", "weight_storage": "bram"}
        sums = self._with(self.coefficient_bits).cost(pe, simd, **plain)
        kept = self._with(self.weight_bits)
        stored = kept.cost(pe, simd, **options)
        memory = stored.lut - kept.cost(pe, simd, **options | {"weight_storage": "bram"}).lut
        lut = sums.lut + 11 * pe * simd * self.product_luts // 10 + memory
        return Cost(lut, sums.ff * nan, stored.bram18, 0 * lut, stored.cycles)


@lru_cache(maxsize=1000)
def counts(architecture: Architecture) -> tuple[int, int]:
    """Weights of the convolutions and fully connected layers, and MACs an image."""
    with torch.device("meta"):
        model, example = model_of(architecture)
        weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, _LAYERS))
        return weights, int(runtimes.macs(model, example))


def layers(design: Design, terms: Terms) -> tuple[Layer, ...]:
    """The layers as units of an FPGA. Raises `HardwareError` where they cannot be such."""
    if design.filters:
        return _named(_pruned(design))
    made = []
    every = sizes_of(design.architecture)
    for place, one in enumerate(every):
        outer = place in (0, len(every) - 1)
        inputs, bits, outputs = design.bits(place, len(every))
        how: dict[str, Any] = {}
        multiplier = design.outer_multiplier if outer else design.multiplier
        if bits == FLOAT:
            if terms.outer_bits is None:
                raise HardwareError("the method leaves its first and last layer in float32")
            bits = terms.outer_bits
        how["weight_bits"] = bits
        how["act_bits"] = inputs
        how["signed_input"] = bool(place) and design.signed_acts
        how["out_bits"] = outputs if place < len(every) - 1 else None
        made.append(_with_multiplier(replace(one, **how), multiplier, terms))
    return _named(made)


@lru_cache(maxsize=10_000)
def speed(design: Design, terms: Terms) -> tuple[float, str, str]:
    """Frames a second of the fastest design on the device, the model's name, or why there is none.

    With `nonzeros` it is the effective throughput of `hardware.sparse_accelerator`, one layer after
    the other on the whole device, one image at a time.
    """
    setup = terms.setup
    if not design.nonzeros and not design.whole_numbers:
        return nan, "", FLOAT_WHY
    try:
        if design.nonzeros:
            return _sparse(design, setup), SPARSE, ""
        return _fastest(layers(design, terms), setup), RCCM if design.multiplier else DENSE, ""
    except HardwareError as error:
        return nan, "", str(error).rstrip(".")


@lru_cache(maxsize=10_000)
def resources(design: Design, terms: Terms) -> tuple[dict[str, float], str]:
    """lut, bram18 and dsp of the cheapest design for real time, or why they are not known."""
    if design.nonzeros:
        return dict.fromkeys(RESOURCES, nan), FILLS
    if not design.whole_numbers:
        return dict.fromkeys(RESOURCES, nan), FLOAT_UNITS
    try:
        cost = _cheapest(layers(design, terms), terms.setup, terms.real_time)
    except HardwareError as error:
        return dict.fromkeys(RESOURCES, nan), str(error).rstrip(".")
    return {name: float(getattr(cost, name)) for name in RESOURCES}, ""


RESOURCES = ("lut", "bram18", "dsp")


def memory(design: Design) -> float:
    """Bytes of all weights; first and last layer by their own bits where these differ."""
    if design.layer_bits:
        every = _every(design)
        return (
            sum(one.mw * one.mh * b for one, (b, _) in zip(every, design.layer_bits, strict=True))
            / 8
        )
    inner = design.memory_bits or design.weight_bits
    if design.outer_bits is None or design.outer_bits == inner:
        return weights(design) * inner / 8
    sizes = [one.mw * one.mh for one in _every(design)]
    outer = sizes[0] + sizes[-1]
    return (outer * design.outer_bits + (sum(sizes) - outer) * inner) / 8


def weights(design: Design) -> int:
    """Weights of the convolutions and fully connected layers, those left by pruning."""
    if design.filters:
        return sum(one.mw * one.mh for one in _every(design))
    return counts(design.architecture)[0]


def macs(design: Design) -> int:
    """Multiply-accumulates an image, those with a 0 among them."""
    if design.filters:
        return sum(_macs(one) for one in _every(design))
    return counts(design.architecture)[1]


def energy(design: Design) -> float:
    """Energy of an image's operations by a model (J): MACs × `operation` of their bits.

    Zeros that an accelerator skips take none. Scales, biases, thresholds and pooling are left out.
    """
    plain = design.outer_bits is None and design.multiplier is None and not design.nonzeros
    if plain and not design.whole_numbers and not design.layer_bits:
        return macs(design) * operation(design.weight_bits, design.act_bits) * 1e-12
    total, every = 0.0, _every(design)
    for place, one in enumerate(every):
        outer = place in (0, len(every) - 1)
        acts, bits, _ = design.bits(place, len(every))
        acts = acts if place or design.whole_numbers else FLOAT
        unit = design.outer_multiplier if outer else design.multiplier
        share = design.nonzeros[place] if design.nonzeros else 1.0
        total += share * _macs(one) * operation(bits, acts, unit, inputs=one.mw)
    return total * 1e-12


@lru_cache(maxsize=10_000)
def operation(
    weight_bits: int, act_bits: int, unit: tuple[str, int] | None = None, *, inputs: int = 1
) -> float:
    """Energy of one MAC (pJ), from Horowitz 2014 as chapter 1 quotes it.

    A product of a w-bit by an a-bit whole number takes w·a/64 of one of 8 by 8 bits, an addition of
    b bits what lies on the line through 8 and 32 bits. (By this rule a product of 32 bits takes 16
    times one of 8; the figure has 15.5 times.) The accumulator is as wide as sums of `inputs` need
    it. With an RCCM, `unit`, the product is its additions. With float32 on either side both
    operations are float32's, or the addition alone where weights are −1, 0 and 1.
    """
    pj = _horowitz()
    if FLOAT in (weight_bits, act_bits):
        product = 0.0 if weight_bits <= CODED else pj["multiply", "float", FLOAT]
        return product + pj["add", "float", FLOAT]
    coefficient = unit[1] if unit else weight_bits
    if unit:
        adders = len(rccm.WIRING[unit[0]])
        product = adders * _addition(coefficient + act_bits)
    else:
        product = pj["multiply", "integer", 8] * weight_bits * act_bits / 64
    return product + _addition(int(accumulator(inputs, coefficient, act_bits)))


def _addition(bits: int) -> float:
    low, high = (_horowitz()["add", "integer", width] for width in (8, 32))
    return low + (high - low) * (bits - 8) / 24


@lru_cache(maxsize=1)
def _horowitz() -> dict[tuple[str, str, int], float]:
    table = reference.load("horowitz2014", "figure_1")
    rows = table[table["operation"].isin(["add", "multiply"])].to_dict("records")
    return {(r["operation"], r["number_type"], int(r["bits"])): float(r["value"]) for r in rows}


_LAYERS = (nn.Conv2d, nn.Linear)


def _macs(layer: Layer) -> int:
    return layer.mw * layer.mh * layer.vectors


def model_of(architecture: Architecture) -> tuple[nn.Module, torch.Tensor]:
    """The network and one image for it; only their sizes count."""
    one, known = architecture, specs_of.find(architecture.dataset)
    classes, colours = len(known.classes), channels(one.dataset)
    image = torch.zeros(1, colours, SIDE, SIDE)
    flat = prod(known.image_shape)
    if one.room == "sweep":
        model = mlp.mlp((one.size,) * 3, classes=classes, inputs=SIDE**2 * colours)
    elif one.network in mlp.HIDDEN:
        model, image = mlp.build(one.network, classes, inputs=flat), torch.zeros(1, flat)
    elif one.room == "ternary":
        if one.network == "mlp":
            image = torch.zeros(1, flat)
        inputs = flat if one.network == "mlp" else colours
        model = binary_connect.build(one.network, one.size, inputs=inputs, classes=classes)
    elif one.room == "small":
        model = small.build(one.network, one.size, classes, inputs=colours)
    else:
        own = dict(zip(("channels", "neurons"), one.size or (None, None), strict=True))
        model = convolutional.build(one.network, classes, inputs=colours, **own)
    return model.eval(), image


@lru_cache(maxsize=1000)
def sizes_of(architecture: Architecture) -> tuple[Layer, ...]:
    """The layers with 8 bits throughout."""
    with torch.device("meta"):
        model, example = model_of(architecture)
    return hardware.layers_of(model, input_shape=tuple(example.shape[1:]), float_bits=PIXEL_BITS)


def _every(design: Design) -> tuple[Layer, ...]:
    return _pruned(design) if design.filters else sizes_of(design.architecture)


def _pruned(design: Design) -> tuple[Layer, ...]:
    one = design.architecture
    network = _unpruned(one, {1: "binary", 2: "ternary"}[design.weight_bits], design.act_bits)
    return tuple(u for units in network.units(dict(design.filters)).values() for u in units)


@lru_cache(maxsize=100)
def _unpruned(architecture: Architecture, kind: str, act_bits: int) -> Any:
    model, _ = model_of(architecture)
    rounding = pruned.Rounding(kind, act_bits, usual_fraction(act_bits))
    inputs = channels(architecture.dataset)
    return pruned.shapes(model, inputs, rounding, name=architecture.network)


def _with_multiplier(layer: Layer, unit: tuple[str, int] | None, terms: Terms) -> Layer:
    if unit is None:
        return layer
    known = {name: (slope, start) for name, slope, start in terms.luts}
    if unit[0] not in known:
        raise HardwareError(f"no synthesised {unit[0]} multiplier is stored")
    slope, start = known[unit[0]]
    luts = round(slope * (layer.act_bits + 1) + start)  # a sign more than the activations
    values = {field.name: getattr(layer, field.name) for field in fields(Layer)}
    return RccmLayer(**values, coefficient_bits=unit[1], product_luts=luts)


def _named(found: Any) -> tuple[Layer, ...]:
    """Under names that are the same for equal networks."""
    return tuple(replace(one, name=f"layer {place}") for place, one in enumerate(found, 1))


@lru_cache(maxsize=10_000)
def _fastest(found: tuple[Layer, ...], setup: Setup) -> float:
    limits = {"share": setup.share, "most_simd": setup.most_simd}
    folding = hardware.fastest(found, setup.device, **limits, **setup.storage)
    overhead = setup.overhead_cycles
    return hardware.performance(folding, clock=setup.clock, overhead_cycles=overhead).frame_rate


@lru_cache(maxsize=10_000)
def _cheapest(found: tuple[Layer, ...], setup: Setup, frame_rate: float) -> Cost:
    how = {"clock": setup.clock, "overhead_cycles": setup.overhead_cycles}
    how |= {"most_simd": setup.most_simd} | setup.storage
    return hardware.cheapest(found, frame_rate, **how).cost


def _sparse(design: Design, setup: Setup) -> float:
    one = Accelerator(
        "binary" if design.act_bits == 1 else "float",
        setup.device,
        lut_share=setup.share,
        dsp_share=setup.share,
        clock_mhz=setup.clock / 1e6,
    )
    found = by_layer(sizes_of(design.architecture), design.nonzeros, one)
    dense = all(share == 1 for share in design.nonzeros)  # binary weights need no decoder
    return 1e6 / float(found["dense_microseconds" if dense else "microseconds"].sum())
