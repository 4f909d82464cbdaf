"""Chapter 12: what multipliers take by synthesis: Fig. 6.8 and the area of Fig. 6.10.

The thesis compares with Xilinx's own multiplier, which cannot be had here. Two that can be drawn
bit by bit stand for it, as which one is taken decides how much a multiplier made of adders saves:
rows of partial products one after the other ("array"), and radix-4 Booth recoding ("booth").
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from qbench import reference
from qbench.addnet.codebooks import FARAONE
from qbench.hardware import rccm
from qbench.hardware.synthesis import Multiplier, lut_slopes, synthesise_multipliers
from qbench.hardware.synthesis.multiplier_grid import GENERIC
from qbench.models import small
from qbench.parameters.addnet import AddNet

from . import addnet_claims
from .addnet_sets import Circuits
from .words import dataset as written

BASELINES = {"array": "rows of partial products", "booth": "radix-4 Booth"}
TITLES = {"8-bit array": "8 bits, rows", "8-bit booth": "8 bits, Booth"}
BITS = 8  # of the coefficient of the generic multiplier of Fig. 6.8
FIRST = "array"  # of the two, what stands for the thesis' generic multiplier on the scoreboard
OTHER = "the generic multiplier is another one"
QUOTED = 9  # bits of input for which section 6.7.1 quotes savings
RCCMS = tuple(rccm.WIRING)
UNIFORM = {"8-bit": 8, "6-bit": 6, "4-bit": 4, "ternary": 2}  # bits of the coefficient
ABOUT = 0.05  # of a number printed with one decimal


def usual_input(p: AddNet) -> int | None:
    """Bits of a multiplier's input: a sign more than the activations, which are not negative.

    None for activations in float32.
    """
    return p.act_bits + 1 if p.act_bits <= 16 else None


def synthesised(p: AddNet) -> pd.DataFrame:
    """What `synthesise_multipliers` gives for all that the page shows, each row once.

    The circuits of Table 6.3 and 8-bit multipliers at all widths of `p`; at the width of the
    activations also what 6, 4 and 2 bits take.
    """
    w = usual_input(p)
    widths = sorted({*p.input_bits, *([w] if w else [])})
    found = synthesise_multipliers(input_bits=widths)
    if w:
        small = [
            Multiplier(bits, kind)
            for bits in UNIFORM.values()
            for kind in BASELINES
            if bits != BITS and (bits > 2 or kind == "array")
        ]
        found = pd.concat([found, synthesise_multipliers(small, [w])], ignore_index=True)
    return found


def own(p: AddNet, circuits: Circuits) -> pd.DataFrame:
    """What the circuits of the sets that are not printed take, at the width of the activations.

    `circuits` are those of `addnet_sets.circuits`. A row a task and set: `task`, `multiplier` (as
    `addnet.label` has it) and the other columns of `synthesise_multipliers`. None for activations
    in float32.
    """
    w = usual_input(p)
    asked = [(task, name, one) for task, of in circuits.items() for name, one in of.items()]
    if w is None or not asked:
        return pd.DataFrame(columns=["task", "multiplier", "coefficients", "lut"])
    found = synthesise_multipliers([one for _, _, one in asked], [w])
    found["multiplier"] = [name for _, name, _ in asked]
    found.insert(0, "task", [task for task, _, _ in asked])
    return found


def beside_printed(p: AddNet, fabric: pd.DataFrame, owned: pd.DataFrame) -> pd.DataFrame:
    """Look-up tables of `own` beside those of the printed circuit of as many adders.

    Columns: `dataset`, `network`, `set`, `coefficients`, `luts` and `printed`: of the circuit of
    Table 6.3.
    """
    if owned.empty:
        return pd.DataFrame()
    dataset, network = zip(*(task.split("/") for task in owned["task"]), strict=True)
    adders = owned["multiplier"].str.split().str[0]
    return pd.DataFrame(
        {
            "dataset": [written(name) for name in dataset],
            "network": [small.TITLES.get(name, name) for name in network],
            "set": owned["multiplier"],
            "coefficients": owned["coefficients"],
            "luts": owned["lut"],
            "printed": adders.map(_luts(fabric, usual_input(p))),
        }
    )


def against_width(fabric: pd.DataFrame) -> pd.DataFrame:
    """Fig. 6.8: the rows of RCCMs and 8-bit multipliers, with `name` as the page calls them."""
    names = [*RCCMS, *(f"{one.coefficient_bits}-bit {one.kind}" for one in GENERIC)]
    rows = fabric[fabric["multiplier"].isin(names)]
    return rows.assign(name=rows["multiplier"].replace(TITLES))


def slopes(fabric: pd.DataFrame) -> pd.DataFrame:
    """Tables a bit of input beside section 6.7.1, a row a multiplier; none with a single width.

    Columns: `multiplier`, `line` (ours, as a formula), `residual`, `published`, `ours`, `verdict`.
    """
    if fabric["input_bits"].nunique() < 2:
        return pd.DataFrame()
    rows = reference.load(FARAONE, "figure_6_8")
    rows = rows[rows["quantity"] == "lut_per_input_bit"]
    printed = {row["rccm"] or "generic": row for row in rows.to_dict("records")}
    found = []
    for row in lut_slopes(against_width(fabric)).itertuples():
        generic = row.multiplier not in RCCMS
        of = printed["generic" if generic else row.multiplier]
        theirs = float(of["value"])
        why = "printed as about that, with one decimal"
        ours = float(np.round(row.lut_per_input_bit, 9))
        found.append(
            {"multiplier": TITLES.get(row.multiplier, row.multiplier)}
            | {"line": f"{ours:.3g} w + {row.lut_at_0:.3g}", "residual": abs(row.residual)}
            | {"published": theirs, "ours": ours}
            | {
                "verdict": reference.verdict(
                    theirs, ours, tolerance=ABOUT * generic, why=why, of=of
                )
            }
        )
    return pd.DataFrame(found)


def savings(fabric: pd.DataFrame) -> pd.DataFrame:
    """LUTs saved at 9 bits of input (section 6.7.1), against both baselines.

    Columns: `multiplier`, `luts`, `published` (%, NaN where not printed), and ours: `array` and
    `booth`. Empty where that width was not synthesised.
    """
    luts = _luts(fabric, QUOTED)
    if luts.empty:
        return pd.DataFrame()
    rows = reference.load(FARAONE, "figure_6_8")
    rows = rows[rows["quantity"] == "lut_saving"]
    printed = dict(zip(rows["rccm"], rows["value"], strict=True))
    why = f"{OTHER}: {BASELINES[FIRST]}, whose tables grow most like those of Fig. 6.8"
    for row in rows.to_dict("records"):
        ours = _saving(luts, row["rccm"], FIRST)
        reference.verdict(row["value"], ours, tolerance=ABOUT, why=why, of=row)
    return pd.DataFrame(
        {"multiplier": name, "luts": int(luts[name]), "published": printed.get(name, np.nan)}
        | {kind: _saving(luts, name, kind) for kind in BASELINES}
        for name in RCCMS
    )


def _saving(luts: pd.Series, name: str, kind: str) -> float:
    """Look-up tables that a multiplier spares beside a generic one, %."""
    return float(100 * (1 - luts[name] / luts[f"{BITS}-bit {kind}"]))


def _luts(fabric: pd.DataFrame, input_bits: int | None) -> pd.Series:
    rows = fabric[fabric["input_bits"] == input_bits]
    return rows.set_index("multiplier")["lut"]


def luts(
    p: AddNet,
    fabric: pd.DataFrame,
    kind: str,
    owned: pd.DataFrame | None = None,
    task: str | None = None,
) -> dict[str, float]:
    """Look-up tables of one multiplier at the width of the activations, as `against_area` wants.

    `kind` is what uniform weights are multiplied by; binary ones need no multiplier and float32
    more than any of these, so both are left out. `owned`: of `own`, for the sets of `task` that are
    not printed. Empty for activations in float32.
    """
    of = _luts(fabric, usual_input(p))
    found = {name: float(of[name]) for name in RCCMS if name in of}
    for name, bits in UNIFORM.items():
        unit = f"{bits}-bit {kind if bits > 2 else 'array'}"
        if unit in of:
            found[name] = float(of[unit])
    if owned is not None:
        rows = owned[owned["task"] == task]
        found |= dict(zip(rows["multiplier"], rows["lut"].astype(float), strict=True))
    return found


def by_baseline(made: pd.DataFrame, p: AddNet, fabric: pd.DataFrame) -> pd.DataFrame:
    """The claims about accuracy and area together, once with either baseline: column `baseline`."""
    usual = set(addnet_claims.claims(made)["claim"])
    parts = []
    for kind, title in BASELINES.items():
        rows = addnet_claims.claims(made, luts(p, fabric, kind))
        rows = rows[~rows["claim"].isin(usual)]
        rows.insert(2, "baseline", title)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def claims(fabric: pd.DataFrame) -> pd.DataFrame:
    """Claims of sections 6.4, 6.6.4 and 6.7 about multipliers alone, on our counts.

    Columns: `where`, `claim`, `baseline` (blank where there is none), `ours`, `verdict`, `why`.
    """
    rows = [_row("", row) for row in _coefficient_claims()]
    for kind, title in BASELINES.items():
        rows += [_row(title, row) for row in _size_claims(fabric, kind, title)]
    area = {w: _luts(fabric, w) for w in (8, 16)}
    if all(len(one) for one in area.values()):
        two, three = area[16]["2-Add"], area[8]["3-Add"]
        words = f"2-Add with 16 bits {two:g}, 3-Add with 8 bits {three:g} look-up tables"
        why = "they differ by more than a bit of input changes the 3-Add"
        holds = abs(two - three) <= 3
        row = reference.claim(FARAONE, "area_2add_input_bits", holds=holds, ours=words, why=why)
        rows.append(_row("", row))
    return pd.DataFrame(rows, columns=["where", "claim", "baseline", "ours", "verdict", "why"])


def _row(baseline: str, row: Mapping[str, object]) -> dict[str, object]:
    return {**row, "baseline": baseline}


def _coefficient_claims() -> list[dict[str, object]]:
    """What the sets of Table 6.2 alone tell."""
    rows, sizes = [], {}
    errata = reference.errata(FARAONE).set_index("erratum")["arithmetic"]
    for name in RCCMS:
        circuit = rccm.published(name)
        largest = int(np.abs(circuit.codebook).max())
        bits = largest.bit_length() + 1
        sizes[name] = (len(circuit.codebook), circuit.select_bits, bits)
        claim = f"coefficient_bits_{name.replace('-', '').lower()}"
        rows.append(reference.claim_value(FARAONE, claim, bits, erratum=errata.get(claim, "")))
    shorter = all(select < bits for _, select, bits in sizes.values())
    words = "; ".join(f"{n}: {s} bits for {b}" for n, (_, s, b) in sizes.items())
    name = "rccm_select_shorter_than_coefficient"
    rows.append(reference.claim(FARAONE, name, holds=shorter, ours=words, why="see ours"))
    bound = all(count <= 2**select for count, select, _ in sizes.values())
    words = "; ".join(f"{n}: {c} of {2**s}" for n, (c, s, _) in sizes.items())
    rows.append(
        reference.claim(FARAONE, "rccm_set_size_bound", holds=bound, ours=words, why="see ours")
    )
    return rows


def _size_claims(fabric: pd.DataFrame, kind: str, title: str) -> list[dict[str, object]]:
    """What Fig. 6.8 says of sizes, against one kind of generic multiplier."""
    rows = against_width(fabric)
    wide = rows.pivot(index="input_bits", columns="multiplier", values="lut")
    generic = wide[f"{BITS}-bit {kind}"]
    why = f"{OTHER}: {title}"
    found = []
    above = wide.index > 4
    if above.any():
        smaller = wide.loc[above, ["2-Add", "3-Add"]].lt(generic[above], axis=0)
        words = "; ".join(f"{name}: {_smaller_at(of)}" for name, of in smaller.items())
        name = "rccm_smaller_than_generic"
        holds = bool(smaller.all(axis=None))
        found.append(reference.claim(FARAONE, name, holds=holds, ours=words, why=why))
    above = wide.index > 9
    if above.any() and not above.all():
        smaller = wide["4-Add"].lt(generic)
        holds = bool(smaller[above].all() and not smaller[~above].any())
        words = f"4-Add: {_smaller_at(smaller)}"
        name = "rccm_4add_smaller_than_generic"
        found.append(reference.claim(FARAONE, name, holds=holds, ours=words, why=why))
    if QUOTED in wide.index:
        luts = _luts(fabric, QUOTED)
        for rccm_name, name in (("2-Add", "lut_saving_2add"), ("3-Add", "lut_saving_3add")):
            saved = _saving(luts, rccm_name, kind)
            found.append(reference.claim_value(FARAONE, name, saved, tolerance=ABOUT, why=why))
    if len(wide) > 1:
        share = wide[list(RCCMS)].rsub(generic, axis=0).div(generic, axis=0) * 100
        ends = share.iloc[[0, -1]]
        holds = bool((ends.iloc[1] > ends.iloc[0]).all())
        words = "; ".join(
            f"{name}: {of.iloc[0]:.0f} % at {ends.index[0]}, {of.iloc[1]:.0f} % at {ends.index[1]}"
            for name, of in ends.items()
        )
        name = "saving_grows_with_activation_bits"
        found.append(reference.claim(FARAONE, name, holds=holds, ours=words, why=why))
    return found


def _smaller_at(smaller: pd.Series) -> str:
    """At which widths something is smaller, in words."""
    widths = smaller.index[smaller]
    if len(widths) == len(smaller):
        return f"smaller at all of {', '.join(map(str, smaller.index))} bits"
    return f"smaller at {', '.join(map(str, widths))} bits" if len(widths) else "never smaller"
