"""The exceptions that end a command with a message and no traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What was given, what was expected, and what to do, before anything is begun: exit code 2."""


class Incomplete(Exception):
    """Some of the work could not be done or kept; the rest is. What is missing and how to go on: exit code 1."""


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in `known`, with the nearest names first."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return UserError(f"unknown {kind} {given!r}.{hint} Known: {', '.join(names)}.")
