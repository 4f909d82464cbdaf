"""Knowledge distillation: a small network learns from the labels and from a larger network.

`losses` are the papers' equations, `teachers` who gives the soft labels, `fitting` the training
loop, and `runs` the trainings that chapters store.
"""

from .errors import DistillationError
from .fitting import Recipe, fit
from .losses import FORMS, Distillation
from .teachers import Cached, Offline, Online

__all__ = [
    "FORMS",
    "Cached",
    "Distillation",
    "DistillationError",
    "Offline",
    "Online",
    "Recipe",
    "fit",
]
