"""The phases of quantisation-aware knowledge distillation, and how long and how fast each learns.

Vailakis 2022, sections 3.6 and 5.7, after Kim et al. 2019: "ptq" only finds the quantisers' ranges,
"ss" (self-studying) learns from the labels, which is quantisation-aware training where there are
quantisers, "cs" (co-studying) trains student and teacher on each other's answers, "ts"
(tutor-studying) is distillation from a teacher that stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qbench.numbers import number, whole

from .errors import StudyError

KINDS = {
    "ptq": "post-training quantisation",
    "ss": "self-studying",
    "cs": "co-studying",
    "ts": "tutor-studying",
}
TAUGHT = ("cs", "ts")


@dataclass(frozen=True)
class Phase:
    """One phase: SGD with Nesterov momentum 0.9 and a learning rate that falls in steps.

    The rate rises linearly over the first `warm_up` epochs and is multiplied by `factor` at each
    epoch of `drops`, in which the lower rate counts. `alpha` is the weight a of the teacher and
    `temperature` T in Vailakis 2022, eq. 5.1; phases without a teacher have none of them.
    kind: a key of `KINDS`. epochs: at least 1, and 0 for "ptq". learning_rate, factor: above 0.
    batch_size: at least 2. weight_decay: at least 0; intervals that are learnt do not decay.
    Raises `StudyError` for values that are not allowed.
    """

    kind: str
    epochs: int
    learning_rate: float = 0.1
    drops: tuple[int, ...] = ()
    factor: float = 0.2
    warm_up: float = 0
    batch_size: int = 64
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise StudyError(f"phase must be one of {', '.join(KINDS)}, not {self.kind!r}.")
        least = 0 if self.kind == "ptq" else 1
        if not whole(self.epochs) or self.epochs < least or (not least and self.epochs):
            allowed = "a whole number of at least 1" if least else "0 in post-training quantisation"
            raise StudyError(f"epochs must be {allowed}, not {self.epochs!r}.")
        for name in ("learning_rate", "factor"):
            value = getattr(self, name)
            if not number(value) or value <= 0:
                raise StudyError(f"{name} must be a number above 0, not {value!r}.")
        for name in ("warm_up", "weight_decay"):
            value = getattr(self, name)
            if not number(value) or value < 0:
                raise StudyError(f"{name} must be a number of at least 0, not {value!r}.")
        if not whole(self.batch_size) or self.batch_size < 2:
            raise StudyError(
                f"batch_size must be a whole number of at least 2, not {self.batch_size!r}."
            )
        object.__setattr__(self, "drops", _epochs(self.drops))

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, 0, 1, …, where an epoch has so many `steps`."""
        epoch, warm = step // steps, self.warm_up * steps
        rate = self.learning_rate * self.factor ** sum(epoch >= drop for drop in self.drops)
        return rate * min(1.0, (step + 1) / warm) if warm else rate


def _epochs(drops: Sequence[int]) -> tuple[int, ...]:
    if isinstance(drops, str) or not all(whole(drop) and drop >= 0 for drop in drops):
        raise StudyError(f"drops must be whole numbers of at least 0, not {drops!r}.")
    return tuple(drops)
