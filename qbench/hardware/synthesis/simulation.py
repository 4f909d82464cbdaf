"""Simulate the Verilog cycle by cycle, as written or as the netlist that Yosys makes of it.

Two engines do the same. The interpreted one is Yosys' own `sim`: it needs nothing else, and suits
units of a few hundred cycles. The compiled one is CXXRTL, C++ that Yosys writes: it needs a C++
compiler and some seconds to a minute for it, and suits whole networks. Only the interpreted one
tells an undefined bit from a 0.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import block_ram, reference, yosys
from .chain import pipeline
from .generator import pack, rom, unpack
from .unit import Integers, Layer, SynthesisError, Unit, chain, is_whole

Engine = Literal["interpreted", "compiled"]
ENGINES = ("interpreted", "compiled")
MOST_STALLS = 0.9
FEW = 5_000  # cycles: from here on the compiler's seconds are worth it
PATTERN = 1021  # cycles after which stalls repeat, a prime: no rhythm of a unit divides it
RUNTIME = "include/backends/cxxrtl/runtime"  # header files
TOP = "network"
UNSTEADY = "an output changed or vanished before it was taken."
DRIVER = Path(__file__).with_name("driver.cc")


@dataclass(frozen=True, eq=False)
class Run:
    """What a simulation gave: outputs (n, mh) and the cycle of each output beat (n, beats)."""

    outputs: Integers
    cycles: Integers


def simulate(
    layers: Layer | Sequence[Layer],
    vectors: ArrayLike,
    *,
    stalls: float = 0.0,
    seed: int = 0,
    gates: bool = False,
    engine: Engine | None = None,
    text: str | None = None,
) -> Run:
    """Send `vectors` (n, mw) through a unit, or several behind each other, and collect outputs.

    In each cycle either side stalls with the probability `stalls`, at most 0.9, drawn from `seed`:
    the source offers no beat, the sink takes none. `gates` simulates the netlist of 7-series cells.
    `text` is the Verilog where it is not `pipeline(layers)`, the top module being `network`.
    `engine` None is the compiled one where there is a compiler and more than a few thousand cycles
    to simulate.

    Raises `SynthesisError` for layers that do not fit each other and activations that do not fit
    the first, before any work; for an output that changes or vanishes before it is taken, for
    outputs that do not come, and as `yosys.run` does.
    """
    layers = chain(layers)
    first, last = layers[0].unit, layers[-1].unit
    values = reference.activations(first, vectors)
    if not len(values):
        raise SynthesisError("vectors must have at least one row, and there is none.")
    check_how(stalls, seed, engine)
    found = exchange(
        pipeline(layers, TOP) if text is None else text,
        pack(_codes(first, values).reshape(-1, first.simd), first.act_bits),
        wanted=len(values) * last.neuron_folds,
        busy=_expected(layers, len(values)),
        widths=(first.in_bits, last.pe * last.element_bits),
        stalls=stalls,
        seed=seed,
        gates=gates,
        engine=engine,
    )
    outputs = _decoded(last, unpack([word for _, word in found], last.pe, last.element_bits))
    when = np.array([cycle for cycle, _ in found], dtype=np.int64)
    return Run(outputs.reshape(-1, last.mh), when.reshape(-1, last.neuron_folds))


def check(layers: Layer | Sequence[Layer], vectors: ArrayLike, **how: object) -> Run:
    """`simulate`, compared with `reference`; a `SynthesisError` says which output differs."""
    layers = chain(layers)
    run = simulate(layers, vectors, **how)
    expected = reference.network(layers, vectors)
    wrong = np.argwhere(run.outputs != expected)
    if len(wrong):
        vector, row = wrong[0]
        raise SynthesisError(
            f"{len(wrong)} of {expected.size} outputs differ, the first in row {row} of vector "
            f"{vector}: {run.outputs[vector, row]} simulated, {expected[vector, row]} expected."
        )
    return run


def exchange(
    text: str,
    beats: list[int],
    *,
    wanted: int,
    busy: int,
    widths: tuple[int, int],
    stalls: float,
    seed: int,
    gates: bool,
    engine: Engine | None,
) -> list[tuple[int, int]]:
    """Send beats through the module `network` of `text`, and collect (cycle, beat) of `wanted`.

    `busy` are cycles that suffice when nothing stalls, `widths` the bits of a beat in and out; the
    others are as for `simulate`, and refused as `check_how` does. Raises `SynthesisError` for beats
    that do not come, and as `simulate` does.
    """
    yosys.require()
    may = np.random.default_rng(seed).random((PATTERN, 2)) >= stalls
    job = _Job(_netlist(text) if gates else text, gates, beats, may, wanted, busy, *widths)
    if engine is None:
        engine = "compiled" if job.cycles > FEW and compiler() else "interpreted"
    found = (_interpreted if engine == "interpreted" else _compiled)(job)
    if len(found) < wanted:
        raise SynthesisError(f"{len(found)} of {wanted} beats came out, and then no more.")
    return found


def check_how(stalls: float, seed: int, engine: Engine | None) -> None:
    """Refuse a way to simulate that there is not: `SynthesisError`."""
    check_stalls(stalls)
    if not is_whole(seed) or seed < 0:
        raise SynthesisError(f"seed must be a whole number of at least 0, not {seed!r}.")
    if engine is not None and engine not in ENGINES:
        raise SynthesisError(f"engine must be 'interpreted' or 'compiled', not {engine!r}.")
    if engine == "compiled" and compiler() is None:
        raise SynthesisError("the compiled engine needs a C++ compiler, and there is none.")


def check_stalls(stalls: float) -> None:
    """Refuse what is no probability of stalls: `SynthesisError`."""
    if not isinstance(stalls, Real) or not 0 <= stalls <= MOST_STALLS:
        raise SynthesisError(f"stalls must be from 0 to {MOST_STALLS}, not {stalls!r}.")


def compiler() -> str | None:
    """The C++ compiler: `CXX`, else the first of c++, g++ and clang++ there is; None without."""
    names = (os.environ.get("CXX") or "c++", "g++", "clang++")
    return next(filter(None, map(shutil.which, names)), None)


def _expected(layers: Sequence[Layer], vectors: int) -> int:
    """Cycles that surely suffice when nothing stalls."""
    each = [layer.unit for layer in layers]
    return (vectors + 1) * max(u.cycles for u in each) + sum(u.cycles + 20 for u in each)


def _codes(unit: Unit, values: Integers) -> Integers:
    """Activations as they travel: two's complement, at one signed bit 1 for +1."""
    return values > 0 if unit.act_bits == 1 and unit.act_signed else values % 2**unit.act_bits


def _decoded(unit: Unit, codes: Integers) -> Integers:
    if unit.out_bits == 1:
        return 2 * codes - 1
    return codes - (codes >> (unit.element_bits - 1) << unit.element_bits)


def _netlist(text: str) -> str:
    script = f"{yosys.netlist(TOP)}\nwrite_verilog -noattr gates.v\n"
    return yosys.run(script, {"design.v": text}, ["gates.v"])["gates.v"]


@dataclass(frozen=True, eq=False)
class _Job:
    """What an engine simulates: it sends `beats`, and collects `wanted` beats."""

    design: str
    gates: bool
    beats: list[int]
    may: NDArray[np.bool_]  # (PATTERN, 2) whether the source, the sink acts in a cycle
    wanted: int
    busy: int  # cycles that suffice when nothing stalls
    in_bits: int
    out_bits: int

    @property
    def cycles(self) -> int:
        """Cycles that suffice when stalls fall as they should."""
        return int(self.busy / self.may.mean(0).prod())

    @property
    def limit(self) -> int:
        """Cycles after which nothing more is waited for."""
        return 5 * self.cycles + 5 * PATTERN

    @property
    def load(self) -> str:
        """The commands that read the design."""
        cells = "read_verilog -sv block_ram.v\nread_verilog -nooverwrite +/xilinx/cells_sim.v\n"
        return f"read_verilog -sv design.v\n{cells if self.gates else ''}"

    @property
    def models(self) -> dict[str, str]:
        """Files that `load` reads."""
        library = (yosys.share() / "xilinx" / "cells_sim.v").read_text() if self.gates else ""
        return {"block_ram.v": block_ram.models(library)} if self.gates else {}


def _interpreted(job: "_Job") -> list[tuple[int, int]]:
    files = {"design.v": job.design, **job.models, "bench.v": _bench(job)}
    script = f"{job.load}read_verilog -sv bench.v\nhierarchy -top bench\nproc\nflatten\nopt_clean\n"
    for cycles in (job.cycles, job.limit):  # where stalls fell badly, a second time
        sim = f"memory_collect\nsim -q -clock clk -reset rst -n {cycles} bench\n"
        log = yosys.run(script + sim, files)["log"]
        lines = [line.split()[1:] for line in log.splitlines() if line.startswith("beat ")]
        if "unsteady" in log:
            raise SynthesisError(UNSTEADY)
        if len(lines) >= job.wanted:
            break
    return [(int(cycle), _known(word)) for cycle, word in lines[: job.wanted]]


def _known(word: str) -> int:
    try:
        return int(word, 16)
    except ValueError:
        raise SynthesisError(f"an output has undefined bits: {word}.") from None


def _bench(job: "_Job") -> str:
    """The source and the sink of a unit, as Verilog; they print every beat of outputs."""
    count, bits = len(job.beats), len(job.beats).bit_length()
    words = [int(source) + 2 * int(sink) for source, sink in job.may]
    return f"""\
module bench (input wire clk, rst);
{rom("beats", job.beats, job.in_bits, "auto")}
{rom("may", words, 2, "auto")}
    reg [31:0] cycle;
    reg [{PATTERN.bit_length() - 1}:0] place;
    reg [{bits - 1}:0] sent;
    wire [1:0] now = may[place];
    wire in_ready, out_valid;
    wire in_valid = now[0] & sent != {count};
    wire out_ready = now[1];
    wire [{job.in_bits - 1}:0] in_data = beats[sent];
    wire [{job.out_bits - 1}:0] out_data;
    {TOP} dut (.clk(clk), .rst(rst), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),
        .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data));
    reg waiting;
    reg [{job.out_bits - 1}:0] offered;
    always @(posedge clk) begin
        cycle <= rst ? 0 : cycle + 1;
        place <= rst | place == {PATTERN - 1} ? 0 : place + 1;
        sent <= rst ? 0 : sent + (in_valid & in_ready);
        waiting <= ~rst & out_valid & ~out_ready;
        offered <= out_data;
        if (~rst & out_valid & out_ready) $display("beat %0d %h", cycle, out_data);
        if (~rst & waiting & (~out_valid | out_data != offered)) $display("unsteady");
    end
endmodule
"""


def _compiled(job: "_Job") -> list[tuple[int, int]]:
    program = _built(compiler(), job.load, ("design.v", job.design), *job.models.items())
    takes, gives = -(-job.in_bits // 32), -(-job.out_bits // 32)
    head = np.array([len(job.beats), takes, gives, job.wanted, PATTERN, job.limit], np.uint64)
    content = b"".join(word.to_bytes(4 * takes, "little") for word in job.beats)
    sent = head.tobytes() + job.may.astype(np.uint8).tobytes() + content
    with tempfile.TemporaryDirectory(prefix="qbench-cxxrtl-") as name:
        file = Path(name) / "run"
        file.write_bytes(program)
        file.chmod(0o700)
        done = subprocess.run([file], input=sent, capture_output=True)
    if done.returncode:
        raise SynthesisError(UNSTEADY if done.returncode == 3 else "the simulation died.")
    size = 8 + 4 * gives
    records = [done.stdout[at : at + size] for at in range(0, len(done.stdout), size)]
    return [tuple(int.from_bytes(part, "little") for part in (r[:8], r[8:])) for r in records]


@lru_cache(maxsize=2)  # a network is often simulated several times, and building takes longer
def _built(cxx: str, load: str, *files: tuple[str, str]) -> bytes:
    """The program that simulates a design, without what is sent through it."""
    script = f"{load}hierarchy -top {TOP}\nproc\nflatten\nwrite_cxxrtl design.cc\n"
    written = yosys.run(script, dict(files), ["design.cc"])["design.cc"]
    with tempfile.TemporaryDirectory(prefix="qbench-cxxrtl-") as name:
        folder = Path(name)
        (folder / "design.cc").write_text(written)
        options = ["-std=c++17", "-O1", "-w", f"-I{yosys.share() / RUNTIME}", f"-I{folder}"]
        build = [cxx, *options, DRIVER, "-o", folder / "run"]
        done = subprocess.run(build, capture_output=True, text=True)
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if "error" in line), "no reason")
            raise SynthesisError(f"the C++ compiler failed: {said.strip().rstrip('.')}.")
        return (folder / "run").read_bytes()
