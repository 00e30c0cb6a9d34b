"""What the command prints, although the reader of a pipe may have closed it and a disk may be full.

Results are files, so output that cannot be printed is dropped and the work continues.
"""

import errno
import io
import os
import sys
from typing import Any


class Output(io.FileIO):
    """The descriptor of a stream, silent after the first write that fails."""

    lost: OSError | None = None

    def write(self, content: Any, /) -> int:
        """Write or drop all of the content."""
        if self.lost is None:
            try:
                return super().write(content)
            except OSError as error:
                self.lost = error
        return len(content)


def guard() -> None:
    """Make printing, and the flush when the process ends, never raise; closed streams lead to the null device."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:  # else a results file could get descriptor 1 or 2
        pass
    os.close(spare)
    for number, name in ((1, "stdout"), (2, "stderr")):
        before = getattr(sys, name)
        if isinstance(before, io.TextIOWrapper):
            before.flush()
        binary = io.BufferedWriter(Output(number, "w", closefd=False))
        encoding, lines = getattr(before, "encoding", "utf-8"), getattr(before, "line_buffering", False)
        setattr(
            sys,
            name,
            io.TextIOWrapper(binary, encoding=encoding, errors="backslashreplace", line_buffering=lines),
        )


def lost() -> str:
    """Why some of stdout was not written; "" if all was, or if the reader closed the pipe."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.lost if isinstance(raw, Output) else None
    return "" if error is None or error.errno == errno.EPIPE else error.strerror or str(error)


def log(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
