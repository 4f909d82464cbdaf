"""What the runtimes refuse, and what is said where one of their libraries is missing."""

from importlib import import_module
from types import ModuleType

from qbench.errors import UserError


class RuntimesError(UserError, ValueError):
    """What was asked cannot be exported, loaded or measured: the value and what is allowed."""


def library(name: str) -> ModuleType:
    """Import a library that only the runtimes need; `RuntimesError` where it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and something that it needs is not
            raise
        raise RuntimesError(
            f"this needs {name}, which is not installed: pip install 'qbench[runtimes]' brings it."
        ) from None


def whole(name: str, value: object, least: int) -> int:
    """`value`, a whole number of at least `least`; raises `RuntimesError` for anything else."""
    if not hasattr(value, "__index__") or isinstance(value, bool) or value.__index__() < least:
        raise RuntimesError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return value.__index__()
