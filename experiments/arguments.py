"""Command lines read with tyro, whose errors become ours."""

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from experiments.errors import UserError

Given = TypeVar("Given")


def parsed(kind: type[Given], args: Sequence[str], *, prog: str, **default: Any) -> Given:
    """`tyro.cli`, with one message instead of a box for what it cannot read.

    Raises:
        UserError: for an unknown option or a value of a wrong type.
        SystemExit: after the help that was asked for.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=args, prog=prog, **default)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(f"{_unboxed(said.getvalue())} All options: {prog} --help") from None


def _unboxed(box: str) -> str:
    """The words of tyro's box without title, frame, colours and help; it has no frame where there is no UTF-8."""
    lines = [line.strip("│ ") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    framed = lines[0].startswith("╭")
    parts = re.split(r"[─-]{5,}", " ".join(line for line in lines if line[:1] not in ("╭", "╰")))
    words = [" ".join(part.split()) for part in parts[0 if framed else 1 :]]
    kept = [part for part in words if part and not part.startswith(("For full helptext", "Argument helptext"))]
    return " ".join(part.rstrip(".") + "." for part in kept)
