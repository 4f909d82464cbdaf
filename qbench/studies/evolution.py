"""Chapter 07: what it asks for, and its tables.

Stewart et al. 2021, sections 3.3, 3.4 and 4.3.2: NEMOKD, the evolution of a student by NSGA-II on
the device that will run it. `evolution_runs` computes and stores; `evolution_claims` judges.
"""

from typing import Any

from qbench import store
from qbench.distillation import runs
from qbench.parameters import Evolution

from . import evolution_runs


def teacher_of(p: Evolution) -> dict[str, Any]:
    """The teacher's specification: `runs.teacher`'s parameters, all of them, as in chapter 06."""
    spec = {
        "dataset": p.dataset,
        "network": p.teacher,
        "images": p.teacher_images,
        "epochs": p.teacher_epochs,
        "seed": 0,
    }
    return store.spec(runs.teacher, **spec)["parameters"]


def search_of(p: Evolution) -> dict[str, Any]:
    """The search by NSGA-II: `evolution_runs.nemokd`'s parameters, all of them."""
    same = ("dataset", "student", "alpha", "temperature", "images", "epochs", "device")
    same += ("population", "generations", "noise", "error_step", "seed")
    asked = {name: getattr(p, name) for name in same}
    asked |= {"teacher": teacher_of(p), "budget_minutes": p.budget}
    return store.spec(evolution_runs.nemokd, **asked)["parameters"]


def random_of(p: Evolution, trained: int) -> dict[str, Any]:
    """The search at random with as many networks, `draw` as in `evolution.random_search`."""
    other = {"search": "random", "draw": p.draw, "evaluations": int(trained)}
    return search_of(p) | other | {"budget_minutes": None}
