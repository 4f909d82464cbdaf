"""Chapter 08: ours beside the thesis' tables, differences beside what seeds do, and its claims."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from qbench import reference

from .qkd import METHODS
from .qkd_perceptrons import STUDENT, TEACHER, TITLES, TUTOR
from .qkd_tables import VAILAKIS, accuracies, clear, noise
from .qkd_tables import published as published_in

TABLES = ("5_3", "5_4", "5_7", "5_8", "5_10", "5_11", "5_14")


def published() -> pd.DataFrame:
    """The thesis' test accuracies on MNIST, as `qkd_tables.published`."""
    return published_in(TABLES, TITLES)


#: What the thesis concludes from: first minus second, as (network, method, bits, α).
CONTRASTS = {
    "DNN-800 over DNN-1200": (("dnn800", "baseline", 32, -1), ("dnn1200", "baseline", 32, -1)),
    "DNN-300 distilled, α 0.1, over float32": (
        ("dnn300", "kd", 32, 0.1),
        ("dnn300", "baseline", 32, -1),
    ),
    "DNN-30 distilled, α 0.2, over float32": (
        ("dnn30", "kd", 32, 0.2),
        ("dnn30", "baseline", 32, -1),
    ),
    "student distilled over float32": ((STUDENT, "kd", 32, 0.7), (STUDENT, "baseline", 32, -1)),
    "student distilled over its teacher": (
        (STUDENT, "kd", 32, 0.7),
        (TEACHER, "baseline", 32, -1),
    ),
    "student, PTQ to 8 bits, over float32": (
        (STUDENT, "ptq", 8, -1),
        (STUDENT, "baseline", 32, -1),
    ),
    "student, PTQ to 4 bits, over float32": (
        (STUDENT, "ptq", 4, -1),
        (STUDENT, "baseline", 32, -1),
    ),
    "student at 8 bits, QAT over PTQ": ((STUDENT, "qat", 8, -1), (STUDENT, "ptq", 8, -1)),
    "student at 8 bits, SS+TS over QAT": ((STUDENT, "qat+kd", 8, -1), (STUDENT, "qat", 8, -1)),
    "student at 8 bits, QKD over SS+TS": ((STUDENT, "qkd", 8, -1), (STUDENT, "qat+kd", 8, -1)),
    "student at 8 bits, QKD over QAT": ((STUDENT, "qkd", 8, -1), (STUDENT, "qat", 8, -1)),
    "student at 8 bits, QKD over QAT as long": (
        (STUDENT, "qkd", 8, -1),
        (STUDENT, "long qat", 8, -1),
    ),
    "student at 8 bits, QKD over its float32 teacher": (
        (STUDENT, "qkd", 8, -1),
        (TEACHER, "baseline", 32, -1),
    ),
}


def claims(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The thesis' claims about MNIST as predicates on our means, a row each; see `contrasts`."""
    ours = accuracies(table).mean(axis=1)
    rows: list[dict[str, Any]] = []
    scale = f"ours: {dataset}, at the scale of this page"

    def has(*cells: tuple) -> bool:
        return all(cell in ours.index for cell in cells)

    def judge(name: str, holds: bool, words: str, why: str = "") -> None:
        rows.append(reference.claim(VAILAKIS, name, holds=holds, ours=words, why=why or scale))

    dnns = {
        n: ours[n, "baseline", 32, -1]
        for n in TITLES
        if n[:3] == "dnn" and has((n, "baseline", 32, -1))
    }
    if {"dnn800", "dnn1200"} <= dnns.keys():
        words = ", ".join(f"{TITLES[n]} {value:.2f} %" for n, value in dnns.items())
        judge("dnn_800_is_best_dnn", max(dnns, key=dnns.get) == TUTOR, words)
        judge("dnn_800_beats_dnn_1200", dnns["dnn800"] > dnns["dnn1200"], words)
    gains = _kd_gains(ours, dnns)
    if {"dnn30", "dnn300"} <= gains.keys():
        best = {n: by_alpha.max() for n, by_alpha in gains.items()}
        words = ", ".join(
            f"{TITLES[n]} {gain:+.2f} points at best (α {gains[n].idxmax():g})"
            for n, gain in best.items()
        )
        judge("kd_improves_both_dnn_students", min(best.values()) > 0, words)
        judge("kd_helps_small_networks_most", best["dnn30"] > best["dnn300"], words)
        judge("dnn_30_best_alpha", gains["dnn30"].idxmax() == 0.2, words)
    student, teacher = ours[STUDENT, "baseline", 32, -1], ours[TEACHER, "baseline", 32, -1]
    kd = [value for key, value in ours.items() if key[:3] == (STUDENT, "kd", 32)]
    if kd:
        words = f"student {student:.2f} %, distilled {kd[0]:.2f} %, teacher {teacher:.2f} %"
        judge("kd_gain_on_kl_mlp_is_small", 0 < kd[0] - student < 1, words)
        judge("kd_student_beats_kl_mlp_teacher", kd[0] > teacher, words)
    rows += _quantisation_claims(ours, student, teacher, scale)
    return pd.DataFrame(rows)


def _kd_gains(ours: pd.Series, dnns: Mapping[str, float]) -> dict[str, pd.Series]:
    """Points that distillation gains, by α, of each distilled DNN."""
    found: dict[str, dict[float, float]] = {}
    for (network, method, _, alpha), value in ours.items():
        if method == "kd" and network in dnns:
            found.setdefault(network, {})[alpha] = value - dnns[network]
    return {network: pd.Series(by_alpha) for network, by_alpha in found.items()}


def _quantisation_claims(
    ours: pd.Series, student: float, teacher: float, scale: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def judge(name: str, holds: bool, words: str) -> None:
        rows.append(reference.claim(VAILAKIS, name, holds=holds, ours=words, why=scale))

    losses = {
        bits: {
            n: ours[n, "baseline", 32, -1] - ours[n, "ptq", bits, -1]
            for n in TITLES
            if (n, "ptq", bits, -1) in ours.index
        }
        for bits in (8, 4, 2)
    }
    if losses[8] and losses[4]:
        words = f"lost at 8 bits {_range(losses[8])}, at 4 bits {_range(losses[4])} points"
        judge("ptq_4_bit_degrades_most", all(losses[4][n] > losses[8][n] for n in losses[8]), words)
    if losses[8]:
        small = max(abs(value) for value in losses[8].values()) < 0.5
        both = min(losses[8].values()) < 0 < max(losses[8].values())
        words = f"from {-max(losses[8].values()):+.2f} to {-min(losses[8].values()):+.2f} points"
        judge("ptq_8_bit_varies", small and both, words)
    if losses[2]:
        words = f"lost at 2 bits {_range(losses[2])} points"
        judge("ptq_can_lose_much_accuracy", max(losses[2].values()) > 5, words)
    for method, name in (("qat", "qat_and_qkd_minimise_loss"), ("qkd", "qkd_beats_qat")):
        bits = [
            b
            for b in (8, 4, 3, 2, 1)
            if (STUDENT, "qkd", b, -1) in ours.index and (STUDENT, "qat", b, -1) in ours.index
        ]
        if not bits:
            continue
        base = "ptq" if method == "qat" else "qat"
        shown = ("qat", "qkd") if method == "qat" else ("qkd",)
        gains = {
            b: min(ours[STUDENT, m, b, -1] - ours[STUDENT, base, b, -1] for m in shown)
            for b in bits
        }
        words = ", ".join(f"{b} bits {gain:+.2f}" for b, gain in gains.items())
        judge(name, min(gains.values()) > 0, f"over {METHODS[base]}: {words} points")
    if (STUDENT, "qkd", 8, -1) in ours.index:
        qkd = ours[STUDENT, "qkd", 8, -1]
        judge(
            "qkd_student_beats_kl_mlp_teacher",
            qkd > teacher,
            f"student {qkd:.2f} %, teacher {teacher:.2f} %",
        )
        gains = {
            b: ours[STUDENT, "qkd", b, -1] - ours[STUDENT, "qat+kd", b, -1]
            for b in (8, 4, 3, 2, 1)
            if (STUDENT, "qkd", b, -1) in ours.index and (STUDENT, "qat+kd", b, -1) in ours.index
        }
        words = ", ".join(f"{b} bits {gain:+.2f}" for b, gain in gains.items())
        judge("co_studying_contributes", min(gains.values()) > 0, f"QKD over SS+TS: {words} points")
    return rows


def _range(values: Mapping[str, float]) -> str:
    return f"{min(values.values()):.2f} to {max(values.values()):.2f}"


def lessons(table: pd.DataFrame) -> str:
    """What the student shows at each bit width, as a Markdown list."""
    ours = accuracies(table)
    spread = noise(table)
    float32 = ours.loc[(STUDENT, "baseline", 32, -1)].mean()
    lines = [f"* In float32 the student has {float32:.2f} %."]
    widths = [b for b in (8, 4, 3, 2, 1) if (STUDENT, "ptq", b, -1) in ours.index]
    for bits in widths:
        of = {
            method: ours.loc[(STUDENT, method, bits, -1)]
            for method in METHODS
            if (STUDENT, method, bits, -1) in ours.index
        }
        said = ", ".join(f"{METHODS[method]} {value.mean():.2f} %" for method, value in of.items())
        line = f"* **{bits} bit{'s' * (bits > 1)}**, ranges from running averages: {said}."
        if "qkd" in of and "long qat" in of:
            gain = of["qkd"] - of["long qat"]
            sure = clear(gain, spread)
            verdict = "seeds make that clear" if sure else "seeds cannot tell that from none"
            line += f" QKD over QAT of the same length: {gain.mean():+.2f} points; {verdict}."
        lines.append(line)
    return "\n".join(lines)
