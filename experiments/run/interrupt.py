"""Ctrl-C in a process of our own: a few words, and the end at once.

KeyboardInterrupt will not do while JAX is at work. Raised in its garbage collector's callback it is lost, raised while
an extension module is imported it becomes an ImportError or a crash, and an exit would wait for what XLA computes.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Generator

WORDS = "Stopped. Finished cells are recorded; the same command goes on with the rest."
ours: bool = False  # the command line's process; a notebook or a test gets its KeyboardInterrupt as ever


@contextlib.contextmanager
def at_once(words: Callable[[], str] = lambda: WORDS) -> Generator[None]:
    """Within, Ctrl-C says the words and ends the process with 130: for work that a kill could not harm either."""
    if not ours:
        yield
        return

    def end(*_: object) -> None:
        with contextlib.suppress(OSError):  # nobody may read it
            os.write(2, f"\n{words()}\n".encode())
        os._exit(130)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
