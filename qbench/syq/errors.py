"""What the trainings of chapter 5 refuse."""

from qbench.errors import UserError


class SyqError(UserError, ValueError):
    """What was asked cannot be trained: the value and what is allowed."""
