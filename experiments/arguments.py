"""Command lines, read with tyro; its errors become UserErrors."""

import contextlib
import dataclasses
import io
import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from byzsim.experiments.errors import UserError

OptionsT = TypeVar("OptionsT")
WITH_COMMAS = frozenset({"--options", "--only", "--labels"})  # their values contain commas


def parse_args(kind: type[OptionsT], args: Sequence[str], *, prog: str, **default: Any) -> OptionsT:
    """`tyro.cli`, with one-line errors; lists may also be separated by commas, and ~ in a path is the home folder.

    Raises:
        UserError: for an unknown option or a value of a wrong type.
        SystemExit: after printing the help.
    """
    printed = io.StringIO()
    words = list(_separated(args, set(_list_options(kind)) - WITH_COMMAS))
    try:
        with contextlib.redirect_stderr(printed):
            options = tyro.cli(kind, args=words, prog=prog, **default)
    except SystemExit as end:
        if not end.code:
            raise
        raise UserError(f"{_unboxed(printed.getvalue())} All options: {prog} --help") from None
    return _with_home(options)


def split(words: Iterable[str]) -> list[str]:
    """The items of a list that is separated by spaces, commas or both."""
    return [part.strip() for word in words for part in word.split(",") if part.strip()]


def _list_options(kind: Any) -> Iterator[str]:
    """The options that take several values."""
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from _list_options(hint)
        elif typing.get_origin(hint) is tuple:
            yield "--" + name.replace("_", "-")


def _separated(args: Iterable[str], lists: set[str]) -> Iterator[str]:
    """The arguments, with the values of these options split at commas."""
    inside = False
    for arg in args:
        option, equals, value = arg.partition("=")
        if not arg.startswith("--"):
            yield from split([arg]) if inside else [arg]
        elif (inside := option.replace("_", "-") in lists) and equals:
            yield from [option, *split([value])]
        else:
            yield arg


def _with_home(options: Any) -> Any:
    """Expand ~ in every path; a shell does not expand it in --results=~/folder."""
    paths = {name: value for name, value in vars(options).items() if isinstance(value, Path)}
    try:
        return dataclasses.replace(options, **{name: path.expanduser() for name, path in paths.items()})
    except RuntimeError:
        shown = ", ".join(str(path) for path in paths.values() if str(path).startswith("~"))
        raise UserError(f"{shown}: there is no such home folder; give the full path") from None


def _unboxed(box: str) -> str:
    """The text of tyro's error box without title, frame, colours and help; without UTF-8 the box has no frame."""
    lines = [line.strip("│ ") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    framed = lines[0].startswith("╭")
    parts = re.split(r"[─-]{5,}", " ".join(line for line in lines if line[:1] not in ("╭", "╰")))
    words = [" ".join(part.split()) for part in parts[0 if framed else 1 :]]
    kept = [part for part in words if part and not part.startswith(("For full helptext", "Argument helptext"))]
    return " ".join(part.rstrip(".") + "." for part in kept)
