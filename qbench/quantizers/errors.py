"""What the quantisers of weights and activations refuse."""

from qbench.errors import UserError


class QuantiserError(UserError, ValueError):
    """No such quantiser, or not for this tensor: the value and what is allowed."""
