"""Chapter 11: what needs no training: gradients by hand, Table 5.6 of real layers, Table 5.7."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch

from qbench import reference, workers
from qbench.hardware import scaling
from qbench.hardware.synthesis import synthesise_scaled
from qbench.quantizers.syq import Symmetric

FARAONE = "faraone2021"
#: Layers that the thesis' networks have: kernel, inputs, outputs, pixels along the output.
LAYERS = {
    "AlexNet, last convolution": (3, 384, 256, 13),
    "ResNet-18, 3×3 of stage 1": (3, 64, 64, 56),
    "ResNet-50, 1×1 of stage 1": (1, 256, 64, 56),
}
METHODS = {  # of `scaling.GRANULARITIES`, with Table 5.6's name of the method
    "layer": "DoReFa",
    "row": "SYQ by row",
    "pixel": "SYQ by pixel",
    "asymmetric": "TTQ",
    "grouping": "FGQ",
    "channel": "HWGQ, BWN",
}
QUANTITIES = {  # of Table 5.7, as the page says them
    "bram": "block RAMs (18 Kb)",
    "lut": "LUTs",
    "lut (%)": "LUTs (%)",
    "dsp": "DSP blocks",
    "ff": "flip-flops",
}
MAPS = {"inputs": 384, "outputs": 256, "kernel": 3}  # of Table 5.7, section 5.7.2
GROUPS = {"layer": 1, "row": MAPS["kernel"], "pixel": MAPS["kernel"] ** 2}
BLOCKS = ((1024, 16), (512, 32))  # words and bits of 18 Kb without the parity bits
ROW_SAME = 2.0  # % of LUTs between row- and pixel-wise, section 5.7.2


def steps(count: int = 100, rate: float = 0.1) -> pd.DataFrame:
    """The gradient of a scale in an example that can be done by hand, and where it leads.

    E = Σ (α·q − t)²/2 for codes q = (1, −1) and targets t = (2, −2): best at α = 2. Rows: the
    difference quotient, SYQ with the chain rule, and with eq. 5.10 as printed. Columns: dE/dα at
    α = 1, and α and E after `count` steps of gradient descent.
    """
    weight = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    target = torch.tensor([[2.0, -2.0]], dtype=torch.float64)

    def error(made: torch.Tensor) -> torch.Tensor:
        return ((made - target) ** 2).sum() / 2

    h = 1e-6
    up, down = (float(error((1 + d) * weight)) for d in (h, -h))
    rows = [{"gradient": "difference quotient", "dE/dα": (up - down) / (2 * h)}]
    for kind, title in (("chain", "chain rule"), ("printed", "eq. 5.10 as printed")):
        scaled = Symmetric(weight, "layer", eta=0.0, scale_gradient=kind)
        first = None
        for _ in range(count):
            scaled.scale.grad = None
            error(scaled(weight)).backward()
            first = float(scaled.scale.grad) if first is None else first
            with torch.no_grad():
                scaled.scale -= rate * scaled.scale.grad
        rows.append(
            {"gradient": title, "dE/dα": first, "α": float(scaled.scale.detach())}
            | {"E": float(error(scaled(weight)).detach())}
        )
    return pd.DataFrame(rows)


def operations(names: Iterable[str] = LAYERS) -> pd.DataFrame:
    """Table 5.6 for real layers: the printed formula's number beside that of our cost model.

    A row for each layer, method and quantity: `layer`, `method`, `quantity`, `formula`,
    `published`, `ours`, `verdict`.
    """
    printed = reference.load(FARAONE, "table_5_6").set_index(
        ["granularity", "quantity"], drop=False
    )
    rows = []
    for name in names:
        kernel, inputs, outputs, size = LAYERS[name]
        weights = kernel**2 * inputs * outputs
        values = {"K": kernel, "N": outputs, "Z": weights, "P": weights * size**2}
        for granularity, method in METHODS.items():
            found = scaling.cost(granularity, kernel, inputs, outputs, size)
            ours = {"scaling_factors": found.scalars, "operations": found.operations}
            for quantity, value in ours.items():
                of = printed.loc[(granularity, quantity)]
                formula = str(of["value"])
                theirs = float(pd.eval(formula.replace("^", "**"), local_dict=values))
                rows.append(
                    {"layer": name, "method": method, "quantity": quantity.replace("_", " ")}
                    | {"formula": formula.replace("^2", "²").replace("*", "")}
                    | {"published": theirs, "ours": float(value)}
                    | {"verdict": reference.verdict(theirs, float(value), of=of)}
                )
    return pd.DataFrame(rows)


def by_layer(counts: pd.DataFrame) -> pd.DataFrame:
    """`operations` with a row for each layer and method, and the operations in millions."""
    rows = []
    for (layer, method), part in counts.groupby(["layer", "method"], sort=False):
        scalars, works = (
            part.set_index("quantity").loc[name] for name in ("scaling factors", "operations")
        )
        alike = scalars["verdict"] == works["verdict"]
        rows.append(
            {"layer": layer, "method": method, "scalars": scalars["formula"]}
            | {"printed": scalars["published"], "ours": scalars["ours"]}
            | {"operations": works["formula"], "printed (millions)": works["published"] / 1e6}
            | {"ours (millions)": works["ours"] / 1e6}
            | {"verdict": works["verdict"] if alike else "differs"}
        )
    return pd.DataFrame(rows)


def dot_products() -> pd.DataFrame:
    """Section 5.7.2 for one output of each layer: what pixel-wise scaling adds to a dot product.

    Columns: `layer`, `length` L, `scales` K², `additions` without and with them, and `more`, the
    multiplications added (% of L).
    """
    rows = []
    for name, (kernel, inputs, outputs, size) in LAYERS.items():
        plain, pixel = (
            scaling.cost(kind, kernel, inputs, outputs, size) for kind in ("layer", "pixel")
        )
        dots = outputs * size**2
        more = (pixel.multiplications - pixel.low_precision) / dots
        rows.append(
            {
                "layer": name,
                "length": plain.low_precision // dots,
                "scales": kernel**2,
                "additions": plain.additions // dots,
                "scaled": pixel.additions // dots,
                "more (%)": 100 * more / (plain.low_precision / dots),
            }
        )
    return pd.DataFrame(rows)


def weight_blocks(simd: int, pe: int, weight_bits: int) -> int:
    """Block RAMs of 18 Kb for the weights of Table 5.7's layer, parity bits unused."""
    width = simd * pe * weight_bits
    depth = MAPS["kernel"] ** 2 * MAPS["inputs"] * MAPS["outputs"] // (simd * pe)
    return min(-(-width // bits) * -(-depth // words) for words, bits in BLOCKS)


def memories() -> pd.DataFrame:
    """Table 5.7's block RAMs beside what 1 and 2 bits a weight need: whose weights it has."""
    rows = units()
    rows = rows[(rows["quantity"] == "bram") & rows["simd"].notna()]
    found = rows[["granularity", "simd", "pe", "value"]].rename(columns={"value": "published"})
    for bits, name in ((1, "binary"), (2, "ternary")):
        found[name] = [weight_blocks(int(s), int(p), bits) for s, p in found[["simd", "pe"]].values]
    return found.drop_duplicates(["simd", "pe"]).drop(columns="granularity")


def units() -> pd.DataFrame:
    """Table 5.7; LUTs as a number, not in thousands."""
    rows = reference.load(FARAONE, "table_5_7")
    thousands = rows["quantity"] == "lut"
    rows.loc[thousands, "value"] *= 1000
    return rows.assign(unit="1")


def asked(sizes: Sequence[str]) -> list[dict[str, int]]:
    """The parameters of `synthesise_scaled` for sizes of Table 5.7 such as "32/32" (SIMD and PE).

    Layer- and pixel-wise at every size; row-wise at the first, as the thesis says only how little
    it differs.
    """
    layer = {"mw": MAPS["kernel"] ** 2 * MAPS["inputs"], "mh": MAPS["outputs"]}
    found = []
    for place, size in enumerate(sizes):
        simd, pe = map(int, size.split("/"))
        kinds = [kind for kind in GROUPS if kind != "row" or not place]
        found += [layer | {"simd": simd, "pe": pe, "groups": GROUPS[kind]} for kind in kinds]
    return found


def synthesised(sizes: Sequence[str]) -> pd.DataFrame:
    """Our units of `asked`, a row each as `synthesise_scaled` gives, with `granularity`."""
    kinds = {groups: kind for kind, groups in GROUPS.items()}
    found = workers.run_each(synthesise_scaled, asked(sizes), title="syntheses")
    whole = pd.concat(found, ignore_index=True)
    return whole.assign(granularity=whole["groups"].map(kinds))


def resources(found: pd.DataFrame) -> pd.DataFrame:
    """Ours beside Table 5.7: `granularity`, `simd`, `pe`, `quantity`, both, `verdict`."""
    keys = ["granularity", "simd", "pe", "quantity"]
    ours = found.rename(columns={"bram18": "bram"})
    ours = ours.melt(keys[:3], ["bram", "lut", "dsp"], "quantity", "value")
    both = reference.compare(units().dropna(subset=["simd", "value"]), ours, on=keys)
    return both[[*keys, "published", "ours", "verdict"]]


def added(found: pd.DataFrame) -> pd.DataFrame:
    """What scaling adds to the layer-wise unit of the same size, printed and ours.

    Columns: `granularity`, `simd`, `pe`, `quantity` (bram, dsp and ff: a number more; lut: % more),
    `published` (NaN where Table 5.7 has none) and `ours`.
    """
    ours = found.rename(columns={"bram18": "bram"}).set_index(["granularity", "simd", "pe"])
    printed = units().dropna(subset=["simd", "value"])
    printed = printed.pivot_table(
        index=["granularity", "simd", "pe"], columns="quantity", values="value"
    )
    rows = []
    for key in ours.index:
        plain = ("layer", *key[1:])
        if key == plain:
            continue
        for quantity in ("bram", "lut", "dsp", "ff"):
            mine = _more(ours[quantity], key, plain, quantity)
            known = quantity in printed and key in printed.index
            theirs = _more(printed[quantity], key, plain, quantity) if known else np.nan
            row = dict(zip(("granularity", "simd", "pe"), key, strict=True))
            row |= {"quantity": f"{quantity} (%)" if quantity == "lut" else quantity}
            rows.append(row | {"published": theirs, "ours": mine})
    return pd.DataFrame(rows)


def judged(more: pd.DataFrame) -> pd.DataFrame:
    """The rows of `added` that Table 5.7 has, with `verdict`; LUTs agree within `same`."""
    rows = more[more["published"].notna()]
    bound = same()
    why = f"the thesis calls units that differ by up to {bound:.2f} % almost identical"
    said = [
        reference.verdict(row.published, row.ours, tolerance=bound * percent, why=why * percent)
        for row in rows.itertuples()
        for percent in [row.quantity == "lut (%)"]
    ]
    return rows.assign(verdict=said)


def same() -> float:
    """By how much (% of LUTs) the thesis' own units, which it calls almost identical, differ."""
    luts = units().dropna(subset=["simd"])
    luts = luts[luts["quantity"] == "lut"].set_index(["granularity", "simd", "pe"])["value"]
    return float((100 * (luts["pixel"] / luts["layer"] - 1)).abs().max())


def unit_claims(found: pd.DataFrame) -> pd.DataFrame:
    """What section 5.7 claims of costs, of Table 5.6's layers and of our units; no training.

    found: of `synthesised`. Rows as `syq_claims.claims` has them, without seeds.
    """
    rows = []

    def say(name: str, holds: bool | None, words: str, why: str = "") -> None:
        rows.append(reference.claim(FARAONE, name, holds=holds, ours=words, why=why))

    dots = dot_products()
    words = ", ".join(f"{one.additions:,} and {one.scaled:,}" for one in dots.itertuples())
    say(
        "additions_unchanged",
        bool((dots["additions"] == dots["scaled"]).all()),
        f"additions a dot product, layer- and pixel-wise: {words}",
        "our count",
    )
    costs = operations()
    costs = costs.pivot(index=["layer", "method"], columns="quantity", values="ours")
    better = [
        costs.loc[(layer, "SYQ by pixel"), quantity] < costs.loc[(layer, other), quantity]
        for layer in LAYERS
        for other, quantity in (
            ("TTQ", "operations"),
            ("FGQ", "scaling factors"),
            ("HWGQ, BWN", "scaling factors"),
        )
    ]
    words = "fewer operations than TTQ, fewer factors than FGQ, HWGQ and BWN"
    say(
        "syq_better_than_all_fine_grained",
        all(better),
        f"{words}: {sum(better)} of {len(better)} comparisons on {len(LAYERS)} layers",
        "our count",
    )
    more = added(found)
    value = more.set_index(["granularity", "simd", "pe", "quantity"])["ours"]
    pixel = value["pixel"].unstack("quantity")
    luts, blocks = pixel["lut (%)"], pixel["bram"]
    say(
        "syq_bram_lut_identical",
        bool((luts.abs() <= same()).all() and (blocks == 0).all()),
        f"LUTs {spanned(luts)} %, block RAMs {blocks.min():+g} to {blocks.max():+g}",
        "a DSP block adds up the groups, and the accumulators of LUTs hold one group's sum only",
    )
    parallel = pixel.index.get_level_values("pe")
    say(
        "syq_dsp_proportional",
        bool((pixel["dsp"] == parallel).all()),
        ", ".join(f"{dsp:g} for {pe} rows" for (_, pe), dsp in pixel["dsp"].items()),
        "Yosys made another choice",
    )
    if "row" in value.index:
        of = found.set_index(["granularity", "simd", "pe"])["lut"]
        apart = [100 * abs(of[("row", *key)] / of[("pixel", *key)] - 1) for key in of["row"].index]
        said = f"{max(apart):.2f} % apart"
        say("row_lut_difference", max(apart) < ROW_SAME, said, "our ring has K scales only")
    say(
        "syq_hardware_one_counter",
        False,
        f"a ring, and {spanned(pixel['dsp'])} DSP blocks that multiply and add",
        "true beside a unit that has multipliers; that of Table 5.7 has none, as a scale for all "
        "goes into the thresholds",
    )
    say("syq_frequency", None, "", "place and route for the device; Yosys estimates no clock")
    return pd.DataFrame(rows, columns=["where", "claim", "ours", "verdict", "why"])


def spanned(values: pd.Series) -> str:
    """The least and the greatest change, in words."""
    low, high = values.min(), values.max()
    return f"{low:+z.3g}" if low == high else f"{low:+z.3g} to {high:+z.3g}"


def _more(values: pd.Series, key: tuple, plain: tuple, quantity: str) -> float:
    first, second = float(values[key]), float(values[plain])
    return 100 * (first / second - 1) if quantity == "lut" else first - second
