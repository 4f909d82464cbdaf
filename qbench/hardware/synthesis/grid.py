"""Synthesise units with random weights, stored one by one, over bit widths and foldings."""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from itertools import product

import numpy as np
import pandas as pd

from qbench import store, workers

from .generator import verilog
from .unit import MAX_BITS, Layer, Memory, SynthesisError, Unit, is_whole
from .yosys import require, synthesise

BITS = tuple(range(1, MAX_BITS + 1))
FOLDINGS = (2, 4, 8)  # PE = SIMD
SHARED = ("out_bits", "act_signed", "weights_in", "thresholds_in", "dsp")


@store.method(version=1)
def synthesise_mvtu(
    *,
    mw: int = 256,
    mh: int = 64,
    pe: int,
    simd: int,
    weight_bits: int,
    act_bits: int,
    out_bits: int | None,
    act_signed: bool = True,
    weights_in: Memory = "block",
    thresholds_in: Memory = "distributed",
    dsp: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """What a unit takes of a 7-series device: one row, its parameters and its `Resources`.

    `out_bits` None is a unit of sums, without thresholds. Weights and thresholds are
    `random_layer`'s; `dsp` as in `synthesise`. Raises `SynthesisError`.
    """
    bits = weight_bits, act_bits, out_bits, act_signed
    unit = Unit(mw, mh, pe, simd, *bits, weights_in, thresholds_in)
    layer = random_layer(unit, seed)
    found = synthesise(verilog(unit, layer.weights, layer.thresholds), dsp=dsp)
    counts = {"cycles": unit.cycles, "acc_bits": unit.acc_bits, **found.row()}
    return pd.DataFrame([{**asdict(unit), "dsp_allowed": dsp, "seed": seed, **counts}])


def synthesise_grid(
    *,
    weight_bits: Sequence[int] = BITS,
    act_bits: Sequence[int] = BITS,
    foldings: Sequence[int] = FOLDINGS,
    mw: int = 256,
    mh: int = 64,
    thresholds: bool = True,
    seed: int = 0,
    jobs: int = 1,
    **same: object,
) -> pd.DataFrame:
    """`synthesise_mvtu` for every combination with PE = SIMD = folding, a row each.

    Outputs have as many bits as inputs, the usual case of a hidden layer; without `thresholds` the
    units give their sums, which is what FINN's formulas count by default. Each is stored when it is
    done: what was interrupted goes on where it was. `jobs` of them are synthesised at a time;
    `same` are parameters that all share: out_bits, act_signed, weights_in, thresholds_in, dsp. The
    progress, on standard error, weighs a unit by about what it costs. Raises `SynthesisError`
    before any work, also where something is not stored and Yosys is not installed.
    """
    from tqdm import tqdm

    _refuse_lists(jobs, same, weight_bits=weight_bits, act_bits=act_bits, foldings=foldings)
    _true_or_false("thresholds", thresholds)
    size = {"mw": mw, "mh": mh, "seed": seed}
    asked = [
        {**size, "pe": f, "simd": f, "weight_bits": w, "act_bits": a}
        | {"out_bits": a if thresholds else None, **same}
        for f, w, a in product(foldings, weight_bits, act_bits)
    ]
    asked = [{name: _plain(value) for name, value in one.items()} for one in asked]
    for one in asked:
        _refuse(one)
    again = bool(os.environ.get("QBENCH_RECOMPUTE"))
    specs = [store.spec(synthesise_mvtu, **one) for one in asked]
    found = [None if again else store.find(spec) for spec in specs]
    missing = [one for one, entry in zip(asked, found, strict=True) if not entry]
    if missing and workers.elsewhere():
        order = sorted(missing, key=_cost, reverse=True)
        workers.run_each(synthesise_mvtu, order, title="synthesis")
    elif missing:
        require()
        total = sum(map(_cost, missing))
        bar = tqdm(total=round(total), unit="", desc="synthesis", file=sys.stderr, bar_format=BAR)
        with bar, ThreadPoolExecutor(jobs) as pool:  # Yosys works in processes of its own
            # The costly ones first: none is left over alone at the end.
            order = sorted(missing, key=_cost, reverse=True)
            started = {pool.submit(store.run, synthesise_mvtu, **one): one for one in order}
            try:
                for done, finished in enumerate(as_completed(started), 1):
                    finished.result()
                    bar.set_postfix_str(f"{done} of {len(missing)} units", refresh=False)
                    bar.update(round(_cost(started[finished])))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return pd.concat([store.run(synthesise_mvtu, **one) for one in asked], ignore_index=True)


BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} so far, {remaining} to go{postfix}"


def random_layer(unit: Unit, seed: int = 0) -> Layer:
    """Weights and thresholds as training leaves them, from a seed.

    Weights are equally likely. The thresholds of a row are equally spaced, as batch norm and a
    uniform quantiser make them, and cover about the range of its sums.
    """
    rng = np.random.default_rng(_seed(seed))
    shape = unit.mh, unit.mw
    low, high = unit.weight_range
    if unit.weight_bits == 1:
        weights = rng.choice([low, high], shape)
    else:
        weights = rng.integers(low, high, shape, endpoint=True)
    if unit.out_bits is None:
        return Layer(unit, weights)
    acts = np.arange(unit.act_range[0], unit.act_range[1] + 1)
    acts = acts[acts != 0] if unit.act_bits == 1 and unit.act_signed else acts
    spread = np.sqrt((weights**2).sum(1) * np.mean(acts**2))[:, None]  # of the row's sums
    levels = 2**unit.out_bits
    middle = spread * rng.normal(0, 0.5, (unit.mh, 1))
    step = spread * rng.uniform(2, 6, (unit.mh, 1)) / levels
    return Layer(unit, weights, np.ceil(middle + step * (np.arange(1, levels) - levels / 2)))


def _plain(value: object) -> object:
    """NumPy's numbers have no JSON."""
    return value.item() if isinstance(value, np.generic) else value


def _refuse_lists(jobs: int, same: Mapping[str, object], **lists: Sequence[int]) -> None:
    """Raise `SynthesisError` for what no single unit of a grid would show."""
    if not is_whole(jobs) or jobs < 1:
        raise SynthesisError(f"jobs must be a whole number of at least 1, not {jobs!r}.")
    unknown = next((name for name in same if name not in SHARED), None)
    if unknown is not None:
        raise SynthesisError(f"what all units share may be {', '.join(SHARED)}, not {unknown!r}.")
    for name, values in lists.items():
        if not len(values):
            raise SynthesisError(f"{name} must name at least one value, and names none.")
        twice = next((value for value in values if list(values).count(value) > 1), None)
        if twice is not None:
            raise SynthesisError(f"{name} must not repeat a value, and has {twice!r} twice.")


def _refuse(one: dict[str, object]) -> None:
    """Raise what `synthesise_mvtu` would raise before its work."""
    names = Unit.__dataclass_fields__
    sizes = {n: v for n, v in one.items() if n in names}
    Unit(**sizes)
    _seed(one["seed"])
    _true_or_false("dsp", one.get("dsp", False))


def _true_or_false(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise SynthesisError(f"{name} must be True or False, not {value!r}.")


def _seed(value: object) -> int:
    if not is_whole(value) or value < 0:
        raise SynthesisError(f"seed must be a whole number of at least 0, not {value!r}.")
    return int(value)


def _cost(one: dict[str, object]) -> float:
    """About the seconds that Yosys takes, for the progress only."""
    products = one["simd"] * one["weight_bits"] * one["act_bits"]
    thresholds = 2 ** (one["out_bits"] or 0)
    return 6 + 0.02 * one["pe"] * (products + thresholds)
