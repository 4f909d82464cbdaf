"""Chapter 09: the thesis' DenseNets beside ours, batch norms that fuse, and its claims."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from qbench import reference, runtimes
from qbench.data import specs
from qbench.models import convolutional, fusion
from qbench.models.convolutional import parameters
from qbench.parameters import DenseNetQkd

from .bit_width_sweep import chance
from .qkd import METHODS, NAMED
from .qkd_densenets import DISTILLED, MODIFIED, TITLES, described, title, trained
from .qkd_tables import KEYS, THESIS, VAILAKIS, accuracies, clear, noise, recommended
from .qkd_tables import published as published_in
from .verdicts import Judge, said
from .words import counted

TABLES = {"cifar10": ("5_5", "5_10", "5_12", "5_13", "5_15"), "cifar100": ("5_6", "5_10", "5_16")}
FORMS = {"cifar10": "table_6_1", "cifar100": "table_6_2"}
SIDE = 32  # pixels


def published(dataset: str) -> pd.DataFrame:
    """The thesis' test accuracies on a data set, as `qkd_tables.published`; both forms."""
    if dataset not in TABLES:
        return pd.DataFrame(columns=["where", *KEYS, "quantity", "value", "unit"])
    known = dataset.upper().replace("CIFAR", "CIFAR-")
    rows = published_in(TABLES[dataset], TITLES, dataset=known)
    forms = reference.load(VAILAKIS, FORMS[dataset])
    forms = forms[(forms["split"] == "test") & (forms["variant"] == "modified")]
    names = {name: key + MODIFIED for key, name in TITLES.items()}
    entry = forms.index.map((FORMS[dataset] + ":{}").format)
    forms = forms.assign(network=forms["network"].map(names), alpha=-1.0, entry=entry)
    return pd.concat([rows, forms[rows.columns]], ignore_index=True)


def forms(p: DenseNetQkd) -> pd.DataFrame:
    """Both forms of every network of the page: parameters, multiply-accumulates, batch norms.

    Columns: `network`, `parameters`, `MACs (millions)` for an image of 32×32 pixels, `batch norms`,
    `left after fusion` (those that no layer takes in) and `parameters fused`.
    """
    import torch

    rows = []
    for network in dict.fromkeys([p.student, p.teacher, *p.networks]):
        for name in (network, network + MODIFIED):
            model = convolutional.build(name, 10)
            fused = fusion.fuse(model, partly=True)
            rows.append(
                {
                    "network": title(name),
                    "parameters": parameters(model),
                    "MACs (millions)": runtimes.macs(model, torch.zeros(1, 3, SIDE, SIDE)) / 1e6,
                    "batch norms": len(fusion.batch_norms(model)),
                    "left after fusion": len(fusion.batch_norms(fused)),
                    "parameters fused": parameters(fused),
                }
            )
    return pd.DataFrame(rows)


#: The columns of `both_forms` that hold accuracies.
PERCENT = [f"{form}{more} (%)" for form in ("original", "modified") for more in ("", ", printed")]


def both_forms(table: pd.DataFrame) -> pd.DataFrame:
    """Test accuracies (%) of original and modified networks, ours and those of Table 6.1."""
    ours = accuracies(table).mean(axis=1)
    printed = reference.load(VAILAKIS, FORMS["cifar10"])
    printed = printed[printed["split"] == "test"].set_index(["network", "variant"])["value"]
    rows = []
    for network, name in TITLES.items():
        keys = [(network + form, "baseline", 32, -1.0) for form in ("", MODIFIED)]
        if not all(key in ours.index for key in keys):
            continue
        row: dict[str, Any] = {"network": name}
        for key, form in zip(keys, ("original", "modified"), strict=True):
            row[f"{form} (%)"] = ours[key]
            row[f"{form}, printed (%)"] = float(printed[name, form])
        rows.append(row)
    return pd.DataFrame(rows)


def distilled(table: pd.DataFrame) -> pd.DataFrame:
    """Table 5.9, distillation in float32: how, and the test accuracy (%), ours and printed."""
    ours = accuracies(table).mean(axis=1).groupby("method").first()
    printed = reference.load(VAILAKIS, "table_5_9")
    printed = printed[printed["split"] == "test"]
    rows = []
    for number, (temperature, alpha, drops) in enumerate(DISTILLED):
        steps = ";".join(map(str, drops))
        same = (printed["temperature"] == temperature) & (printed["alpha"] == alpha)
        theirs = printed[same & (printed["lr_steps"] == steps)]["value"]
        rows.append(
            {
                "rate falls at epochs (× share)": steps.replace(";", ", "),
                "T": temperature,
                "a": alpha,
                "published (%)": float(theirs.iloc[0]),
                "ours (%)": ours[f"kd {number}"],
            }
        )
    return pd.DataFrame(rows)


def float32(table: pd.DataFrame, p: DenseNetQkd) -> dict[str, float]:
    """Mean test errors (%) of student and teacher in float32, as levels of a figure."""
    rows = table[table["method"] == "baseline"].groupby("network")["test_error"].mean()
    levels = {"float32 student": rows[p.student], "float32 teacher": rows[p.teacher]}
    return levels if p.student != p.teacher else {"float32": rows[p.student]}


def contrasts(p: DenseNetQkd) -> dict[str, tuple]:
    """What the thesis concludes from, as `qkd_tables.contrasts` takes it."""
    student = p.student
    float32 = (student, "baseline", 32, -1.0)
    asked: dict[str, tuple] = {}
    for network in p.networks:
        key = (network, "baseline", 32, -1.0)
        asked[f"{TITLES[network]}, modified over original"] = (
            (network + MODIFIED, "baseline", 32, -1.0),
            key,
        )
    for bits, _ in trained(p):
        of = {method: (student, method, bits, -1.0) for method in METHODS}
        asked |= {
            f"{bits} bits, PTQ over float32": (of["ptq"], float32),
            f"{bits} bits, QAT over PTQ": (of["qat"], of["ptq"]),
            f"{bits} bits, SS+TS over QAT": (of["qat+kd"], of["qat"]),
            f"{bits} bits, QKD over SS+TS": (of["qkd"], of["qat+kd"]),
            f"{bits} bits, QKD over QAT": (of["qkd"], of["qat"]),
            f"{bits} bits, QKD over QAT as long": (of["qkd"], of["long qat"]),
        }
    return asked


def as_trained(table: pd.DataFrame, p: DenseNetQkd) -> pd.DataFrame:
    """The table with each bit width in the ranges that it was trained with, as if the thesis'.

    Of a width that was trained with several ranges the thesis' are kept, else those named first.
    """
    asked = trained(p)
    chosen = dict(reversed(asked)) | {bits: ranges for bits, ranges in asked if ranges == THESIS}
    pairs = zip(table["weight_bits"], table["quantiser"], strict=True)
    keep = [bits == 32 or chosen.get(bits) == quantiser for bits, quantiser in pairs]
    rows = table[keep]
    return rows.assign(quantiser=rows["quantiser"].where(rows["quantiser"] == "", THESIS))


def claims(table: pd.DataFrame, p: DenseNetQkd) -> pd.DataFrame:
    """The thesis' claims about DenseNets as predicates on our means, a row each; see `Judge`."""
    judge = Judge(as_trained(table, p), f"ours: {described(p)}")
    of = {
        (method, bits): judge.ours.loc[key]
        for method in METHODS
        for bits in (32, *(bits for bits, _ in trained(p)))
        if judge.has(key := (p.student, method, bits, -1.0))
    }
    _training_claims(judge, of)
    _form_claims(judge, p)
    return judge.judged()


def _training_claims(judge: Judge, of: Mapping[tuple[str, int], pd.Series]) -> None:
    """What each training does to the student; `of` has its accuracies by (method, bits)."""
    float32 = of["baseline", 32]
    widths = [bits for method, bits in of if method == "qkd"]

    def gains(first: str, second: str) -> dict[int, pd.Series]:
        both = [b for b in widths if (first, b) in of and (second, b) in of]
        return {b: of[first, b] - of[second, b] for b in both}

    over_ptq = gains("qat", "ptq")
    if {4, 8} <= over_ptq.keys():
        words = said(over_ptq, "QAT over PTQ")
        judge.say("qat_8_bit_improves_every_densenet", judge.every([over_ptq[8]]), words)
        more = judge.every([over_ptq[4] - over_ptq[8]])
        judge.say("qat_matters_more_at_4_bit", more, words)
    if 8 in widths:
        words = f"float32 {float32.mean():.2f} %, at 8 bits QAT {of['qat', 8].mean():.2f} %"
        over = judge.every([of["qat", 8] - float32])
        judge.say("qat_8_bit_mostly_beats_float", over, words)
        below = judge.every([float32 - of["qat", 8]])
        judge.say("qat_alone_not_sufficient_on_cifar10", below, words)
        both = {m: of[m, 8] for m in ("qat+kd", "qkd")}
        words = f"float32 {float32.mean():.2f} %, " + ", ".join(
            f"{METHODS[m]} {value.mean():.2f} %" for m, value in both.items()
        )
        over = judge.every([value - float32 for value in both.values()])
        judge.say("ss_ts_and_qkd_beat_baseline_on_cifar10", over, words)
    if not widths:
        return
    rivals = [gains("qkd", method) for method in METHODS if method != "qkd"]
    best = judge.every([gain for by_bits in rivals for gain in by_bits.values()])
    first = {b: max((v.mean(), m) for (m, bits), v in of.items() if bits == b) for b in widths}
    most = ", ".join(f"{METHODS[method]} at {b} bits" for b, (_, method) in first.items())
    words = f"best by test accuracy: {most}"
    judge.say("qkd_is_best_on_cifar10", best, words)
    for name, other in (("qkd_always_beats_qat_on_cifar10", "qat"),
                        ("co_studying_contributes", "qat+kd")):  # fmt: skip
        over = gains("qkd", other)
        judge.say(name, judge.every(over.values()), said(over, f"QKD over {METHODS[other]}"))


def _form_claims(judge: Judge, p: DenseNetQkd) -> None:
    """Section 6.1: what fusion does, and what the modified form costs."""
    found = forms(p)
    modified = found["network"].str.endswith("modified")
    smaller = (found["parameters fused"] < found["parameters"])[modified]
    left = found["left after fusion"][~modified]
    norms = found["batch norms"][~modified]
    words = ", ".join(
        f"{row.network}: {row.parameters:,} to {row._6:,}"
        for row in found[modified].rename(columns={"parameters fused": "_6"}).itertuples()
    )
    judge.fact(
        "batch_norm_fusion_shrinks_model",
        bool(smaller.all()),
        f"parameters of the modified form: {words}",
    )
    judge.fact(
        "preactivation_prevents_fusion",
        bool((left == norms).all()),
        f"of the original's batch norms {int(norms.sum() - left.sum())} of {int(norms.sum())} can "
        "be fused, the second of each layer",
        why="the second batch norm of a layer follows its 1×1 convolution directly; the first "
        "follows a concatenation and cannot be fused",
    )
    keys = {n: [(n + form, "baseline", 32, -1.0) for form in (MODIFIED, "")] for n in TITLES}
    gaps = {TITLES[n]: judge.gain(*both) for n, both in keys.items() if judge.has(*both)}
    if gaps:
        words = ", ".join(f"{name} {gap.mean():+z.2f}" for name, gap in gaps.items())
        comparable = judge.every([gap + 1 for gap in gaps.values()])
        words = f"modified minus original: {words} points"
        judge.say("modified_densenet_is_comparable", comparable, words)


def lessons(table: pd.DataFrame, p: DenseNetQkd) -> str:
    """What rounding costs at each bit width and what each training wins back, as Markdown."""
    float32 = accuracies(table).loc[(p.student, "baseline", 32, -1.0)]
    lines = [f"* In float32 the student has {float32.mean():.2f} %."]
    for bits, quantiser in trained(p):
        rows = table[(table["weight_bits"] == bits) & (table["quantiser"] == quantiser)]
        ours = accuracies(rows, quantiser)
        keys = {method: (p.student, method, bits, -1.0) for method in METHODS}
        of = {method: ours.loc[key] for method, key in keys.items() if key in ours.index}
        head = f"* **{counted(bits, 'bit')}, {NAMED[quantiser]}.**"
        if not {"ptq", "qat"} <= of.keys():
            lines.append(f"{head} PTQ or QAT diverged, and nothing can be said of what it wins.")
            continue
        lost, won = float32 - of["ptq"], of["qat"] - of["ptq"]
        text = (
            f"{head} PTQ has {of['ptq'].mean():.2f} %, {-lost.mean():+z.2f} points beside float32; "
            f"QAT {of['qat'].mean():.2f} %, {won.mean():+z.2f} beside PTQ."
        )
        lines.append(f"{text} {_best(rows, p, of, noise(table))}")
    lines.append(_doubt(p, float32))
    return "\n".join(lines)


def _best(rows: pd.DataFrame, p: DenseNetQkd, of: Mapping[str, pd.Series], spread: float) -> str:
    """The best training of one bit width, and its lead over the QAT that is as long, if any."""
    name = recommended(rows, p.student)["best"].iloc[0]
    best = next(method for method in of if METHODS[method] == name)
    text = f"Best by validation error is {name} with {of[best].mean():.2f} %"
    if best in ("ptq", "qat", "long qat"):
        lost = any(values.isna().any() for values in of.values())
        whole = " of those that no seed made diverge" if lost else ""
        return f"{text}: no training with a teacher has a lower one{whole}."
    rival = "long qat" if "long qat" in of else "qat"
    lead = of[best] - of[rival]
    text += f", {lead.mean():+z.2f} points beside {METHODS[rival]}"
    if rival == "qat":
        text += ", which had fewer epochs: how much of that is the teacher's, this page cannot tell"
    elif len(lead) > 1:
        sure = "seeds make that clear" if clear(lead, spread) else "seeds cannot tell it from none"
        text += f"; {sure}"
    return f"{text}."


def _doubt(p: DenseNetQkd, float32: pd.Series) -> str:
    """What these numbers leave open: with one seed, what counting errors does, and more."""
    images = specs.find(p.dataset).split["test"]
    counted = chance(100 - float(float32.mean()), images)
    text = (
        f"* **What is left open.** Of {images:,} test images, two equally good networks differ by "
        f"up to {counted:.2f} points by chance"
    )
    if (seeds := float32.notna().sum()) > 1:
        return f"{text}; means of {seeds} seeds by less."
    return f"{text}, and another seed may move a training by more: there is one here."
