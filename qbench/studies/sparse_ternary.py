"""Chapter 10: which trainings it asks for, and what they become as one table.

Faraone 2021, chapter 3: ternary perceptrons on MNIST with a threshold η, pruned at σ and retrained
(Table 3.1), the sparse one with L2 regularisation beside the dense ternary and the binary one
(Table 3.2), and the same for the VGG where it is asked for (Table 3.3, Figures 3.3 and 3.4).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from qbench import store, workers
from qbench.hardware.synthesis import decompressor
from qbench.parameters import SparseTernary
from qbench.sparsity import coding, runs, tables
from qbench.studies import words

UNIFORM = 1 / 3  # η that partitions [−1, 1] into three equal parts
#: What a network is on the page, in the order of Table 3.2.
ROLES = {
    "binary": "binary (η = 0)",
    "ternary": "dense ternary (η = 1/3)",
    "long ternary": "dense ternary, as long as the sparse one",
    "first": "ternary, before pruning",
    "pruned": "ternary, pruned and retrained",
    "l2": "with L2, before pruning",
    "iteration": "with L2, pruned once",
    "sparse": "sparse ternary (L2, pruned)",
}
#: Those whose weights are encoded.
ENCODED = ("binary", "ternary", "sparse")
#: lzma is left out, which takes seconds a million weights.
ENCODINGS = ("ternary", "binary", "RLE", "HC", "symbol_entropy", "iid_entropy",
             "zlib_2bit", "zstd_2bit")  # fmt: skip
#: η of the convolutions and of the fully connected layers in Figures 3.3 and 3.4. Which ones the
#: thesis draws cannot be read; it names 0, ⅓ and (0.8, 0.9). The last three are steps of one kind
#: of layer at a time, which tell how much of a high threshold each kind stands.
VGG_THRESHOLDS = ((0.0, 0.0), (UNIFORM, UNIFORM), (0.5, 0.5), (0.8, 0.8), (0.8, 0.9), (0.9, 0.9))
VGG_SPARSE = (0.8, 0.9)
HIDDEN = "fc2"  # Figure 3.2 does not say which layer
#: Decoders: bits of a codeword's difference and of the address of 1,024² weights.
DECODERS = tuple((bits, 20) for bits in (3, 4, 5, 6, 8))


@dataclass(frozen=True)
class Cell:
    """One entry of a table: a network, its part on the page, and its last phase's parameters."""

    role: str
    seed: int
    spec: dict[str, Any] = field(repr=False)


def cells(p: SparseTernary) -> list[Cell]:
    """All phases of the perceptron."""
    return [cell for seed in p.seeds for cell in _of_seed(p, seed)]


def vgg_cells(p: SparseTernary) -> list[Cell]:
    """All phases of the VGG; none where it is not asked for."""
    return [cell for seed in p.seeds for cell in _of_vgg(p, seed)] if p.vgg else []


def thresholds(p: SparseTernary) -> list[tuple[float, float]]:
    """(η, σ) of the cells of Table 3.1 that are asked for."""
    return [tuple(float(one) for one in pair.split("/")) for pair in p.pruned]


def table(p: SparseTernary, of: Sequence[Cell] | None = None) -> pd.DataFrame:
    """Train everything (None: `cells`), or look it up: `tables.best` with the column `role`."""
    of = cells(p) if of is None else of
    with warnings.catch_warnings():  # to prune what is not 0 is what σ > η is there for
        warnings.filterwarnings("ignore", ".*sigma is above eta", UserWarning)
        found = tables.best([cell.spec for cell in of], at_once=p.workers, title="ternary networks")
    return found.assign(role=[cell.role for cell in of])


def curves(p: SparseTernary) -> pd.DataFrame:
    """Figure 3.1: the epochs of the networks with η = ⅓ and with `p.eta`, both without L2."""
    wanted = [
        cell.spec
        for cell in cells(p)
        if cell.role == "ternary" or (cell.role == "first" and cell.spec["eta"] == p.eta)
    ]
    return tables.curves(wanted, at_once=p.workers)


def layers(p: SparseTernary, of: Sequence[Cell]) -> pd.DataFrame:
    """Figure 3.4: `tables.layers` of the networks that were neither pruned nor regularised."""
    plain = [one for one in of if one.role in ("binary", "ternary", "first")]
    return tables.layers([one.spec for one in plain], at_once=p.workers)


def histograms(p: SparseTernary, bins: int = 80) -> pd.DataFrame:
    """Figure 3.2: `tables.histogram` of `HIDDEN` before pruning, with and without L2.

    One row for each `training`, `seed` and bin; `share` is in % of the layer's weights.
    """
    parts = []
    for cell in cells(p):
        if cell.role == "l2" or (cell.role == "first" and cell.spec["eta"] == p.eta):
            found = store.run(tables.histogram, study=cell.spec, layer=HIDDEN, bins=bins)
            share = 100 * found["weights"] / found["weights"].sum()
            named = "with L2" if cell.role == "l2" else "without"
            parts.append(found.assign(share=share, training=named, seed=cell.seed))
    return pd.concat(parts, ignore_index=True)


def sizes(p: SparseTernary, of: Sequence[Cell]) -> pd.DataFrame:
    """What `ENCODED` networks take: a row for each `role`, `seed` and `encoding`, megabytes.

    A network that diverged is left out by `sparse_ternary_tables`, not here.
    """
    parts = []
    for cell in of:
        if cell.role in ENCODED:
            found = store.run(encoded, study=cell.spec, encodings=list(ENCODINGS))
            whole = found.groupby("encoding", sort=False)[["megabytes"]].sum().reset_index()
            parts.append(whole.assign(role=cell.role, seed=cell.seed))
    return pd.concat(parts, ignore_index=True)[["role", "seed", "encoding", "megabytes"]]


@store.method(version=1)
def encoded(*, study: runs.Spec, encodings: Sequence[str]) -> pd.DataFrame:
    """`coding.sizes` of the weights that a phase left, layer by layer; trains where they lack."""
    return coding.sizes(runs.ternary_of(study), encodings=encodings)


def decoders(p: SparseTernary) -> pd.DataFrame | None:
    """What decoders take of an FPGA, synthesised; None where they are not asked for."""
    if not p.decompressor:
        return None
    asked = [{"magnitude_bits": bits, "address_bits": addresses} for bits, addresses in DECODERS]
    found = workers.run_each(decompressor.synthesise_decompressor, asked, title="syntheses")
    return pd.concat(found, ignore_index=True)


def described(p: SparseTernary, *, seeds: bool = True) -> str:
    """The scale of the perceptron's trainings, for a caption; `seeds` says with how many."""
    text = _scale(f"3 × {p.width:,} neurons", p, p.images, p.dataset, p.epochs)
    return f"{text}, {_many(p)}" if seeds else text


def described_vgg(p: SparseTernary) -> str:
    """The scale of the VGG's trainings, for a caption."""
    channels = f"VGG of {p.vgg_channels:,} to {4 * p.vgg_channels:,} channels"
    text = _scale(channels, p, p.vgg_images, p.vgg_dataset, p.vgg_epochs)
    return f"{text}, {_many(p)}"


def scale(p: SparseTernary) -> str:
    """What this page is of, beside what the thesis is of, as Markdown."""
    vgg = f"The {described_vgg(p)}" if p.vgg else "The VGG was not trained"
    few = p.images is not None and p.images < 1000
    warning = (
        " So few digits only show what is measured: no number of a training below is a result. "
        "Counts, bounds of storage and the throughputs from printed zeros are as they stay."
    )
    return (
        f"**The scale of this page.** Perceptrons: {described(p)}. {vgg}. The thesis trained 1,000 "
        "epochs, perceptrons of 4,096 neurons with binary activations or 1,024 with ReLU, and "
        f"a VGG of 128 to 512 channels.{warning if few else ''}"
    )


def _scale(network: str, p: SparseTernary, images: int | None, dataset: str, epochs: int) -> str:
    pictures = "all images" if images is None else f"{images:,} images"
    activations = "binary" if p.act_bits == 1 else "float32"
    passes = "1 epoch" if epochs == 1 else f"{epochs:,} epochs"
    on = f"{pictures} of {words.dataset(dataset)}"
    return f"{network}, {activations} activations, {on}, {passes} a phase"


def _many(p: SparseTernary) -> str:
    return "one seed" if len(p.seeds) == 1 else f"{len(p.seeds)} seeds"


def _of_seed(p: SparseTernary, seed: int) -> Iterator[Cell]:
    same = {
        "dataset": p.dataset,
        "images": p.images,
        "width": p.width,
        "act_bits": p.act_bits,
        "epochs": p.epochs,
        "learning_rate": p.learning_rate,
        "seed": seed,
    }
    yield _cell("binary", same | {"eta": 0.0})
    yield _cell("ternary", same | {"eta": UNIFORM})
    if p.long:
        epochs = p.epochs * (1 + p.iterations)
        yield _cell("long ternary", same | {"eta": UNIFORM, "epochs": epochs})
    asked = thresholds(p)
    for eta in dict.fromkeys([*(eta for eta, _ in asked), p.eta]):
        yield _cell("first", same | {"eta": eta})
    for eta, sigma in asked:
        yield _cell("pruned", runs.algorithm(same | {"eta": eta}, sigma=sigma)[-1])
    yield from _sparse(same | {"eta": p.eta, "strength": p.strength}, p.iterations)


def _of_vgg(p: SparseTernary, seed: int) -> Iterator[Cell]:
    same = {
        "dataset": p.vgg_dataset,
        "images": p.vgg_images,
        "network": "vgg",
        "width": p.vgg_channels,
        "act_bits": p.act_bits,
        "epochs": p.vgg_epochs,
        "learning_rate": p.learning_rate,
        "seed": seed,
    }
    for pair in VGG_THRESHOLDS:
        role = {0.0: "binary", UNIFORM: "ternary"}.get(pair[0], "first")
        yield _cell(role, same | {"eta": list(pair)})
    if p.long:
        yield _cell("long ternary", same | {"eta": [UNIFORM] * 2, "epochs": 2 * p.vgg_epochs})
    yield from _sparse(same | {"eta": list(VGG_SPARSE), "strength": p.vgg_strength}, 1)


def _sparse(first: dict[str, Any], iterations: int) -> Iterator[Cell]:
    """Algorithm 1 with L2, phase by phase."""
    phases = runs.algorithm(first, iterations=iterations)
    yield _cell("l2", phases[0])
    for phase in phases[1:-1]:
        yield _cell("iteration", phase)
    yield _cell("sparse", phases[-1])


def _cell(role: str, spec: dict[str, Any]) -> Cell:
    spec = runs.complete(spec)
    return Cell(role, spec["seed"], spec)
