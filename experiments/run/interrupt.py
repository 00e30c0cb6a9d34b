"""Ctrl-C. In the command line's own process it prints one message and ends the process at once, with exit code 130.

KeyboardInterrupt is not enough while JAX works: raised in the callback of JAX's garbage collection it is lost, raised
during the import of an extension module it becomes an ImportError or a crash, and a normal exit waits for XLA. So:

    while JAX works        `exit_on_sigint`: our handler prints the message and calls `os._exit`
    while runs train       `in_threads`: XLA ignores signals, so runs train in threads and the main thread waits
    several processes      `use_system_handler`: only the system's handler runs during a wait for another process
    at the very end        `exit_process`: the work is done, so a late Ctrl-C does not change the exit code

In a notebook or a test, where the process is not ours, Ctrl-C raises KeyboardInterrupt as usual.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NoReturn

MESSAGE = "Stopped. Finished runs are recorded; the same command continues with the rest."
EXIT_CODE = 130
is_cli_process: bool = False
"""whether this process is the command `byzsim`; `cli.script` sets it"""


@contextlib.contextmanager
def exit_on_sigint(message: Callable[[], str] = lambda: MESSAGE) -> Generator[None]:
    """Within the context, Ctrl-C prints the message and ends the process. For work that a kill cannot damage either."""
    if not is_cli_process:
        yield
        return

    def end(*_: object) -> None:
        with contextlib.suppress(OSError):  # stderr may be closed
            os.write(2, f"\n{message()}\n".encode())
        os._exit(EXIT_CODE)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def in_threads(works: Sequence[Callable[[Callable[[], None]], object]]) -> None:
    """Run work(check) of all works, each in a thread: XLA does not react to Ctrl-C, but a waiting main thread does.

    After Ctrl-C, and after the first exception, which is raised here, the other works end at their next `check()`.
    """
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise KeyboardInterrupt

    pool = ThreadPoolExecutor(len(works))
    try:
        for done in as_completed([pool.submit(work, check) for work in works]):
            done.result()
    finally:
        stopped.set()
        pool.shutdown(wait=False)


def use_system_handler() -> None:
    """From now on Ctrl-C has the system's default effect. Python's handler would not run while a collective waits."""
    if is_cli_process:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def exit_process(code: int) -> NoReturn:
    """End the process with this exit code; after Ctrl-C at once, without waiting for XLA."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == EXIT_CODE:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
