"""Error messages about unknown names: they suggest the nearest names and list all that are known."""

import difflib
import re
from collections.abc import Iterable


def unknown(kind: str, name: str, names: Iterable[str]) -> str:
    """The message for a name that is not in `names`: the nearest names, and all names."""
    known = sorted(names)
    return f"unknown {kind} {name!r}.{hint(name, known)} Known: {', '.join(known)}."


def hint(name: object, names: Iterable[str]) -> str:
    """The sentence "Did you mean ...?" with the nearest names; empty if no name is near."""
    plain = {_plain(each): each for each in names}
    near = [plain[each] for each in difflib.get_close_matches(_plain(str(name)), plain, n=3, cutoff=0.5)]
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def _plain(name: str) -> str:
    """The name in lower case without punctuation, so that MultiKrum is near multi_krum."""
    return re.sub(r"[\W_]", "", name).casefold()
