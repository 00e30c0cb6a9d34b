"""What a process of our own prints, where the reader of a pipe may have gone and a disk may be full.

Results are files, so what cannot be printed is no reason to stop: it is dropped, and the work goes on.
"""

import errno
import io
import os
import sys


class Output(io.FileIO):
    """A stream's descriptor, silent from the first write on that fails."""

    lost: OSError | None = None

    def write(self, content, /):
        """All of the content is written or dropped."""
        if self.lost is None:
            try:
                return super().write(content)
            except OSError as error:
                self.lost = error
        return len(content)


def guard() -> None:
    """Let nothing that is printed, nor the flush at the process's end, raise; streams that were closed go nowhere."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:  # else a file of results could become number 1 or 2
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
    """Why not all of stdout was written; nothing if it was, or if its reader wanted no more."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.lost if isinstance(raw, Output) else None
    return "" if error is None or error.errno == errno.EPIPE else error.strerror or str(error)
