"""Chapter 08: ours beside the thesis' tables, differences beside what seeds do, and its claims."""

from collections.abc import Mapping

import pandas as pd

from .qkd import METHODS, NAMED, QUANTISED
from .qkd_perceptrons import STUDENT, TEACHER, TITLES, TUTOR
from .qkd_tables import accuracies, clear, noise, ptq_noise, recommended
from .qkd_tables import published as published_in
from .verdicts import Judge, said
from .words import counted, together

WIDTHS = (8, 4, 3, 2, 1)
GUESSING = 11.5  # %: the most frequent digit alone is 11.35 % of MNIST's test images
TABLES = ("5_3", "5_4", "5_7", "5_8", "5_10", "5_11", "5_14")


def published() -> pd.DataFrame:
    """The thesis' test accuracies on MNIST, as `qkd_tables.published`."""
    return published_in(TABLES, TITLES)


#: What the thesis concludes from: first minus second, as (network, method, bits, a).
CONTRASTS = {
    "DNN-800 over DNN-1200": (("dnn800", "baseline", 32, -1), ("dnn1200", "baseline", 32, -1)),
    "DNN-300 distilled, a = 0.1, over float32": (
        ("dnn300", "kd", 32, 0.1),
        ("dnn300", "baseline", 32, -1),
    ),
    "DNN-30 distilled, a = 0.2, over float32": (
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


def claims(table: pd.DataFrame, scale: str) -> pd.DataFrame:
    """The thesis' claims about MNIST as predicates on our means, a row each; see `Judge`.

    By the thesis' own ranges, running averages; `scale` says how ours were trained.
    """
    judge = Judge(table, f"ours: {scale}")
    _float32_claims(judge)
    _quantisation_claims(judge)
    return judge.judged()


def _float32_claims(judge: Judge) -> None:
    dnns = {
        n: judge.ours.loc[key]
        for n in TITLES
        if n[:3] == "dnn" and judge.has(key := (n, "baseline", 32, -1))
    }
    if {"dnn800", "dnn1200"} <= dnns.keys():
        words = ", ".join(f"{TITLES[n]} {value.mean():.2f} %" for n, value in dnns.items())
        judge.say("dnn_800_is_best_dnn", judge.best(dnns, TUTOR), words)
        over = dnns["dnn800"] - dnns["dnn1200"]
        judge.say("dnn_800_beats_dnn_1200", judge.every([over]), words)
    gains = _kd_gains(judge.ours, dnns)
    if {"dnn30", "dnn300"} <= gains.keys():
        best = {n: max(by_alpha, key=lambda a: by_alpha[a].mean()) for n, by_alpha in gains.items()}
        most = {n: gains[n][alpha] for n, alpha in best.items()}
        words = ", ".join(
            f"{TITLES[n]} {gain.mean():+z.2f} points at best (a = {best[n]:g})"
            for n, gain in most.items()
        )
        judge.say("kd_improves_both_dnn_students", judge.every(most.values()), words)
        smaller_gains_more = judge.every(
            [most["dnn30"] - most["dnn300"]], spread=2**0.5 * judge.spread
        )
        judge.say("kd_helps_small_networks_most", smaller_gains_more, words)
        if 0.2 in gains["dnn30"]:
            judge.say("dnn_30_best_alpha", judge.best(gains["dnn30"], 0.2), words)
    student, teacher = (STUDENT, "baseline", 32, -1), (TEACHER, "baseline", 32, -1)
    kd = next((key for key in judge.ours.index if key[:3] == (STUDENT, "kd", 32)), None)
    if kd:
        means = [judge.ours.loc[key].mean() for key in (student, kd, teacher)]
        words = "student {:.2f} %, distilled {:.2f} %, teacher {:.2f} %".format(*means)
        gain = judge.gain(kd, student)
        judge.say("kd_gain_on_kl_mlp_is_small", judge.every([gain, 1 - gain]), words)
        over = judge.every([judge.gain(kd, teacher)])
        judge.say("kd_student_beats_kl_mlp_teacher", over, words)


def _kd_gains(
    ours: pd.DataFrame, dnns: Mapping[str, pd.Series]
) -> dict[str, dict[float, pd.Series]]:
    """Points that distillation gains, by the teacher's weight, of each distilled DNN."""
    found: dict[str, dict[float, pd.Series]] = {}
    for network, method, bits, alpha in ours.index:
        if method == "kd" and network in dnns:
            accuracy = ours.loc[(network, method, bits, alpha)]
            found.setdefault(network, {})[alpha] = accuracy - dnns[network]
    return found


def _quantisation_claims(judge: Judge) -> None:
    losses = {
        bits: {
            n: judge.gain((n, "baseline", 32, -1), (n, "ptq", bits, -1))
            for n in TITLES
            if judge.has((n, "ptq", bits, -1), (n, "baseline", 32, -1))
        }
        for bits in WIDTHS
    }
    # PTQ changes one training: what seeds do to the change is less than to two trainings.
    noises = {bits: ptq_noise(judge.ours, bits) / 2**0.5 for bits in WIDTHS if losses[bits]}
    if losses[8] and losses[4]:
        words = f"lost at 8 bits {_range(losses[8])}, at 4 bits {_range(losses[4])} points"
        more = [losses[4][n] - losses[8][n] for n in losses[8]]
        degrades = judge.every(more, spread=max(noises[4], noises[8]))
        judge.say("ptq_4_bit_degrades_most", degrades, words)
    if losses[8]:
        of = losses[8].values()
        small = judge.every([0.5 - sign * one for one in of for sign in (1, -1)], spread=noises[8])
        both = judge.some(of, spread=noises[8]) & judge.some([-x for x in of], spread=noises[8])
        means = [-one.mean() for one in of]
        words = f"from {min(means):+z.2f} to {max(means):+z.2f} points"
        judge.say("ptq_8_bit_varies", small & both, words)
    if losses[2]:
        much = judge.some([one - 5 for one in losses[2].values()], spread=noises[2])
        judge.say("ptq_can_lose_much_accuracy", much, f"lost at 2 bits {_range(losses[2])} points")

    def gains(first: str, second: str) -> dict[int, pd.Series]:
        keys = {b: [(STUDENT, method, b, -1) for method in (first, second)] for b in WIDTHS}
        return {b: judge.gain(*both) for b, both in keys.items() if judge.has(*both)}

    by = {names: gains(*names) for names in (("qat", "ptq"), ("qkd", "ptq"), ("qkd", "qat"))}
    if by["qkd", "qat"]:
        over = [one for first in ("qat", "qkd") for one in by[first, "ptq"].values()]
        words = "; ".join(
            said(by[first, "ptq"], f"{METHODS[first]} over PTQ") for first in ("qat", "qkd")
        )
        judge.say("qat_and_qkd_minimise_loss", judge.every(over), words)
        over = judge.every(by["qkd", "qat"].values())
        judge.say("qkd_beats_qat", over, said(by["qkd", "qat"], "over QAT"))
    qkd, teacher = (STUDENT, "qkd", 8, -1), (TEACHER, "baseline", 32, -1)
    if judge.has(qkd):
        means = [judge.ours.loc[key].mean() for key in (qkd, teacher)]
        words = "student {:.2f} %, teacher {:.2f} %".format(*means)
        over = judge.every([judge.gain(qkd, teacher)])
        judge.say("qkd_student_beats_kl_mlp_teacher", over, words)
    if helps := gains("qkd", "qat+kd"):
        words = said(helps, "QKD over SS+TS")
        judge.say("co_studying_contributes", judge.every(helps.values()), words)


def _range(losses: Mapping[str, pd.Series]) -> str:
    means = [one.mean() for one in losses.values()]
    return f"{min(means):.2f} to {max(means):.2f}"


def lessons(table: pd.DataFrame) -> str:
    """What the student shows at each bit width with each kind of ranges, as a Markdown list."""
    spread = noise(table)
    by = {name: accuracies(table, name) for name in NAMED if (table["quantiser"] == name).any()}
    float32 = accuracies(table).loc[(STUDENT, "baseline", 32, -1)].mean()
    lines = [f"* In float32 the student has {float32:.2f} %."]
    best = recommended(table, STUDENT).set_index("bits")
    for bits, row in best.iterrows():
        ranges = " ".join(_trained(ours, bits, name, spread) for name, ours in by.items())
        lines.append(
            f"* **{counted(bits, 'bit')}.** {ranges} Best by validation error: "
            f"{row['best'].replace(',', '')} with {NAMED[row['ranges']]}, "
            f"{row['test accuracy (%)']:.2f} %."
        )
    if len(by) > 1:
        lines.append(_what_matters(table, by, best))
    return "\n".join(lines)


def _trained(ours: pd.DataFrame, bits: int, ranges: str, spread: float) -> str:
    """The accuracies with one kind of ranges, and which of them guessing would reach."""
    of = {
        method: ours.loc[key]
        for method in QUANTISED
        if (key := (STUDENT, method, bits, -1)) in ours.index
    }
    if not of:
        return ""
    guess = [method for method, value in of.items() if value.mean() < GUESSING]
    alone = " (no better than guessing)" if len(guess) < len(of) else ""
    said = ", ".join(
        f"{METHODS[method].replace(',', '')} {value.mean():.2f} %{alone * (method in guess)}"
        for method, value in of.items()
    )
    text = f"With {NAMED[ranges]}: {said}"
    if not alone:
        return f"{text}; none of them is better than guessing one class in ten."
    if {"qkd", "long qat"} <= of.keys():
        gain = of["qkd"] - of["long qat"]
        text += f"; QKD over QAT of the same length is {gain.mean():+z.2f} points, which "
        many = "one seed" if len(gain) == 1 else "seeds"
        sure = clear(gain, spread)
        text += "seeds make clear" if sure else f"{many} cannot tell from none"
    return f"{text}."


def _what_matters(table: pd.DataFrame, by: Mapping[str, pd.DataFrame], best: pd.DataFrame) -> str:
    """How often learnt intervals win, and from which bit width down a choice is worth a point."""
    each = {
        name: recommended(table[table["quantiser"].isin(["", name])], STUDENT).set_index("bits")
        for name in by
    }
    accuracy = "test accuracy (%)"
    trained = best[accuracy] - best["PTQ (%)"]
    learnt = (each["learnt"][accuracy] - each["minmax"][accuracy]).dropna()
    which = {}
    for bits, row in best.iterrows():
        of = by[row["ranges"]].mean(axis=1)
        values = [
            of[key]
            for method in QUANTISED
            if method != "ptq" and (key := (STUDENT, method, bits, -1)) in of.index
        ]
        which[bits] = max(values) - min(values) if values else 0.0
    wins = int((best["ranges"] == "learnt").sum())
    return (
        f"* **What to choose.** Learnt intervals have the best training at {wins} of {len(best)} "
        "bit widths, by validation error. By more than a point of test accuracy it matters to "
        f"train with rounding, beside PTQ with the same ranges, {_down(trained.to_dict())}; to "
        f"learn the intervals {_down(learnt.to_dict())}; and which training with rounding it is, "
        f"all with the ranges of the best, {_down(which)}."
    )


def _down(points: Mapping[int, float]) -> str:
    """At which bit widths these differences are above a point, in words; NaN is not known."""
    known = {bits: gain for bits, gain in points.items() if gain == gain}
    found = sorted(bits for bits, gain in known.items() if gain > 1)
    if not found:
        return f"at no bit width ({max(known.values(), default=0.0):.2f} points at most)"
    gains = ", ".join(f"{known[bits]:.2f}" for bits in found)
    return f"at {together(found)} bit{'s' * (found != [1])} ({gains} points)"
