"""Settings and checks of the process that computes."""

import contextlib
import os
from collections.abc import Generator

import jax

_first_pid: int | None = None  # the process in which JAX was used first


def not_forked() -> None:
    """Check that this process was not forked after JAX had started. Call it before anything is computed.

    The first call stores the process's id.

    Raises:
        RuntimeError: this process is a fork of the one of the first call. A fork has none of XLA's threads and would
            wait for them for ever.
    """
    global _first_pid
    _first_pid = _first_pid or os.getpid()
    if _first_pid != os.getpid():
        raise RuntimeError(
            f"process {os.getpid()} is a fork of process {_first_pid}, in which JAX had started: it would hang. Use "
            "the start method 'spawn', as in multiprocessing.get_context('spawn').Pool() or "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn')), or fork before JAX is used."
        )


@contextlib.contextmanager
def non_finite() -> Generator[None]:
    """Allow NaN and infinities: switch `jax_debug_nans` and `jax_debug_infs` off while the context is open."""
    with jax.debug_nans(False), jax.debug_infs(False):
        yield
