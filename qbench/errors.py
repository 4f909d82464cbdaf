"""The errors whose message is a sentence for the user: the command line prints just that."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Says what was wrong and what is allowed, or what to do about it."""

    status = 1  # the command line's exit status


def nearest(known: Iterable[str], *words: object) -> str:
    """` (did you mean X?)`, X being what of `known` is most like each word; empty if nothing is."""
    names = list(known)
    near = [match for w in words for match in difflib.get_close_matches(str(w).lower(), names, 1)]
    return f" (did you mean {', '.join(near)}?)" if near else ""
