"""What every file of ours is made with: writing it whole, tables as markdown, tables as CSV."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

MEMBERS = ("rule", "attack")
TAKEN = frozenset({"", "none", "null", "na", "n/a", "<na>", "#n/a", "true", "false"})  # for something else than text


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader, or a crash half-way, never meets a part of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def markdown_table(header: Iterable[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A markdown table."""
    words = [[str(word).replace("|", "\\|") for word in row] for row in (list(header), *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in (words[0], ["---"] * len(words[0]), *words[1:])]
    return "\n".join(lines)


def csv(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """CSV that any reader gets back as it was, `pandas.read_csv(path)` without options among them.

    Floats are in full, or as said; lists and dicts are JSON.

    A rule or attack whose name readers take for something else, as the attacks nan, inf and none, is written with what
    it is: "nan (attack)".
    """
    safe = {name: [_member(value, name) for value in frame[name]] for name in MEMBERS if name in frame}
    nested = {name: frame[name].map(_flat) for name in frame if frame[name].map(_is_nested).any()}
    return frame.assign(**safe, **nested).to_csv(index=False, float_format=float_format)


def _member(name: str, kind: str) -> str:
    return f"{name} ({kind})" if _is_taken(name) else name


def _is_taken(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return name.lower() in TAKEN
    return True  # a number, or nan or inf


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict)


def _flat(value: Any) -> Any:
    return json.dumps(value) if _is_nested(value) else value
