"""The exceptions that end a command with a message and without a traceback, and words that messages share."""

from collections.abc import Iterable

from byzsim import nearest


class UserError(Exception):
    """The input cannot be used: what was given, what was expected, what to do. Nothing has begun. Exit code 2."""


class Incomplete(Exception):
    """Some of the work failed or could not be written; the rest is done. What is missing, how to continue. Code 1."""


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in `known`, with the nearest names first."""
    return UserError(nearest.unknown(kind, given, known))


def counted(count: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{count} {noun}{'s' * (count != 1)}"
