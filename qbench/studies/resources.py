"""Chapter 03: what 64 bit-width configurations take of an FPGA, by formula and by synthesis."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd

from qbench.hardware import mvtu
from qbench.hardware.devices import Device, device
from qbench.hardware.folding import largest_divisor
from qbench.hardware.mvtu import RESOURCES, Cost

BITS = tuple(range(1, 9))
LABELS = {"lut": "LUT", "ff": "Flip-flops", "bram18": "BRAM18", "dsp": "DSP"}
INSIDE = LABELS | {"ff": "flip-flops"}  # the same inside a sentence
KEYS = ["weight_bits", "act_bits"]

Memories = Literal["a PE", "a layer"]


@dataclass(frozen=True)
class Network:
    """A perceptron that the authors may have built: (mw, mh, PE, SIMD) of its layers.

    `input_bits` is the width of what enters it. `words` describe it.
    """

    words: str
    layers: tuple[tuple[int, int, int, int], ...]
    input_bits: int

    def folded(self, parallelism: int | None) -> tuple[tuple[int, int, int, int], ...]:
        """Its layers, with PE = SIMD = `parallelism`, or the largest divisor below, if given."""
        if parallelism is None:
            return self.layers
        limit = mvtu.single("parallelism", parallelism)
        return tuple(
            (mw, mh, largest_divisor(mh, limit), largest_divisor(mw, limit))
            for mw, mh, _, _ in self.layers
        )


# LFC and SFC with the sizes and the foldings of the overlays that FINN's authors published for the
# Pynq boards (BNN-PYNQ, lfcW1A1 and sfcW1A1, config.h): 28 x 28 pixels padded to 832, 10 classes to
# 64. They binarise their input. TFC is Ducasse's network at the middle one of her foldings.
NETWORKS = {
    "lfc": Network(
        "LFC, 3 × 1024 neurons, as the BNN-PYNQ overlay folds it",
        ((832, 1024, 32, 64), (1024, 1024, 64, 32), (1024, 1024, 32, 64), (1024, 64, 16, 8)),
        1,
    ),
    "sfc": Network(
        "SFC, 3 × 256 neurons, as the BNN-PYNQ overlay folds it",
        ((832, 256, 16, 32), (256, 256, 16, 8), (256, 256, 8, 16), (256, 64, 8, 4)),
        1,
    ),
    "tfc": Network(
        "TFC, 3 × 64 neurons, PE = SIMD = 8",
        ((1024, 64, 8, 8), (64, 64, 8, 8), (64, 64, 8, 8), (64, 10, 5, 8)),
        8,
    ),
}


def resources(
    weight_bits: Sequence[int] = BITS,
    act_bits: Sequence[int] = BITS,
    *,
    network: str = "lfc",
    parallelism: int | None = None,
    input_bits: int | None = None,
    memories: Memories = "a PE",
    thresholds: str = "none",
    multipliers: str = "lut",
) -> pd.DataFrame:
    """Estimates of a network at every pair of bit widths: one row a configuration.

    Columns weight_bits, act_bits, lut, ff, bram18, dsp, cycles. `network` is one of `NETWORKS`,
    `parallelism` puts PE and SIMD of all layers at that number instead of the network's own
    folding. Weights lie in block RAM: a memory for each PE, as HLS makes of an array of memories,
    or one for a layer, as FINN's formula has it (`memories`). `thresholds` and `multipliers` are
    `threshold_storage` and `multipliers` of `mvtu.estimate`. Flip-flops, which FINN does not
    estimate, are those of `hardware.flip_flops`. Raises `HardwareError` as `mvtu.estimate` does.
    """
    mvtu.one_of("network", network, tuple(NETWORKS))
    mvtu.one_of("memories", memories, ("a PE", "a layer"))
    chosen = NETWORKS[network]
    pixels = chosen.input_bits if input_bits is None else mvtu.single("input_bits", input_bits)
    w, a = (grid.ravel() for grid in np.meshgrid(weight_bits, act_bits, indexing="ij"))
    layers = chosen.folded(parallelism)
    total: Cost | None = None
    for number, (mw, mh, pe, simd) in enumerate(layers):
        cost = mvtu.estimate(
            mw,
            mh,
            pe,
            simd,
            w,
            a if number else np.full_like(a, pixels),
            out_bits=a if number < len(layers) - 1 else None,
            signed_input=number > 0 or pixels == 1,  # a binarised pixel is ±1
            threshold_storage=thresholds,
            multipliers=multipliers,
        )
        if memories == "a PE":
            depth = mw * mh // (pe * simd)
            extra = pe * mvtu.bram18(simd * w, depth) - mvtu.bram18(pe * simd * w, depth)
            cost += Cost(0, 0, extra, 0, 0)
        total = cost if total is None else total + cost
    counts = {name: getattr(total, name) for name in (*RESOURCES, "cycles")}
    shown = {name: np.broadcast_to(count, w.shape) for name, count in counts.items()}
    return pd.DataFrame({"weight_bits": w, "act_bits": a, **shown})


def effects(frame: pd.DataFrame, names: Iterable[str] = ("lut", "ff", "bram18")) -> pd.DataFrame:
    """How far each bit width moves each resource: one row a resource.

    `weights` and `activations` are the largest less the smallest mean over the other bit width,
    `share` is what of their sum the activations make, in per cent.
    """
    rows = []
    for name in names:
        moved = [np.ptp(frame.groupby(key)[name].mean().to_numpy(float)) for key in KEYS]
        share = 100 * moved[1] / sum(moved) if sum(moved) else np.nan
        rows.append((name, *moved, share))
    return pd.DataFrame(rows, columns=["resource", "weights", "activations", "share"])


def fitting(frame: pd.DataFrame, on: str | Device) -> dict[str, int]:
    """How many rows stay within a device, by each known resource, and by `all` of them."""
    target = device(on)
    known = [name for name in RESOURCES if frame[name].notna().all()]
    within = {name: frame[name] <= getattr(target, name) for name in known}
    return {name: int(fits.sum()) for name, fits in within.items()} | {
        "all": int(np.logical_and.reduce(list(within.values())).sum())
    }


ASSUMPTIONS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("LFC, a memory for each PE", {}),
    ("… one memory a layer", {"memories": "a layer"}),
    ("… 8-bit pixels", {"input_bits": 8}),
    ("… products in DSP blocks", {"multipliers": "dsp"}),
    ("… both", {"input_bits": 8, "multipliers": "dsp"}),
    ("… thresholds in LUTs", {"thresholds": "lut"}),
    ("… thresholds in block RAM", {"thresholds": "bram"}),
    ("SFC, a memory for each PE", {"network": "sfc"}),
    ("TFC, PE = SIMD = 8, one memory a layer", {"network": "tfc", "memories": "a layer"}),
    ("TFC, PE = SIMD = 16", {"network": "tfc", "memories": "a layer", "parallelism": 16}),
)


def assumptions(on: str | Device) -> pd.DataFrame:
    """What the 64 networks take and how many fit, under each of `ASSUMPTIONS`: a row each."""
    rows = []
    for words, options in ASSUMPTIONS:
        frame = resources(**options)
        row: dict[str, Any] = {"assumed": words}
        for name in ("bram18", "ff", "lut"):
            low, high = frame[name].min(), frame[name].max()
            row[LABELS[name]] = "–" if np.isnan(low) else f"{low:,.0f}–{high:,.0f}"
        fits = fitting(frame, on)
        for name in ("bram18", "ff", "lut", "dsp", "all"):
            row[f"fit by {INSIDE.get(name, 'all')}"] = fits.get(name)
        rows.append(row)
    return pd.DataFrame(rows)


def beside_formula(units: pd.DataFrame) -> pd.DataFrame:
    """Synthesised units (rows of `synthesise_grid`) with FINN's estimates of the same units.

    Adds for lut, bram18 and dsp the columns `<name>_formula` and `<name>_error`, the estimate less
    the count in per cent of the count (0 where both are 0, infinite where only the count is 0).
    Units with thresholds are held against thresholds in LUTs, units of sums against "none".
    """
    parts = []
    keys = units["out_bits"].notna().rename("with_thresholds"), units["dsp_allowed"]
    for (with_thresholds, dsp), part in units.groupby(list(keys), sort=False):
        sizes = (part[name].to_numpy(np.int64) for name in ("mw", "mh", "pe", "simd", *KEYS))
        cost = mvtu.estimate(
            *sizes,
            out_bits=part["out_bits"].to_numpy(np.int64) if with_thresholds else None,
            threshold_storage="lut" if with_thresholds else "none",
            multipliers="dsp" if dsp else "lut",
        )
        part = part.assign(thresholds=bool(with_thresholds))
        for name in ("lut", "bram18", "dsp"):
            estimate = np.broadcast_to(getattr(cost, name), len(part)).astype(float)
            counted = part[name].to_numpy(float)
            with np.errstate(divide="ignore", invalid="ignore"):
                error = 100 * (estimate - counted) / counted
            part[f"{name}_formula"] = estimate
            part[f"{name}_error"] = np.where(estimate == counted, 0.0, error)
        parts.append(part)
    return pd.concat(parts).sort_index()


def errors(beside: pd.DataFrame) -> pd.DataFrame:
    """Median and worst error of the formulas, one row a resource and kind of unit.

    `beside` is of `beside_formula`. Columns resource, units, median (absolute, %), low and high
    (signed, %) and worst, the unit that is furthest off. DSP blocks only where they were allowed.
    """
    rows = []
    for (thresholds, dsp), part in beside.groupby(["thresholds", "dsp_allowed"]):
        for name in ("lut", "bram18", "dsp"):
            if (name == "dsp") != bool(dsp):
                continue
            error = part[f"{name}_error"]
            worst = part.loc[error.abs().idxmax()]
            rows.append(
                {
                    "resource": LABELS[name],
                    "units": "with thresholds" if thresholds else "sums",
                    "count": len(part),
                    "median": error.abs().median(),
                    "low": error.min(),
                    "high": error.max(),
                    "worst": f"W{worst.weight_bits}A{worst.act_bits}, PE = SIMD = {worst.pe}: "
                    f"{worst[f'{name}_formula']:,.0f} for {worst[name]:,.0f}",
                }
            )
    return pd.DataFrame(rows)


def wide_operands(beside: pd.DataFrame, least_bits: int = 4) -> pd.DataFrame:
    """How far the formula's LUTs are off where weights and inputs have `least_bits` or more: %.

    `beside` is of `beside_formula`; units of sums without DSP blocks count. One row a parallelism,
    indexed by PE, columns `low` and `high`.
    """
    wide = (beside[KEYS] >= least_bits).all(axis=1)
    part = beside[wide & ~beside["thresholds"] & ~beside["dsp_allowed"]]
    return part.groupby("pe")["lut_error"].agg(low="min", high="max")


def layers_of(network: str, weight_bits: int, act_bits: int) -> list[dict[str, Any]]:
    """The parameters of `synthesise_mvtu` for each layer of a network of `NETWORKS`."""
    mvtu.one_of("network", network, tuple(NETWORKS))
    chosen = NETWORKS[network]
    last = len(chosen.layers) - 1
    return [
        {
            "mw": mw,
            "mh": mh,
            "pe": pe,
            "simd": simd,
            "weight_bits": weight_bits,
            "act_bits": act_bits if number else chosen.input_bits,
            "out_bits": act_bits if number < last else None,
            "act_signed": number > 0 or chosen.input_bits == 1,
        }
        for number, (mw, mh, pe, simd) in enumerate(chosen.layers)
    ]


def equal_widths(
    network: str, bits: Sequence[int], thresholds_in: Sequence[str] = ("distributed", "block")
) -> pd.DataFrame:
    """A network with as many weight as activation bits, layer by layer synthesised and added up.

    Ducasse et al. 2021, Fig. 7. One row a bit width and place of the thresholds: `bits`,
    `thresholds_in`, lut, ff, bram18, dsp, cycles; without the FIFOs between the layers. Equal
    layers are synthesised once. Raises `SynthesisError` where one is not stored and Yosys is not
    installed.
    """
    from qbench import store
    from qbench.hardware.synthesis import synthesise_mvtu

    rows = []
    for n, where in product(bits, thresholds_in):
        found = [
            store.run(
                synthesise_mvtu, **unit, **({"thresholds_in": where} if unit["out_bits"] else {})
            )
            for unit in layers_of(network, n, n)
        ]
        layers = pd.concat(found)
        sums = {name: int(layers[name].sum()) for name in RESOURCES}
        cycles = int(layers["cycles"].max())
        rows.append({"bits": n, "thresholds_in": where, **sums, "cycles": cycles})
    return pd.DataFrame(rows)


def simulated(unit: Mapping[str, int], vectors: int = 8, seed: int = 0) -> str:
    """Simulate a unit with random weights against NumPy, without stalls and with; what came out.

    `unit` has mw, mh, pe, simd, weight_bits and act_bits; outputs have as many bits as inputs.
    Raises `SynthesisError` where an output differs.
    """
    from qbench.hardware.synthesis import Unit, check, random_layer

    made = Unit(**unit, out_bits=unit["act_bits"])
    layer, rng = random_layer(made, seed), np.random.default_rng(seed)
    low, high = made.act_range
    codes = [low, high] if made.act_bits == 1 else np.arange(low, high + 1)
    values = rng.choice(codes, (vectors, made.mw))
    plain = check(layer, values)
    check(layer, values, stalls=0.3, seed=seed)
    apart = sorted(set(np.diff(plain.cycles[:, 0]).tolist()))
    return (
        f"{vectors} vectors, {vectors * made.mh} outputs, without stalls and with stalls in 30 % "
        f"of the cycles: all equal NumPy's. A vector every {' or '.join(map(str, apart))} cycles; "
        f"mw·mh/(pe·simd) is {made.cycles}."
    )
