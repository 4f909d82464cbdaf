"""What this room refuses."""

from qbench.errors import UserError


class StudyError(UserError, ValueError):
    """What was asked cannot be trained: one sentence with the value and what is allowed."""
