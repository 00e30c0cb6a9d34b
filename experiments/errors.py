"""The exceptions that end a command with a message and no traceback."""

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """What was given, what was expected, and what to do, before anything is begun: exit code 2."""


class Incomplete(Exception):
    """Some of the work could not be done or kept; the rest is. What is missing and how to go on: exit code 1."""


def nearest(given: str, known: Iterable[str]) -> list[str]:
    """At most three names that are like the given one, the most alike first; case and punctuation do not count."""
    plain = {_plain(name): name for name in known}
    return [plain[near] for near in difflib.get_close_matches(_plain(given), plain, n=3, cutoff=0.5)]


def _plain(name: str) -> str:
    """FashionMNIST and fashion_mnist are one."""
    return re.sub(r"[\W_]", "", name).casefold()


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in `known`, with the nearest names first."""
    names = sorted(known)
    near = nearest(given, names)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return UserError(f"unknown {kind} {given!r}.{hint} Known: {', '.join(names)}.")
