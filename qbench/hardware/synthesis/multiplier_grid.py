"""Look-up tables of multipliers against the width of their input: Faraone 2021, Fig. 6.8."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from qbench import store, workers
from qbench.hardware.mvtu import single
from qbench.hardware.rccm import WIRING, Adder, Circuit, published

from .multipliers import MOST_BITS, Multiplier, multiplier_verilog, product_bits
from .unit import SynthesisError
from .yosys import synthesise

INPUT_BITS = tuple(range(3, 17))  # Section 6.7.1
GENERIC = (Multiplier(8), Multiplier(8, "booth"))


@store.method(version=1)
def synthesise_rccm(
    *,
    architecture: str,
    operations: Sequence[Sequence[str]],
    shifts: Sequence[Sequence[int]],
    input_bits: int,
) -> pd.DataFrame:
    """What an RCCM takes of a 7-series device: one row, its widths and its `Resources`.

    `operations` and `shifts` are those of its adders, as `parameters` gives them. Yosys counts an
    inverter for bit 0 where an adder's carry in is always 1, which a slice does not need. Raises
    `HardwareError`.
    """
    circuit = circuit_of(architecture, operations, shifts)
    row = {"multiplier": architecture, "select_bits": circuit.select_bits}
    row |= {"coefficients": len(circuit.codebook), "input_bits": input_bits}
    return _counted(circuit, input_bits, row)


@store.method(version=1)
def synthesise_generic(
    *, coefficient_bits: int, kind: str = "array", input_bits: int
) -> pd.DataFrame:
    """As `synthesise_rccm`, for a generic `Multiplier`, which has 2^coefficient_bits coefficients.

    Raises `HardwareError`.
    """
    unit = Multiplier(coefficient_bits, kind)
    row = {"multiplier": f"{coefficient_bits}-bit {kind}", "select_bits": coefficient_bits}
    row |= {"coefficients": 2**coefficient_bits, "input_bits": input_bits}
    return _counted(unit, input_bits, row)


def circuit_of(
    architecture: str, operations: Sequence[Sequence[str]], shifts: Sequence[Sequence[int]]
) -> Circuit:
    """The circuit of which `parameters` gives these. Raises `HardwareError`."""
    topologies = "A" * (len(operations) - 1) + "B"
    made = zip(topologies, operations, shifts, strict=True)
    return Circuit(architecture, tuple(Adder(t, tuple(o), tuple(s)) for t, o, s in made))


def parameters(circuit: Circuit) -> dict[str, object]:
    """What `synthesise_rccm` wants to know of a circuit."""
    return {
        "architecture": circuit.architecture,
        "operations": [list(adder.operations) for adder in circuit.adders],
        "shifts": [list(adder.shifts) for adder in circuit.adders],
    }


def synthesise_multipliers(
    units: Sequence[Circuit | Multiplier] | None = None,
    input_bits: Sequence[int] = INPUT_BITS,
) -> pd.DataFrame:
    """Multipliers at several input widths, each from the store where it has it: a row each.

    `units` None are the circuits of Table 6.3 and generic multipliers of 8 bits. Columns:
    `multiplier`, `select_bits`, `coefficients`, `input_bits`, `product_bits`, and `Resources`.
    Raises `SynthesisError` before any work for no unit or width, or a width that is not allowed.
    """
    units = [*map(published, WIRING), *GENERIC] if units is None else list(units)
    if not len(units) or not len(input_bits):
        raise SynthesisError("units and input_bits must name at least one each.")
    widths = [single("input_bits", bits, 2, MOST_BITS) for bits in input_bits]
    asked = []
    for unit in units:
        for bits in widths:
            if isinstance(unit, Circuit):
                asked.append((synthesise_rccm, parameters(unit) | {"input_bits": bits}))
            else:
                size = {"coefficient_bits": unit.coefficient_bits, "kind": unit.kind}
                asked.append((synthesise_generic, size | {"input_bits": bits}))
    if workers.elsewhere():
        for method in (synthesise_rccm, synthesise_generic):
            workers.run_each(method, [one for of, one in asked if of is method], title="synthesis")
    return pd.concat([store.run(method, **one) for method, one in asked], ignore_index=True)


def lut_slopes(table: pd.DataFrame) -> pd.DataFrame:
    """LUTs = slope · input bits + `lut_at_0`, by least squares, a row a `multiplier`.

    `residual` is the largest distance of a point from the line, in LUTs. Raises `SynthesisError`
    for a multiplier with fewer than two widths.
    """
    rows = []
    for name, part in table.groupby("multiplier", sort=False):
        if part["input_bits"].nunique() < 2:
            raise SynthesisError(f"a slope needs two widths of input, and {name} has one.")
        slope, start = np.polyfit(part["input_bits"], part["lut"], 1)
        rest = np.abs(slope * part["input_bits"] + start - part["lut"]).max()
        found = {"lut_per_input_bit": slope, "lut_at_0": start, "residual": rest}
        rows.append({"multiplier": name, **found})
    return pd.DataFrame(rows)


def _counted(unit: Circuit | Multiplier, bits: int, row: Mapping[str, object]) -> pd.DataFrame:
    text = multiplier_verilog(unit, bits)
    found = synthesise(text, "multiplier")
    return pd.DataFrame([{**row, "product_bits": product_bits(unit, bits), **found.row()}])
