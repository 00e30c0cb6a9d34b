"""Command lines read with tyro, whose errors become ours."""

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

Given = TypeVar("Given")
WITH_COMMAS = frozenset({"--options", "--only", "--labels"})  # which read commas themselves, or have them in text


def parse_args(kind: type[Given], args: Sequence[str], *, prog: str, **default: Any) -> Given:
    """`tyro.cli`, with one message instead of a box for what it cannot read; lists also take commas, paths a ~.

    Raises:
        UserError: for an unknown option or a value of a wrong type.
        SystemExit: after the help that was asked for.
    """
    said = io.StringIO()
    words = list(_separated(args, set(_lists(kind)) - WITH_COMMAS))
    try:
        with contextlib.redirect_stderr(said):
            given = tyro.cli(kind, args=words, prog=prog, **default)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(f"{_unboxed(said.getvalue())} All options: {prog} --help") from None
    return _at_home(given)


def split(words: Iterable[str]) -> list[str]:
    """The members of a list that is written with spaces, commas or both."""
    return [part.strip() for word in words for part in word.split(",") if part.strip()]


def _lists(kind: Any) -> Iterator[str]:
    """The options that take several values."""
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from _lists(hint)
        elif typing.get_origin(hint) is tuple:
            yield "--" + name.replace("_", "-")


def _separated(args: Iterable[str], lists: set[str]) -> Iterator[str]:
    """The arguments, with what follows one of these options split at commas."""
    inside = False
    for arg in args:
        option, equals, value = arg.partition("=")
        if not arg.startswith("--"):
            yield from split([arg]) if inside else [arg]
        elif (inside := option.replace("_", "-") in lists) and equals:
            yield from [option, *split([value])]
        else:
            yield arg


def _at_home(given: Any) -> Any:
    """The same with the home folder for ~ in every path, which a shell leaves as it is in --results=~/folder."""
    paths = {name: value for name, value in vars(given).items() if isinstance(value, Path)}
    try:
        return dataclasses.replace(given, **{name: path.expanduser() for name, path in paths.items()})
    except RuntimeError:
        shown = ", ".join(str(path) for path in paths.values() if str(path).startswith("~"))
        raise UserError(f"{shown}: there is no such home folder; write the path in full") from None


def _unboxed(box: str) -> str:
    """The words of tyro's box without title, frame, colours and help; it has no frame where there is no UTF-8."""
    lines = [line.strip("│ ") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    framed = lines[0].startswith("╭")
    parts = re.split(r"[─-]{5,}", " ".join(line for line in lines if line[:1] not in ("╭", "╰")))
    words = [" ".join(part.split()) for part in parts[0 if framed else 1 :]]
    kept = [part for part in words if part and not part.startswith(("For full helptext", "Argument helptext"))]
    return " ".join(part.rstrip(".") + "." for part in kept)
