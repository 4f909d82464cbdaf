"""What this room refuses."""

from qbench.errors import UserError


class CombiningError(UserError, ValueError):
    """What was asked cannot be combined: one sentence with the value and what is allowed."""
