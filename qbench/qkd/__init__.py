"""Quantisation-aware knowledge distillation: PTQ, QAT, KD, and QKD's three phases together.

`phases` says how a phase learns, `losses` what, `networks` are the stacks that learn, `studying` is
the training loop, and `runs` the trainings that chapters store.
"""

from .errors import StudyError
from .networks import Bits, Single, Stack
from .phases import KINDS, Phase
from .studying import Teachers, study

__all__ = ["KINDS", "Bits", "Phase", "Single", "Stack", "StudyError", "Teachers", "study"]
