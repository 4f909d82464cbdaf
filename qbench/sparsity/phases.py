"""How long, how fast and under which pressure one part of algorithm 1 trains.

Faraone 2021, algorithm 1: train, prune, retrain, and prune and retrain again for two iterations. A
phase is one training or one retraining; the pruning belongs to the retraining that it begins.
"""

from dataclasses import dataclass

from qbench.numbers import number, whole

from .errors import SparsityError


@dataclass(frozen=True)
class Phase:
    """One training or retraining: Adam with a learning rate that falls exponentially.

    The rate falls from `learning_rate` to `fall` times that over the steps of the phase, and begins
    anew in each phase. epochs: at least 1. fall: above 0, at most 1. batch_size: at least 2, as
    batch norm needs. strength: λ of eq. 3.3, at least 0. The thesis names neither optimiser nor
    rate nor λ; BinaryConnect and BinaryNet, whose networks these are, have Adam and a rate that
    falls like that. Adam divides a gradient by its usual size, so λ acts by its ratio to that.
    Raises `SparsityError` for values that are not allowed.
    """

    epochs: int
    learning_rate: float = 0.03
    fall: float = 0.01
    batch_size: int = 100
    strength: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            if not whole(value) or value < least:
                raise SparsityError(
                    f"{name} must be a whole number of at least {least}, not {value!r}."
                )
        if not number(self.learning_rate) or self.learning_rate <= 0:
            raise SparsityError(
                f"learning_rate must be a number above 0, not {self.learning_rate!r}."
            )
        if not number(self.fall) or not 0 < self.fall <= 1:
            raise SparsityError(f"fall must be above 0 and at most 1, not {self.fall!r}.")
        if not number(self.strength) or self.strength < 0:
            raise SparsityError(
                f"strength, the thesis' lambda, must be a number of at least 0, "
                f"not {self.strength!r}."
            )

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, 0, 1, …, of so many `steps` in the phase."""
        return self.learning_rate * self.fall ** (step / max(steps - 1, 1))


def check_share(name: str, value: object) -> None:
    """Raise `SparsityError` unless `value` is a threshold: at least 0 and below 1."""
    if not number(value) or not 0 <= value < 1:
        raise SparsityError(
            f"{name} must be at least 0 and below 1, where the weights end, not {value!r}."
        )
