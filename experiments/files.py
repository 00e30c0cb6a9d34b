"""Writing files: atomically, tables as markdown, tables as CSV."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from byzsim.experiments.errors import UserError

AXES = ("rule", "attack")
NOT_TEXT = frozenset({"", "none", "null", "na", "n/a", "<na>", "#n/a", "true", "false"})  # to readers of CSV


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old file or the whole new one, also after a crash."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Check that a file can be there, before the work whose result it is to hold.

    Raises:
        UserError: the path is a folder, or is in a folder that does not exist.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"cannot write {path}: it is a folder, or its parent folder does not exist")


def write_output(path: Path, text: str) -> None:
    """Write a file that the user has named.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def markdown_table(header: Iterable[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A markdown table."""
    words = [[str(word).replace("|", "\\|") for word in row] for row in (list(header), *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in (words[0], ["---"] * len(words[0]), *words[1:])]
    return "\n".join(lines)


def csv(frame: pd.DataFrame, float_format: str | None = None, axes: Sequence[str] = AXES) -> str:
    """CSV from which any reader restores the values, also `pandas.read_csv(path)` without options.

    Floats have all digits unless `float_format` says otherwise; lists and dicts are JSON. Text of the columns `axes`
    that readers would not take as text, such as the attacks nan and none, is written with its kind: "nan (attack)".
    """
    safe = {name: [_as_text(value, name) for value in frame[name]] for name in axes if name in frame}
    nested = {
        name: [json.dumps(value) if _is_nested(value) else value for value in frame[name]]
        for name in frame
        if frame[name].map(_is_nested).any()
    }
    return frame.assign(**safe, **nested).to_csv(index=False, float_format=float_format)


def _as_text(name: Any, kind: str) -> Any:
    if not isinstance(name, str):
        return name
    try:
        float(name)
    except ValueError:
        is_text = name.lower() not in NOT_TEXT
    else:
        is_text = False  # a number, nan or inf
    return name if is_text else f"{name} ({kind})"


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict)
