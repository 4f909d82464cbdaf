"""A trained network as hardware: the classes that its Verilog gives beside those of PyTorch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from qbench import store
from qbench.hardware.synthesis import SynthesisError, check, lower
from qbench.hardware.synthesis.lower import check_folding
from qbench.hardware.synthesis.simulation import check_stalls
from qbench.hardware.synthesis.yosys import require


@store.method(version=1)
def trained_network(
    *,
    dataset: str = "mnist",
    weight_bits: int = 3,
    act_bits: int = 3,
    hidden: int = 64,
    epochs: int = 5,
    seed: int = 0,
    pe: int = 8,
    simd: int = 8,
    images: int = 200,
    stalls: Sequence[float] = (0.0, 0.25),
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train a QuantTFC, write it as Verilog and simulate that cycle by cycle on test images.

    The network is one member of a sweep, trained for `epochs`; `hardware.synthesis.lower` turns it
    into a pipeline of units with the largest divisors up to `pe` and `simd`. The first `images` of
    the test images go through it one behind the other, once for each probability in `stalls`. Every
    sum is compared with NumPy on the way. One row an image and probability: `stalls`, `image`,
    `label`, `pytorch` and `rtl` (classes), `cycle` (in which its last sums leave), and
    `slowest_layer` (cycles that the slowest layer takes for an image, which bounds the pace).

    Raises `SynthesisError` and `SweepError` for what cannot be trained or built, and
    `FloatingPointError` where training diverged.
    """
    import torch

    from qbench import data, sweep

    if not isinstance(images, int) or isinstance(images, bool) or images < 1:
        raise SynthesisError(f"images must be a whole number of at least 1, not {images!r}.")
    if not stalls:
        raise SynthesisError("stalls must name at least one probability, and names none.")
    for share in stalls:
        check_stalls(share)
    check_folding(pe, simd)
    require()
    member = sweep.Member(weight_bits, act_bits, seed)
    sweep.check([member], epochs=epochs, hidden=hidden, batch_size=100)  # before data are fetched
    parts = data.load(dataset, size=32, flatten=True)
    outcome = sweep.train(
        [member], parts, epochs=epochs, hidden=hidden, evaluate_at=[epochs], checkpoint=checkpoint
    )
    if member in outcome.diverged:
        raise FloatingPointError(outcome.diverged[member])
    model = sweep.to_brevitas(*outcome.network(member))
    network = lower(model, pe=pe, simd=simd)
    shown, labels = parts.test.images[:images], parts.test.labels[:images].numpy()
    with torch.no_grad():
        expected = model(shown).argmax(1).numpy()
    slowest = max(layer.unit.cycles for layer in network.layers)
    tables = []
    for share in stalls:
        run = check(network.layers, network.codes(shown.numpy()), stalls=share, seed=seed)
        columns = {"stalls": share, "image": np.arange(len(labels)), "label": labels}
        columns |= {"pytorch": expected, "rtl": network.classes(run.outputs)}
        columns |= {"cycle": run.cycles[:, -1], "slowest_layer": slowest}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Of `trained_network`: a row for each probability of stalls.

    Columns: `images`, `agree` (images with the class of PyTorch), `correct` (with that of the
    label), `cycles_an_image` (between the first image and the last), `slowest_layer`, and `latency`
    (cycles of the first image).
    """
    rows = []
    for stalls, part in table.groupby("stalls", sort=False):
        between = part["cycle"].iloc[-1] - part["cycle"].iloc[0]
        rows.append(
            {
                "stalls": stalls,
                "images": len(part),
                "agree": int((part["rtl"] == part["pytorch"]).sum()),
                "correct": int((part["rtl"] == part["label"]).sum()),
                "cycles_an_image": between / (len(part) - 1) if len(part) > 1 else float("nan"),
                "slowest_layer": int(part["slowest_layer"].iloc[0]),
                "latency": int(part["cycle"].iloc[0]) + 1,
            }
        )
    return pd.DataFrame(rows)
