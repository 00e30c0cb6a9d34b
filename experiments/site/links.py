"""Links between files of the repository become links between pages of the site."""

import os.path
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from byzsim.experiments.site.markup import code

LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
FENCED = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
LANGUAGES = {".py": "python", ".csv": "text", ".toml": "toml", ".jsonl": "json", "": "text"}


def rewritten(text: str, origin: str, address: str, known: Mapping[str, str], root: Path) -> tuple[str, set[str]]:
    """(the text of a page with its links, files that became pages because they are linked).

    Args:
        text: Markdown.
        origin: the file that it is from, whose links are relative to its folder.
        address: where its page is.
        known: file -> address of its page.
        root: the repository.
    """
    needed: set[str] = set()

    def one(found: re.Match) -> str:
        target = found[2]
        if re.match(r"[a-z]+:", target) or target.startswith("/"):
            return found[0]
        path = os.path.normpath(PurePosixPath(origin).parent / target)
        place = known.get(path) or known.get(f"{path}/README.md") or _own(path, root, needed)
        if place is None:
            return found[0]  # MkDocs complains about it
        relative = os.path.relpath(place, PurePosixPath(address).parent)
        return f"{found[1]}{relative}{found[3] or ''}{found[4]}"

    parts = FENCED.split(text)
    return "".join(part if i % 2 else LINK.sub(one, part) for i, part in enumerate(parts)), needed


def _own(path: str, root: Path, needed: set[str]) -> str | None:
    """The page that shows a file of the repository."""
    if not (root / path).is_file():
        return None
    needed.add(path)
    return source_address(path)


def source_address(path: str) -> str:
    """Where the page of a source file is."""
    return f"source/{path}.md"


def source_page(path: str, root: Path) -> str:
    """A file as a page."""
    file = root / path
    shown = code(file.read_text(encoding="utf-8"), LANGUAGES.get(file.suffix, "text"))
    return f"---\ntitle: {file.name}\nsearch:\n  exclude: true\n---\n\n# {path}\n\n{shown}\n"
