"""What the trainings of chapter 6 refuse."""

from qbench.errors import UserError


class AddnetError(UserError, ValueError):
    """What was asked cannot be trained: the value and what is allowed."""
