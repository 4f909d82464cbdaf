"""Trainings that are named by their parameters, the training that they start from among them.

Such a specification says how a network came about from the first random number on. What the rooms
with stored trainings have in common; each says which parameters are allowed, and raises an error of
its own. `small_runs` adds what trainings of the small networks share.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from qbench import store, workers
from qbench.data import specs as specs_of
from qbench.errors import UserError
from qbench.numbers import whole

Spec = Mapping[str, Any]
Method = Callable[..., pd.DataFrame]  # a `store.method`


def parameters(method: Method, spec: Spec, *, error: type[UserError], what: str) -> dict[str, Any]:
    """Every parameter of `method`, defaults filled in; raises `error` for one that it lacks."""
    try:
        return store.spec(method, **spec)["parameters"]
    except TypeError as wrong:
        raise error(f"{what} has the parameters of `{method.__name__}`: {wrong}.") from None


def check(spec: Spec, *, error: type[UserError]) -> None:
    """Raise `error` for a seed, or a number of training images, that cannot be."""
    if not whole(spec["seed"]) or not 0 <= spec["seed"] < 2**31:
        raise error(f"seed must be a whole number from 0 to 2**31 - 1, not {spec['seed']!r}.")
    most = specs_of.find(spec["dataset"]).split["train"]
    if spec["images"] is not None and (
        not whole(spec["images"]) or not 2 <= spec["images"] <= most
    ):
        raise error(
            f"images must be a whole number from 2 to {most}, or None for all, "
            f"not {spec['images']!r}."
        )


def check_same(spec: Spec, names: Sequence[str], *, error: type[UserError], what: str) -> None:
    """Raise `error` where a training differs in one of `names` from what it starts from."""
    for name in names:
        theirs = spec["start"][name]
        if theirs != spec[name]:
            raise error(
                f"{what} keeps the {name} of its start, {theirs!r}, and has {spec[name]!r}."
            )


def run(
    method: Method,
    specs: Sequence[Spec],
    *,
    at_once: int | None,
    title: str,
    few: Callable[[list[Spec]], bool] = lambda missing: False,
) -> list[pd.DataFrame]:
    """`method` for complete specifications: from the store where it has them, the others `at_once`
    (None: one a core) side by side, each in a process of one thread, but one after the other here
    where `few` says so of what is missing. What they start from comes first.
    """
    if earlier := [spec["start"] for spec in specs if spec["start"] is not None]:
        run(method, earlier, at_once=at_once, title=title, few=few)
    different = {store.key(store.spec(method, **spec)): spec for spec in specs}
    missing = store.missing([store.spec(method, **spec) for spec in specs])
    alone = few([different[name] for name in missing])
    asked = list(different.values())
    workers.run_each(
        method,
        asked,
        workers=1 if alone else at_once,
        title=title,
        here=alone,
        needs=lambda spec: [store.spec(method, **spec["start"])] if spec["start"] else [],
    )
    return [store.run(method, **spec) for spec in specs]


def weights(method: Method, spec: Spec) -> Path:
    """Where the weights are that a training left."""
    return store.weights_file(store.key(store.spec(method, **spec)))
