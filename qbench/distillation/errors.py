"""What distillation refuses."""

from qbench.errors import UserError


class DistillationError(UserError, ValueError):
    """What was asked cannot be distilled: the value and what is allowed."""
