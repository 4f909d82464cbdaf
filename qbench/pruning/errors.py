"""What this room refuses."""

from qbench.errors import UserError


class PruningError(UserError, ValueError):
    """What was asked cannot be done: one sentence with the value and what is allowed."""
