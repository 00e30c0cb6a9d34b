"""Ctrl-C in a process of our own: a few words, and the end at once, with 130.

KeyboardInterrupt will not do while JAX is at work. Raised in its garbage collector's callback it is lost, raised while
an extension module is imported it becomes an ImportError or a crash, and an exit would wait for what XLA computes. So:

    while JAX works        `at_once`: a handler of our own says the words and leaves by `os._exit`
    while a batch trains   `apart`: XLA hears no signal, so it works in a thread, and the main thread waits and hears
    several processes      `without_python`: a wait for another process hears only the system's own handler
    at the very end        `leave`: what is done is done, and Python's way out is not to be taken for a kill

A notebook or a test, whose process is not ours, gets its KeyboardInterrupt as ever.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar

WORDS = "Stopped. Finished runs are recorded; the same command goes on with the rest."
CODE = 130
ours: bool = False  # the command line's process

T = TypeVar("T")


@contextlib.contextmanager
def at_once(words: Callable[[], str] = lambda: WORDS) -> Generator[None]:
    """Within, Ctrl-C says the words and ends the process: for work that a kill could not harm either."""
    if not ours:
        yield
        return

    def end(*_: object) -> None:
        with contextlib.suppress(OSError):  # nobody may read it
            os.write(2, f"\n{words()}\n".encode())
        os._exit(CODE)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def apart(work: Callable[[Callable[[], None]], T]) -> T:
    """work(check), in a thread: XLA does not listen to Ctrl-C, a waiting main thread does.

    After a Ctrl-C the work ends at its next `check()`.
    """
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise KeyboardInterrupt

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work, check).result()
    finally:
        stopped.set()
        pool.shutdown(wait=False)


def without_python() -> None:
    """From here on Ctrl-C ends the process as the system has it; Python's own handler does not run within a wait."""
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def leave(code: int) -> NoReturn:
    """End the process with this code; after a Ctrl-C at once, without waiting for what XLA computes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == CODE:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
