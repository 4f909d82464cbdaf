"""What the models refuse."""

from qbench.errors import UserError


class ModelError(UserError, ValueError):
    """No such network, or sizes that it cannot have, or what cannot be done with it."""
