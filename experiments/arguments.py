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


def _unboxed(boxes: str) -> str:
    """The words in the first parts of tyro's boxes, without frames, colours and help."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", boxes)
    lines = [line.strip("│| ") for line in text.splitlines() if line.startswith(("│", "|"))]
    parts = re.split(r"[─-]{5,}", " ".join(lines))
    words = [" ".join(part.split()) for part in parts]
    kept = [part for part in words if part and not part.startswith(("For full helptext", "Argument helptext"))]
    return " ".join(part.rstrip(".") + "." for part in kept)
