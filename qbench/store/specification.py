"""What is asked for: a method, its version and its parameters; and the key made from them."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

Spec = Mapping[str, Any]
NOT_IN_SPEC = ("checkpoint",)  # how a result is reached, not what it is


def method(version: int, *, repeatable: bool = True) -> Callable[[Callable], Callable]:
    """Mark a function `(**parameters) -> DataFrame` whose results may be stored.

    Raise `version` whenever a change alters the numbers: results of other versions are not used.
    `repeatable` is False for what measures times: no second run gives the same.
    """

    def mark(function: Callable) -> Callable:
        function.qbench_version = version
        function.qbench_repeatable = repeatable
        return function

    return mark


def spec(function: Callable, /, **parameters: Any) -> dict[str, Any]:
    """The specification of `function(**parameters)`, defaults filled in."""
    bound = inspect.signature(function).bind(**parameters)
    bound.apply_defaults()
    values = {name: value for name, value in bound.arguments.items() if name not in NOT_IN_SPEC}
    return {"method": name_of(function), "version": function.qbench_version, "parameters": values}


def name_of(function: Callable) -> str:
    """What specifications and the store's folders call a method: its module and its name."""
    return f"{function.__module__.removeprefix('qbench.')}.{function.__name__}"


def key(spec: Spec) -> str:
    """20 hexadecimal digits of the SHA-256 of the specification's canonical JSON.

    A number is what it is worth: 4 and 4.0 ask the same question.
    """
    text = json.dumps(_plain(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def title(spec: Spec) -> str:
    """What messages call a result."""
    return f"{spec['method']} {key(spec)[:8]}"


def _plain(value: Any) -> Any:
    """`value` with whole numbers as integers, however they were written."""
    if type(value) in (str, int, bool):  # most are, and listing a store asks for each of them
        return value
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
