"""What is taken for a number (no truth value, nothing that JSON cannot hold), and how it is set."""

import math
import re

#: Code, tags and targets of links, whose hyphens stay; else a hyphen that is a number's sign.
_HYPHEN = re.compile(
    r"(`+).*?\1|</?[a-zA-Z][^<>]*>|\]\([^()\s]*\)|(?<![\w.,%)\]−–-])-(?=\.?\d)", re.DOTALL
)


def whole(value: object) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def with_minus(text: str) -> str:
    """`text` with a minus sign where a hyphen is a number's sign; code, tags and links stay."""
    return _HYPHEN.sub(lambda found: found[0] if found[0] != "-" else "−", text)
