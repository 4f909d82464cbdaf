"""What the hardware models refuse."""

from qbench.errors import UserError


class HardwareError(UserError, ValueError):
    """What was asked cannot be built or estimated: the value and what is allowed."""
