"""Run Yosys: netlists for 7-series devices, and what they take.

Counts after synthesis, before place and route. Yosys works in a process of its own, in an empty
folder: a failure there ends nothing here.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from .unit import SynthesisError

RUN = "from pyosys import libyosys; libyosys.run_pass('script run.ys', libyosys.Design())"
FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
MEMORY_LUTS = {  # LUTs that each takes, UG474
    **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1S": 2},
    **{"RAM128X1D": 4, "RAM256X1S": 4, "RAM32M": 4, "RAM64M": 4, "SRL16E": 1, "SRLC32E": 1},
}
OTHERS = {"ramb18": "RAMB18E1", "ramb36": "RAMB36E1", "dsp": "DSP48E1", "carry4": "CARRY4"}
FREE = ("$scopeinfo", "MUXF7", "MUXF8")  # the multiplexers behind the LUTs of a slice


@dataclass(frozen=True)
class Resources:
    """What a design takes of a 7-series device.

    `lut_logic` counts the LUT cells, of any number of inputs, and inverters; `lut_packed` is
    Yosys' estimate of what is left of them when two small ones share a LUT. `lut_memory` are the
    LUTs that distributed RAM takes. `yosys` is the tool's version.
    """

    lut_logic: int
    lut_packed: int
    lut_memory: int
    ff: int
    ramb18: int
    ramb36: int
    dsp: int
    carry4: int
    yosys: str

    @property
    def lut(self) -> int:
        """LUTs of logic and of memory."""
        return self.lut_logic + self.lut_memory

    @property
    def bram18(self) -> int:
        """Block RAMs in units of 18 Kib."""
        return self.ramb18 + 2 * self.ramb36

    def row(self) -> dict[str, int | str]:
        """All counts by name, `lut` first and `bram18` behind."""
        return {"lut": self.lut, **asdict(self), "bram18": self.bram18}


def available() -> bool:
    """Whether Yosys is installed."""
    return find_spec("pyosys") is not None


def require() -> None:
    """Raise `SynthesisError` unless Yosys is installed."""
    if not available():
        raise SynthesisError(
            "synthesis needs Yosys, which is not installed: pip install 'qbench[synthesis]' "
            "brings it, as pip install pyosys==0.70 does."
        )


def share() -> Path:
    """Folder of the files that come with Yosys."""
    return Path(next(iter(find_spec("pyosys").submodule_search_locations))) / "share"


def synthesise(text: str, top: str = "mvtu", *, dsp: bool = False) -> Resources:
    """Synthesise the Verilog `text` with module `top` for the 7 series and count its cells.

    `dsp` lets multipliers go into DSP blocks; without it they are made of LUTs, as FINN's are by
    default. Raises `SynthesisError` as `run` does, and for a cell that cannot be counted.
    """
    script = f"{netlist(top, dsp=dsp)}\ntee -q -o stat.json stat -json -tech xilinx\n"
    found = json.loads(run(script, {"design.v": text}, ["stat.json"])["stat.json"])
    return count(found["design"]["num_cells_by_type"], found["design"], found["creator"])


def count(cells: Mapping[str, int], design: Mapping[str, object], version: str) -> Resources:
    """`Resources` of Yosys' statistics; raises `SynthesisError` for a cell that has no place."""
    luts = {f"LUT{inputs}" for inputs in range(1, 7)} | {"INV"}
    pairs = cells.get("LUT6_2", 0)  # written down by hand; Yosys' estimate leaves them out
    known = {*luts, "LUT6_2", *FLIP_FLOPS, *MEMORY_LUTS, *OTHERS.values(), *FREE}
    unknown = sorted(set(cells) - known)
    if unknown:
        raise SynthesisError(
            f"the netlist has cells that are not counted here: {', '.join(unknown)}."
        )
    return Resources(
        lut_logic=sum(cells.get(name, 0) for name in luts) + pairs,
        lut_packed=int(design["estimated_num_lc"]) + pairs,
        lut_memory=sum(each * cells.get(name, 0) for name, each in MEMORY_LUTS.items()),
        ff=sum(cells.get(name, 0) for name in FLIP_FLOPS),
        **{name: cells.get(cell, 0) for name, cell in OTHERS.items()},
        yosys=re.sub(r"^Yosys |, .*(?=\))", "", version),  # without how it was compiled
    )


def netlist(top: str, *, dsp: bool = False) -> str:
    """The commands that turn design.v into a netlist of 7-series cells.

    Delays stay flip-flops (-nosrl): whether Yosys finds one that a shift register could hold, and
    how well it treats its clock enable, depends on its version.
    """
    return f"""\
read_verilog -sv design.v
setattr -unset rom_style -set logic_block 1 a:rom_style=distributed
synth_xilinx -family xc7 -flatten -nosrl -noiopad -noclkbuf{"" if dsp else " -nodsp"} -top {top}"""


def run(script: str, files: Mapping[str, str], wanted: Sequence[str] = ()) -> dict[str, str]:
    """Run a Yosys script beside `files`; returns the text of the files `wanted` and its `log`.

    Raises `SynthesisError` when Yosys is not installed, or fails: with its last word.
    """
    require()
    with tempfile.TemporaryDirectory(prefix="qbench-yosys-") as name:
        folder = Path(name)
        for file, text in {**files, "run.ys": script}.items():
            (folder / file).write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode:
            lines = [line for line in done.stdout.splitlines() if line.strip()]
            said = [line for line in lines if "ERROR: " in line] or lines or ["no reason given"]
            last = said[-1].rpartition("ERROR: ")[2].strip().rstrip(".")
            raise SynthesisError(f"Yosys failed with status {done.returncode}: {last}.")
        return {"log": done.stdout, **{file: (folder / file).read_text() for file in wanted}}
