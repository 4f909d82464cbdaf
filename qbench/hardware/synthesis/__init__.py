"""Real synthesis: a matrix-vector-threshold unit as Verilog, simulated, and counted by Yosys.

`Unit` says what to build, `verilog` and `pipeline` write it, `compute` is what it computes in NumPy
and `check` simulates the one against the other. `synthesise` counts LUTs, flip-flops, block RAMs
and DSP blocks; `synthesise_grid` does so for the bit widths and foldings of the study, from the
store where it has them, and `fit_ff` makes a model of the flip-flops, which FINN's estimates lack.
`lower` turns a trained network into layers for `pipeline` and `simulate`.

`Decompressor` is another unit, which decodes run-length coded ternary weights:
`decompressor_verilog`, `decompress` and `synthesise_decompressor` write, simulate and count it.
`ScaledUnit` is the unit with a scale for each group of columns: `scaled_verilog`,
`compute_scaled`, `simulate_scaled` and `synthesise_scaled`.
`multiplier_verilog`, `multiply`, `check_multiplier` and `synthesise_multipliers` do so for the
circuits of `hardware.rccm` and for a generic `Multiplier`.
"""

from .chain import pipeline
from .decompressor import (
    Decompressor,
    decompress,
    decompressor_verilog,
    synthesise_decompressor,
)
from .ff_model import FlipFlopModel, fit_ff
from .generator import verilog
from .grid import random_layer, synthesise_grid, synthesise_mvtu
from .lower import Lowered, lower
from .multiplier_grid import lut_slopes, synthesise_generic, synthesise_multipliers, synthesise_rccm
from .multipliers import Multiplier, check_multiplier, multiplier_verilog, multiply
from .reference import compute, network
from .scaled import (
    ScaledUnit,
    compute_scaled,
    scaled_verilog,
    simulate_scaled,
    synthesise_scaled,
)
from .simulation import Run, check, simulate
from .unit import Layer, SynthesisError, Unit
from .yosys import Resources, synthesise

__all__ = [
    "Decompressor",
    "FlipFlopModel",
    "Layer",
    "Lowered",
    "Multiplier",
    "Resources",
    "Run",
    "ScaledUnit",
    "SynthesisError",
    "Unit",
    "check",
    "check_multiplier",
    "compute",
    "compute_scaled",
    "decompress",
    "decompressor_verilog",
    "fit_ff",
    "lower",
    "lut_slopes",
    "multiplier_verilog",
    "multiply",
    "network",
    "pipeline",
    "random_layer",
    "scaled_verilog",
    "simulate",
    "simulate_scaled",
    "synthesise",
    "synthesise_decompressor",
    "synthesise_generic",
    "synthesise_grid",
    "synthesise_multipliers",
    "synthesise_mvtu",
    "synthesise_scaled",
    "synthesise_rccm",
    "verilog",
]
