"""What holds for the process in which something is computed."""

import contextlib
import os

import jax

_worked_in: int | None = None  # the process in which something was computed first


def not_forked() -> None:
    """To be called before anything is computed: notes the process the first time.

    Raises:
        RuntimeError: in a copy of that process made by `fork`, which has none of XLA's threads and would wait for them
            for ever.
    """
    global _worked_in
    _worked_in = _worked_in or os.getpid()
    if _worked_in != os.getpid():
        raise RuntimeError(
            f"process {os.getpid()} is a fork of process {_worked_in}, in which JAX had started: it would hang. Use "
            "the start method 'spawn', as in multiprocessing.get_context('spawn').Pool() or "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn')), or fork before JAX is used."
        )


@contextlib.contextmanager
def non_finite():
    """What is not finite is a result: JAX does not look for it within (`jax_debug_nans`, `jax_debug_infs`)."""
    with jax.debug_nans(False), jax.debug_infs(False):
        yield
