"""What distillation refuses, and what it takes for a number."""

import math

from qbench.errors import UserError


class DistillationError(UserError, ValueError):
    """What was asked cannot be distilled: the value and what is allowed."""


def whole(value: object) -> bool:
    """Whether it is a whole number: no truth value, and nothing that JSON cannot hold."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: object) -> bool:
    """Whether it is a finite number: no truth value, and nothing that JSON cannot hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
