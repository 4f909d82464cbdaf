"""Real synthesis: a matrix-vector-threshold unit as Verilog, simulated, and counted by Yosys.

`Unit` says what to build, `verilog` and `pipeline` write it, `compute` is what it computes in NumPy
and `check` simulates the one against the other. `synthesise` counts LUTs, flip-flops, block RAMs
and DSP blocks; `synthesise_grid` does so for the bit widths and foldings of the study, from the
store where it has them, and `fit_ff` makes a model of the flip-flops, which FINN's estimates lack.
`lower` turns a trained network into layers for `pipeline` and `simulate`.
"""

from .chain import pipeline
from .ff_model import FlipFlopModel, fit_ff
from .generator import verilog
from .grid import random_layer, synthesise_grid, synthesise_mvtu
from .lower import Lowered, lower
from .reference import compute, network
from .simulation import Run, check, simulate
from .unit import Layer, SynthesisError, Unit
from .yosys import Resources, synthesise

__all__ = [
    "FlipFlopModel",
    "Layer",
    "Lowered",
    "Resources",
    "Run",
    "SynthesisError",
    "Unit",
    "check",
    "compute",
    "fit_ff",
    "lower",
    "network",
    "pipeline",
    "random_layer",
    "simulate",
    "synthesise",
    "synthesise_grid",
    "synthesise_mvtu",
    "verilog",
]
