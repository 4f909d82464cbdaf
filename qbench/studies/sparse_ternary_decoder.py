"""Chapter 10: the decoder's RTL on the weights of the page's own network."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qbench import reference, store
from qbench.hardware.synthesis import Decompressor, decompress, simulation
from qbench.parameters import SparseTernary
from qbench.sparsity import coding, runs

from .sparse_ternary import cells
from .sparse_ternary_bounds import FARAONE

LAST = "fc4"
WIDTHS = range(1, 11)  # bits of a codeword's difference that are tried


def reproduced(p: SparseTernary) -> pd.DataFrame | None:
    """`decompressed` of the sparse network of the first seed; None where it is not asked for.

    Only its last layer without a C++ compiler, as the other simulator takes hours for the rest.
    """
    if not p.decompressor:
        return None
    spec = next(cell.spec for cell in cells(p) if cell.role == "sparse")
    last = None if simulation.compiler() else [LAST]
    return store.run(decompressed, study=spec, layers=last)


@store.method(version=1)
def decompressed(*, study: runs.Spec, layers: Sequence[str] | None = None) -> pd.DataFrame:
    """Simulate one decoder on the run-length codes of layers (None: all) that a phase left.

    The decoder's width is the one with which they take fewest bits together. One row a layer:
    `layer`, `weights`, `nonzeros`, `magnitude_bits`, `codewords`, `cycles` until the last weight is
    out, and `wrong`, weights that are not what was encoded. Trains where weights lack; raises
    `SynthesisError` without Yosys.
    """
    every = runs.ternary_of(study)
    chosen = {name: every[name] for name in (every if layers is None else layers)}
    streams = {
        width: {name: coding.run_length(one, width) for name, one in chosen.items()}
        for width in WIDTHS
    }
    width = min(streams, key=lambda bits: sum(one.payload_bits for one in streams[bits].values()))
    most = max(one.size for one in chosen.values())
    unit = Decompressor(width, max(width, (most - 1).bit_length()))
    rows = []
    for name, stream in streams[width].items():
        weights, codewords = chosen[name], stream.words()
        found = decompress(unit, codewords)
        decoded = np.zeros(2**unit.address_bits, np.int8)
        decoded[found.addresses] = 1 - 2 * found.negative.astype(np.int8)
        wrong = np.count_nonzero(decoded[: weights.size] != weights.ravel())
        wrong += np.count_nonzero(decoded[weights.size :])
        rows.append(
            {
                "layer": name,
                "weights": weights.size,
                "nonzeros": stream.nonzeros,
                "magnitude_bits": width,
                "codewords": len(codewords),
                "cycles": int(found.cycles[-1]),
                "wrong": int(wrong),
            }
        )
    return pd.DataFrame(rows)


def said(found: pd.DataFrame | None) -> str:
    """What came of `reproduced`, as Markdown."""
    if found is None:
        return "Not simulated on this page: see that test, or `-p decompressor true`."
    wrong, weights = found["wrong"].sum(), found["weights"].sum()
    layers = ", ".join(found["layer"])
    skipped = 100 * (1 - found["nonzeros"].sum() / found["codewords"].sum())
    what = "all are reproduced" if wrong == 0 else f"**{wrong:,} are not reproduced**"
    return (
        f"Of {weights:,} weights in {layers}, {what}. {skipped:.1f} % of the codewords carry no "
        "weight, which the cost model does not count."
    )


def beside_decoder(decoders: pd.DataFrame) -> pd.DataFrame:
    """LUTs of each width beside the thesis' 112: `magnitude_bits` to `carry4`, then the verdict."""
    rows = reference.load(FARAONE, "figure_3_5").set_index("quantity", drop=False)
    of = rows.loc["decoder_lut"]
    printed = of["value"]
    found = decoders[["magnitude_bits", "address_bits", "lut", "ff", "carry4"]]
    verdicts = [reference.verdict(printed, lut, of=of) for lut in found["lut"]]
    return found.assign(published=int(printed), verdict=verdicts)
