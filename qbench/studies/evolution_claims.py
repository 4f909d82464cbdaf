"""Chapter 07: the paper's claims on evolved students as predicates on ours, and what was learnt."""

from dataclasses import replace
from typing import Any

import pandas as pd

from qbench import chapters, evolution, parameters, reference, store
from qbench.distillation import runs
from qbench.parameters import Evolution
from qbench.studies import distillation
from qbench.studies.bit_width_sweep import chance

from . import evolution as study
from .evolution_found import Found, as_quick, dominating
from .evolution_networks import MACS, ROUNDS, SPACES
from .evolution_tables import amount
from .words import counted

STEWART = "stewart2021"
MODEST = 1.38  # times the baseline's latency: the abstract's 38 % more
PRINTED_MS = {
    ("mobilenet_v2", "flex_student"): "lowest_latency_mobilenetv2_flexstudent",
    ("resnet32x4", "flex_student"): "lowest_latency_resnet32x4_flexstudent",
    ("resnet32x4", "resnet8x4"): "lowest_latency_resnet32x4_resnet8x4",
}


def claims(found: Found, final: pd.DataFrame) -> pd.DataFrame:
    """Abstract, sections 4.3.2, 4.4.2 and 5.1: `where`, `claim`, `ours`, `verdict`, `why`."""
    found, p = replace(found, final=final), found.p
    pair = (p.teacher, p.student)
    rows = [_gain(found), _cost(found)]
    if pair == ("mobilenet_v2", "flex_student"):
        rows += [
            _dominate(found, "students_dominate_baseline", found.plain.test_error, "no teacher"),
            _dominate(
                found, "students_dominate_distilled_baseline", found.baseline.test_error, "taught"
            ),
            _slower(found, "most_accurate_students_slower", 3),
            *_architecture(found),
        ]
    elif pair == ("resnet32x4", "flex_student"):
        rows += [
            _slower(found, "best_accuracy_needs_latency", 1),
            _structure(found),
            _beats(found, "evolution_beats_distillation_flexstudent"),
        ]
    elif pair == ("resnet32x4", "resnet8x4"):
        rows.append(_beats(found, "evolution_beats_distillation_resnet8x4"))
    rows += [_modest(found), _search(found), _half(found)]
    if pair in PRINTED_MS:
        rows.append(_quickest(found, PRINTED_MS[pair]))
    return pd.DataFrame(rows)


def scales(p: Evolution) -> str:
    """Their device and scale beside ours, for a caption."""
    device = "multiply-accumulates" if p.device == MACS else f"{p.device} with OpenVINO"
    return f"theirs: Myriad X, 30 epochs on all images; ours: {device}, {study.described(p)}"


def _where(found: Found) -> str:
    """What may be the reason of a difference, in a few words: `scales` has the rest."""
    device = "a count" if found.p.device == MACS else f"a {found.p.device}"
    return f"{device} instead of the Myriad X, and our scale"


def _gain(found: Found) -> dict[str, Any]:
    base, best = (100 - found.ended(name).test_error for name in (study.PLAIN, study.ACCURATE))
    gain = 100 * (best / base - 1)
    why = (
        f"accuracy {base:.1f} → {best:.1f} % after {found.p.final_epochs} epochs, relative to the "
        f"baseline without a teacher; more than {100 * (100 / base - 1):.0f} % no network could "
        "gain over it. The paper names neither the experiment nor its baseline"
    )
    return reference.claim_value(STEWART, "evolution_accuracy_gain", gain, why=why)


def _cost(found: Found) -> dict[str, Any]:
    base, best = (found.ended(name).latency_ms for name in (study.PLAIN, study.ACCURATE))
    why = f"the most accurate network of the search, by turns with the baseline; {_where(found)}"
    return reference.claim_value(
        STEWART, "evolution_latency_cost", 100 * (best / base - 1), why=why
    )


def _dominate(found: Found, name: str, error: float, which: str) -> dict[str, Any]:
    count, better, sure = dominating(found, error)
    ours = (
        f"of {count} final students {better} {_are(better)} more accurate than the baseline, "
        f"{which} ({error:.2f} %), and no slower; {sure} by more than chance"
    )
    why = f"many is taken as a quarter at least; {_where(found)}"
    return reference.claim(STEWART, name, holds=4 * better >= count, ours=ours, why=why)


def _slower(found: Found, name: str, how_many: int) -> dict[str, Any]:
    best = found.last.nsmallest(how_many, "error")
    slower = ~as_quick(best, found.baseline)
    times = best.latency_ms / found.baseline.latency_ms
    ours = (
        f"of the last population, the {counted(len(best), 'network')} with the least validation "
        f"error take{'s' * (len(best) == 1)} "
        f"{', '.join(f'{one:.2f}' for one in times)} times as long as the baseline"
    )
    return reference.claim(STEWART, name, holds=bool(slower.all()), ours=ours, why=_where(found))


def _architecture(found: Found) -> list[dict[str, Any]]:
    """The best compromise of the paper beside ours."""
    row = study.choose(study.front(found.archive, found.again))[study.COMPROMISE]
    space = SPACES[found.p.student]
    network = space.decode([int(row[name]) for name in space.names])
    why = f"ours is {network}, the front's nearest to its ideal corner; {_where(found)}"
    rows = [
        reference.claim_value(
            STEWART, "best_student_convolutional_layers", len(network.channels), why=why
        ),
        reference.claim_value(
            STEWART, "best_student_fully_connected_layers", len(network.neurons), why=why
        ),
        reference.claim_value(STEWART, "best_student_neurons_low", min(network.neurons), why=why),
        reference.claim_value(STEWART, "best_student_neurons_high", max(network.neurons), why=why),
    ]
    widest = space.genes[space.of("channels")[0]]
    middle = (widest.lower + widest.upper) / 2
    mean = sum(network.channels) / len(network.channels)
    rows.append(
        reference.claim(
            STEWART,
            "best_student_few_channels",
            holds=mean < middle,
            ours=f"{mean:.0f} channels a convolution on average; the genes' middle is {middle:g}",
            why=why,
        )
    )
    return rows


def _structure(found: Found) -> dict[str, Any]:
    baseline = found.baseline
    same = (found.last.convolutions == baseline.convolutions) & (
        found.last.hidden == baseline.hidden
    )
    return reference.claim(
        STEWART,
        "students_keep_layer_structure",
        holds=bool(same.all()),
        ours=f"{int(same.sum())} of {len(same)} final students have the baseline's layers",
        why=_where(found),
    )


def _beats(found: Found, name: str) -> dict[str, Any]:
    taught, best = found.ended(study.TAUGHT), found.ended(study.ACCURATE)
    holds = best.test_error < taught.test_error and best.latency_ms > taught.latency_ms
    ours = (
        f"test error {best.test_error:.2f} % at {best.latency_ms / taught.latency_ms:.2f} times "
        f"the latency; the taught baseline has {taught.test_error:.2f} %"
    )
    return reference.claim(STEWART, name, holds=holds, ours=ours, why=_where(found))


def _modest(found: Found) -> dict[str, Any]:
    students, baseline = found.last, found.baseline
    within = students[students.latency_ms <= MODEST * baseline.latency_ms]
    best = within.loc[within.error.idxmin()] if len(within) else baseline
    gained = found.plain.test_error - best.test_error
    needed = chance(found.plain.test_error, found.images)
    ours = (
        f"within {MODEST:g} times the baseline's latency the best final student by validation "
        f"error has {best.test_error:.2f} % test error, {gained:.2f} points less than the baseline "
        "without a teacher "
        f"and {found.baseline.test_error - best.test_error:.2f} less than with; chance explains "
        f"{needed:.2f}"
    )
    holds = len(within) > 0 and gained > needed
    return reference.claim(
        STEWART, "accuracy_at_modest_latency", holds=holds, ours=ours, why=_where(found)
    )


def _search(found: Found) -> dict[str, Any]:
    taught, best = found.ended(study.TAUGHT), found.ended(study.ACCURATE)
    known = best_of_distillation(found.p)
    here = f"α = {found.p.alpha:g}, T = {found.p.temperature:g}"
    chosen = (
        f"under {here}"
        if known is None
        else f"under {here} (chapter 6 found α = {known[0]:g}, T = {known[1]:g} best of "
        f"{known[2]} combinations)"
    )
    ours = (
        f"most accurate evolved student {best.test_error:.2f} %, baseline {chosen} "
        f"{taught.test_error:.2f} %, both after {found.p.final_epochs} epochs"
    )
    holds = taught.test_error - best.test_error > chance(taught.test_error, found.images)
    return reference.claim(
        STEWART, "evolution_beats_distillation_search", holds=holds, ours=ours, why=_where(found)
    )


def _half(found: Found) -> dict[str, Any]:
    name = "vpu_deployment_bits"
    if found.p.device == MACS:
        why = "a device is needed"
        return reference.claim(STEWART, name, holds=None, ours="nothing was deployed", why=why)
    bits = {"float16": 16, "float32": 32}[found.final.weights.iloc[0]]
    computes = found.final.precision.iloc[0]
    why = f"weights of the OpenVINO file; {found.p.device} computes in {computes}"
    return reference.claim_value(STEWART, name, bits, why=why)


def _quickest(found: Found, name: str) -> dict[str, Any]:
    quickest = found.last.latency_ms.min()
    what = "million multiply-accumulates" if found.p.device == MACS else f"ms on {found.p.device}"
    return reference.claim(
        STEWART,
        name,
        holds=None,
        ours=f"the quickest final student takes {quickest:.3g} {what}",
        why="a Myriad X would have to tell: its plugin was last shipped with OpenVINO 2022.3",
    )


def best_of_distillation(p: Evolution) -> tuple[float, float, int] | None:
    """α and T with the least mean validation error in chapter 06's published surface, and of how
    many; None where that is not stored, or is of another pair, data set or teacher."""
    chapter = chapters.find("06")
    values = parameters.check(chapter.name, **chapters.profiles(chapter)["published"])
    pair = f"{p.teacher}/{p.student}"
    if pair not in values.pairs or values.dataset != p.dataset:
        return None
    names = ("teacher_images", "teacher_epochs", "images", "epochs")
    scale = distillation.Scale(*(values.of(name, pair) for name in names))
    teacher = distillation.teacher_of(pair, p.dataset, scale)
    if teacher != study.teacher_of(p):
        return None
    means = {}
    for alpha in values.alphas:
        for temperature in values.temperatures:
            spec = {
                "dataset": p.dataset,
                "network": p.student,
                "images": scale.images,
                "teacher": teacher,
                "form": values.form,
                "alpha": alpha,
                "temperature": temperature,
                "epochs": scale.epochs,
                "batch_size": values.batch_size,
                "learning_rate": values.learning_rate,
                "augment": values.augment,
            }
            stored = [
                store.find(store.spec(runs.student, seed=seed, **spec))
                for seed in values.seeds_of(pair)
            ]
            if not all(stored):
                return None
            errors = [entry.table().valid_error.iloc[-1] for entry in stored]
            means[alpha, temperature] = sum(errors) / len(errors)
    return (*min(means, key=means.get), len(means))


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def lessons(found: Found, random: pd.DataFrame | None) -> str:
    """What this page's numbers show, as a Markdown list; `random` is the other search, if any.

    Networks are chosen by validation errors, as everywhere on the page.
    """
    p, last, baseline = found.p, found.last, found.baseline
    best = study.choose(study.front(found.archive, found.again))[study.ACCURATE]
    quick = last[as_quick(last, baseline) & (last.test_error < baseline.test_error)]
    fastest = last.loc[last.latency_ms.idxmin()]
    errors, times = last.test_error, last.latency_ms / baseline.latency_ms
    lines = [
        f"* The last population has {errors.min():.2f} to {errors.max():.2f} % test error and "
        f"{times.min():.2f} to {times.max():.2f} times what the baseline takes, "
        f"{amount(baseline.latency_ms, p.device)}. The baseline has {baseline.test_error:.2f} % "
        f"with its teacher and {found.plain.test_error:.2f} % without.",
        f"* Of all networks of the search, the most accurate on the validation images is "
        f"{best.phenotype}, with {best.test_error:.2f} % test error and "
        f"{best.latency_ms / baseline.latency_ms:.2f} times the baseline's latency; the quickest "
        f"of the last population is {fastest.phenotype}, with {fastest.test_error:.2f} % and "
        f"{times[fastest.name]:.2f} times.",
        f"* {len(quick)} of {len(last)} final students {_are(len(quick))} more accurate than the "
        "taught baseline and no slower.",
    ]
    if random is not None:
        area = study.attained({"NSGA-II": found.archive, "random": random})
        ends = area.groupby("search").hypervolume.last()
        lines.append(
            f"* With as many networks, NSGA-II dominates {ends['NSGA-II']:.1f} and random search "
            f"{ends['random']:.1f} (baseline latencies × points): "
            f"{100 * (ends['NSGA-II'] / ends['random'] - 1):+z.1f} %. One search of each: another "
            "seed may change their order."
        )
    measured = found.again.dropna(subset=["within"])
    if p.device != MACS:
        kept = int(measured.within.astype(bool).sum())
        apart = (measured.search_scaled_ms / measured.latency_ms - 1).abs()
        reach = (measured.highest_ms - measured.lowest_ms) / measured.latency_ms
        alike = (ROUNDS - 1) / (ROUNDS + 1)  # neither the lowest nor the highest of one more
        lines.append(
            f"* Measured again side by side, {kept} of {len(measured)} latencies of the search, "
            "scaled by what the baseline took then and takes now, lie between the lowest and the "
            f"highest of the {ROUNDS} rounds, each compiled anew, which are "
            f"{100 * reach.median():.1f} % apart in the median; if the search's compilation were "
            f"one like these, {alike * len(measured):.0f} would. The two differ by "
            f"{100 * apart.median():.1f} % in the median and {100 * apart.max():.1f} % at most. "
            f"The search ranked in steps of {100 * p.noise:g} %."
        )
    archive = found.archive
    began = archive[archive.generation == 1].error.min()
    ended = evolution.survivors(archive, int(archive.survived_until.max())).error.min()
    lines.append(
        f"* The least validation error fell from {began:.2f} % in the first generation to "
        f"{ended:.2f} % in the last, over {int(archive.trained.sum())} trainings."
    )
    return "\n".join(lines)
