"""The exceptions that end a command with a message and no traceback."""

from collections.abc import Iterable

from byzsim import nearest


class UserError(Exception):
    """What was given, what was expected, and what to do, before anything is begun: exit code 2."""


class Incomplete(Exception):
    """Some of the work could not be done or kept; the rest is. What is missing and how to go on: exit code 1."""


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in `known`, with the nearest names first."""
    return UserError(nearest.unknown(kind, given, known))
