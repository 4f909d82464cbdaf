"""The trainings that chapters store: one phase of one network with one seed is one result.

A phase is named by the parameters of `study`; what it starts from, and its teacher, are phases
themselves, so a specification says how a network came about from the first random number on. Tables
are stored results; weights stay in `results/networks`, which does not travel with git: where they
are missing and needed, `weights_of` trains again. Phases that differ only in the seed, in what they
start from or learn from, and in a and T, are trained as one stack (`studies`).
"""

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from qbench import checkpoints, data, store, threads, workers
from qbench.data import specs as specs_of
from qbench.distillation import Distillation, DistillationError
from qbench.errors import nearest
from qbench.models import mlp
from qbench.models.convolutional import NETWORKS, build, parameters
from qbench.models.mlp import HIDDEN
from qbench.numbers import whole

from .errors import StudyError
from .networks import Bits, Single, Stack, calibrate, joined, parts, signed_inputs
from .phases import TAUGHT, Phase
from .studying import Teachers
from .studying import study as train

Spec = Mapping[str, Any]  # parameters of `study`
CALIBRATED = 1000  # training images that quantisers see at once before a network is trained
STACK_BYTES = 20 * 2**20  # of weights, gradients and momenta that are trained as one
LITTLE = 3e11  # weights seen by images in all: processes would take longer to start
APART = ("seed", "start", "teacher", "alpha", "temperature")  # in which members of a stack differ


@store.method(version=2)
def study(
    *,
    dataset: str,
    network: str,
    phase: str = "ss",
    epochs: int = 10,
    learning_rate: float = 0.1,
    drops: Sequence[int] = (),
    factor: float = 0.2,
    warm_up: float = 0,
    batch_size: int = 64,
    weight_decay: float = 5e-4,
    start: Spec | None = None,
    teacher: Spec | None = None,
    alpha: float = 0.7,
    temperature: float = 20.0,
    weight_bits: int = 32,
    act_bits: int = 32,
    quantiser: str = "minmax",
    per_channel: bool = False,
    images: int | None = None,
    calibrated: int = CALIBRATED,
    augment: bool = False,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """One phase of one network; returns the table of `studying.study`.

    network: a perceptron of `models.mlp` or a network of `models.convolutional`. `phase` to
    `weight_decay`: see `Phase`. start, teacher: parameters of `study`, or None for new weights and
    for phases without a teacher. alpha, temperature: a and T of Vailakis 2022, eq. 5.1, for phases
    with one. `weight_bits` to `per_channel`: see `Bits`; a network that starts from one in float32
    is calibrated first, with the first `calibrated` training images. images: how many of the
    training images (None: all). On one thread. Raises `StudyError` for what cannot be, before any
    work.
    """
    spec = {name: value for name, value in locals().items() if name != "checkpoint"}
    [table] = _train([spec], checkpoint)
    return table


def studies(
    asked: Sequence[Spec], *, at_once: int | None = None, title: str = "phases"
) -> list[pd.DataFrame]:
    """`study` for many phases, from the store where it has them, the others in as few stacks as
    possible, `at_once` (None: one a core) side by side. Earlier phases and teachers come first.
    """
    for one in asked:
        check(one)
    earlier = [one[name] for one in asked for name in ("start", "teacher") if one.get(name)]
    if earlier:
        studies(_different(earlier), at_once=at_once, title=title)
    specs = [complete(one) for one in asked]
    missing = store.missing([store.spec(study, **spec) for spec in specs])
    groups: dict[str, list[dict[str, Any]]] = {}
    for spec in _different(specs):
        if store.key(store.spec(study, **spec)) in missing:
            same = {name: value for name, value in spec.items() if name not in APART}
            groups.setdefault(json.dumps(same, sort_keys=True), []).append(spec)
    stacks = [part for group in groups.values() for part in _divided(group)]
    stacks.sort(key=_cost, reverse=True)  # a long one last would leave a core idle
    much = sum(map(_cost, stacks)) > LITTLE
    if much and workers.elsewhere():
        workers.fetch(_run_stack, [(stack,) for stack in stacks], title=title, needs=_needs)
    elif much and workers.at_once(len(stacks), at_once) > 1:
        jobs = [(stack,) for stack in stacks]
        for stored in workers.in_processes(_run_stack, jobs, workers=at_once, title=title):
            for spec in stored:
                store.computed(store.key(spec))
    else:
        for stack in stacks:
            _run_stack(stack)
    return [store.run(study, **spec) for spec in specs]


def _run_stack(specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compute and store these; returns what they are asked for by."""
    store.run_together(study, specs, _train)
    return [store.spec(study, **spec) for spec in specs]


def _needs(stack: list[dict[str, Any]]) -> list[Spec]:
    """The phases whose weights a stack reads."""
    others = [spec[name] for spec in stack for name in ("start", "teacher") if spec[name]]
    return [store.spec(study, **one) for one in _different(others)]


def complete(spec: Spec) -> dict[str, Any]:
    """Every parameter of `study`, defaults filled in, also of what it starts and learns from."""
    given = dict(spec)
    for name in ("start", "teacher"):
        if given.get(name) is not None:
            given[name] = complete(given[name])
    try:
        return store.spec(study, **given)["parameters"]
    except TypeError as error:
        raise StudyError(f"a phase has the parameters of `study`: {error}.") from None


def check(spec: Spec) -> None:
    """Raise `StudyError` for a phase that cannot be, and for what it starts or learns from."""
    spec = complete(spec)
    phase, bits = _phase(spec), _bits(spec)
    if spec["network"] not in HIDDEN:
        known = [*HIDDEN, *NETWORKS]
        if spec["network"] not in known:
            hint = nearest(known, spec["network"])
            raise StudyError(
                f"network must be one of {', '.join(known)}, not {spec['network']!r}{hint}."
            )
    if phase.kind == "ptq" and not bits.any:
        raise StudyError("post-training quantisation needs weight_bits or act_bits below 32.")
    if not whole(spec["calibrated"]) or spec["calibrated"] < 1:
        raise StudyError(
            f"calibrated must be a whole number of at least 1: quantisers find their ranges in "
            f"these images; it is {spec['calibrated']!r}."
        )
    if not whole(spec["seed"]) or not 0 <= spec["seed"] < 2**31:
        raise StudyError(f"seed must be a whole number from 0 to 2**31 - 1, not {spec['seed']!r}.")
    try:
        Distillation(spec["alpha"], spec["temperature"], form="vailakis_kl")
    except DistillationError as error:  # a sentence that fits here as well
        raise StudyError(str(error)) from None
    if (phase.kind in TAUGHT) != (spec["teacher"] is not None):
        needs = "needs a teacher" if phase.kind in TAUGHT else "has no teacher"
        raise StudyError(f"the phase {phase.kind!r} {needs}.")
    if spec["augment"] and spec["network"] in HIDDEN:
        raise StudyError("augment must be False for perceptrons: their images are flat.")
    for name in ("start", "teacher"):
        other = spec[name]
        if other is None:
            continue
        check(other)
        if other["dataset"] != spec["dataset"]:
            raise StudyError(
                f"the {name} was trained on {other['dataset']}, not on {spec['dataset']}."
            )
    start = spec["start"]
    if start is not None and start["network"] != spec["network"]:
        raise StudyError(f"{spec['network']} cannot start from the weights of {start['network']}.")
    if start is not None and _bits(start).any and _bits(start) != bits:
        raise StudyError("a network that is quantised keeps its bits in later phases.")


@lru_cache(maxsize=2)
def load(dataset: str, network: str, images: int | None) -> data.Dataset:
    """A data set as the network sees it: flat in [0, 1], or 32×32 and standardised."""
    if network in HIDDEN:
        return data.load(dataset, flatten=True, normalise="unit", subset=images)
    return data.load(dataset, size=32, normalise="standard", subset=images)


def network_of(spec: Spec, *, taught_with: bool = False) -> nn.Module:
    """The network of a phase as a stack of one, in evaluation mode.

    `taught_with` asks for the co-studying teacher instead. Trains where weights are not at hand.
    """
    return _stack([spec], taught_with=taught_with).eval()


def weights_of(spec: Spec) -> dict[str, Any]:
    """The states that a phase left: `student`, of co-studying also `teacher`; and `signed`."""
    spec = complete(spec)
    return checkpoints.load_or_make(_weights(spec), lambda work: study(**spec, checkpoint=work))


def _train(specs: list[dict[str, Any]], checkpoint: Path | None) -> list[pd.DataFrame]:
    """`study` for phases that differ in `APART` only."""
    for spec in specs:
        check(spec)
    first, phase = specs[0], _phase(specs[0])
    pictures = load(first["dataset"], first["network"], first["images"])
    with threads.at_most(1):
        stack = _begun(specs, pictures)
        teachers = _teachers(specs, phase)
        tables = train(
            stack,
            pictures,
            phase,
            seeds=[spec["seed"] for spec in specs],
            teachers=teachers,
            augment=first["augment"],
            checkpoint=checkpoint and checkpoint / "state.pt",
            title=_title(specs),
        )
    signed = getattr(stack, "signed", [])
    cut = parts(stack.state_dict(), len(specs))
    states = [{"student": state, "signed": signed} for state in cut]
    if phase.kind == "cs":
        others = parts(teachers.network.state_dict(), len(specs))
        states = [one | {"teacher": other} for one, other in zip(states, others, strict=True)]
    for spec, state in zip(specs, states, strict=True):
        checkpoints.save(_weights(spec), state)
    return tables


def _begun(specs: list[dict[str, Any]], pictures: data.Dataset) -> nn.Module:
    """The stack as the phase finds it: new, or from an earlier phase; calibrated where it must."""
    starts, bits = [spec["start"] for spec in specs], _bits(specs[0])
    stack = _new(specs) if None in starts else _stack(starts)
    if not bits.any or (starts[0] and _bits(starts[0]).any):
        return stack
    shown = pictures.train.images[: specs[0]["calibrated"]]
    if isinstance(stack, Stack):
        quantised = _new(specs, bits)
        quantised.load_state_dict(stack.state_dict(), strict=False)
    else:
        quantised = Single(stack.model, bits, signed_inputs(stack.model, shown))
    calibrate(quantised, shown.expand(len(specs), *shown.shape))
    return quantised


def _teachers(specs: list[dict[str, Any]], phase: Phase) -> Teachers | None:
    if phase.kind not in TAUGHT:
        return None
    asked = [complete(spec["teacher"]) for spec in specs]
    different = asked if phase.kind == "cs" else _different(asked)
    # Who was co-studied with goes on as the teacher of the phase after.
    network = _stack(different, taught_with=_co_studied(asked[0]))
    _warn_of_a_small_teacher(specs[0], _float(asked[0])["network"])
    return Teachers(
        network,
        [place if phase.kind == "cs" else different.index(one) for place, one in enumerate(asked)],
        [float(spec["alpha"]) for spec in specs],
        [float(spec["temperature"]) for spec in specs],
    )


def _warn_of_a_small_teacher(spec: dict[str, Any], teacher: str) -> None:
    count = {name: parameters(_alone(name)) for name in (teacher, spec["network"])}
    if count[teacher] < count[spec["network"]]:
        warnings.warn(
            f"the teacher {teacher} has {count[teacher]:,} parameters, its student "
            f"{spec['network']} {count[spec['network']]:,}.",
            stacklevel=2,
        )


def _alone(network: str) -> nn.Module:
    return mlp.build(network) if network in HIDDEN else build(network, 10)


def _stack(specs: Sequence[Spec], *, taught_with: bool = False) -> nn.Module:
    """These phases' networks as one stack, or the teachers that they co-studied with."""
    states = [weights_of(spec) for spec in specs]
    side = "teacher" if taught_with else "student"
    made = [complete(spec) for spec in specs]
    if taught_with:
        made = [_float(spec["teacher"]) for spec in made]
    stack = _new(made, _bits(made[0]), states[0]["signed"])
    stack.load_state_dict(joined([state[side] for state in states]))
    return stack


def _float(teacher: Spec) -> dict[str, Any]:
    """The network that a co-studying teacher is: that of the phase it came from."""
    return complete(teacher["teacher"]) if _co_studied(teacher) else complete(teacher)


def _co_studied(spec: Spec) -> bool:
    """Whether, as a teacher, it is the one that learnt in a co-studying phase."""
    return spec["phase"] == "cs"


def _new(
    specs: Sequence[dict[str, Any]], bits: Bits | None = None, signed: Sequence[str] = ()
) -> nn.Module:
    """New networks, with their seeds' initial weights, quantised where `bits` says so."""
    first, known = specs[0], specs_of.find(specs[0]["dataset"])
    classes = len(known.classes)
    if first["network"] in HIDDEN:
        return Stack(
            [spec["seed"] for spec in specs],
            inputs=math.prod(known.image_shape),
            hidden=HIDDEN[first["network"]],
            classes=classes,
            bits=bits,
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(first["seed"])
        inputs = 1 if len(known.image_shape) == 2 else 3
        model = build(first["network"], classes, inputs=inputs)
    return Single(model.to(memory_format=torch.channels_last), bits, signed)


def _phase(spec: Spec) -> Phase:
    names = ("epochs", "learning_rate", "drops", "factor", "warm_up", "batch_size", "weight_decay")
    return Phase(spec["phase"], **{name: spec[name] for name in names})


def _bits(spec: Spec) -> Bits:
    names = ("weight_bits", "act_bits", "quantiser", "per_channel")
    return Bits(*(spec[name] for name in names))


def _weights(spec: Spec) -> Path:
    return store.weights_file(store.key(store.spec(study, **spec)))


def _different(specs: Sequence[Spec]) -> list[dict[str, Any]]:
    return list(
        {store.key(store.spec(study, **complete(one))): complete(one) for one in specs}.values()
    )


def _divided(group: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """A group in stacks that the processor's cache holds, all about as large: a member of five
    takes 60 % of the time it takes alone.
    """
    most = 1
    if (network := group[0]["network"]) in HIDDEN:
        most = max(1, STACK_BYTES // (12 * _weights_in(network)))
    size = math.ceil(len(group) / math.ceil(len(group) / most))
    return [group[place : place + size] for place in range(0, len(group), size)]


def _weights_in(network: str) -> int:
    """Weights that an image meets; a convolution's as often as it uses them, roughly."""
    if network not in HIDDEN:
        return 10**8
    return sum(a * b for a, b in pairwise([784, *HIDDEN[network], 10]))


def _cost(specs: list[dict[str, Any]]) -> float:
    """How many weights see an image in training, and without any in evaluation."""
    first = specs[0]
    split = specs_of.find(first["dataset"]).split
    images = (first["images"] or split["train"]) * first["epochs"]
    asked = (split["valid"] + split["test"]) / 3  # without a way back
    each = _weights_in(first["network"])
    if first["phase"] == "cs":
        each += _weights_in(_float(first["teacher"])["network"])
    return len(specs) * each * (images + asked)


def _title(specs: list[dict[str, Any]]) -> str:
    first, bits = specs[0], _bits(specs[0])
    name = f"{first['network']} on {first['dataset']}, {first['phase']}"
    if bits.any:
        name += f", W{bits.weights}A{bits.acts}"
    return name + (f", {len(specs)} networks" if len(specs) > 1 else f", seed {first['seed']}")
