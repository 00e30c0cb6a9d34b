"""What is said of a name that nothing has: the nearest ones, and all that there are."""

import difflib
import re
from collections.abc import Iterable


def unknown(kind: str, name: str, names: Iterable[str]) -> str:
    """A message about a name that is none of `names`, with the nearest ones."""
    known = sorted(names)
    return f"unknown {kind} {name!r}.{hint(name, known)} Known: {', '.join(known)}."


def hint(name: object, names: Iterable[str]) -> str:
    """The question whether one of these names was meant; nothing if none is near."""
    plain = {_plain(each): each for each in names}  # MultiKrum is multi_krum
    near = [plain[each] for each in difflib.get_close_matches(_plain(str(name)), plain, n=3, cutoff=0.5)]
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()
