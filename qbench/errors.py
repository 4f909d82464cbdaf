"""The errors whose message is a sentence for the user: the command line prints just that."""


class UserError(Exception):
    """Says what was wrong and what is allowed, or what to do about it."""

    status = 1  # the command line's exit status
