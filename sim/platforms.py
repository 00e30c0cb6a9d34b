"""Code for one platform: a branch that is traced alone where the platform of the program is known."""

import contextlib
import contextvars
from collections.abc import Callable, Generator
from typing import Any

import jax

_known: contextvars.ContextVar[str | None] = contextvars.ContextVar("platform", default=None)


@contextlib.contextmanager
def known(platform: str) -> Generator[None]:
    """What is traced within the context is compiled for this platform, "cpu" or another."""
    token = _known.set(platform)
    try:
        yield
    finally:
        _known.reset(token)


def on_cpu(*args: Any, cpu: Callable[..., Any], default: Callable[..., Any]) -> Any:
    """cpu(*args) on a CPU, else default(*args).

    Without `known`, JAX traces both and chooses when it lowers the program.
    """
    if (platform := _known.get()) is None:
        return jax.lax.platform_dependent(*args, cpu=cpu, default=default)
    return cpu(*args) if platform == "cpu" else default(*args)
