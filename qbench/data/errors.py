"""What can go wrong with data."""

from __future__ import annotations

from qbench.errors import UserError


class DataError(UserError, RuntimeError):
    """A data set could not be had, or is not what it should be. The message is one sentence."""


class UnknownDataSet(UserError, ValueError):
    """There is no data set of that name."""

    status = 2


class Unavailable(Exception):
    """A source cannot give its files; the message says why not."""


class Damaged(ValueError):
    """A file is not in its format; the message ends a sentence that begins with the file."""


def reason(error: BaseException) -> str:
    """An exception in one line without a full stop, for use inside a sentence."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
