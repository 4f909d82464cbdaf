"""What a search refuses."""

import math
from numbers import Integral, Real

from qbench.errors import UserError


class EvolutionError(UserError, ValueError):
    """What was asked cannot be searched: one sentence with the value and what is allowed."""


def is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether `value` is a number; infinite ones and NaN are."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_whole(name: str, value: object, least: int) -> None:
    if not is_whole(value) or value < least:
        raise EvolutionError(f"{name} must be a whole number of at least {least}, not {value!r}.")


def check_not_negative(name: str, value: object) -> None:
    if not is_number(value) or not math.isfinite(value) or value < 0:
        raise EvolutionError(f"{name} must be a finite number of at least 0, not {value!r}.")
