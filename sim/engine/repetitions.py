"""Independent repetitions of a run inside one program: the same run with the next seeds, side by side under `vmap`.

Repetition r is the run whose seeds are all larger by r. What is measured is the mean over repetitions, and as NAME_sd
the sample standard deviation. One repetition is the run itself, with the program that it had before.
"""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from byzsim.engine import steps
from byzsim.engine.configs import DynamicConfig, StaticConfig
from byzsim.engine.measures import EpochMetrics
from byzsim.task import Examples
from jaxtyping import Array, Bool, Float

SEEDS: Any = DynamicConfig(*(cast(Any, 0 if name == "seeds" else None) for name in DynamicConfig._fields))
"""of all that may vary in a program, only seeds differ between repetitions"""


def _repeated(f: Callable[..., Any], n_own: int, n_shared: int) -> Callable[..., Any]:
    """f(static, dynamic, ...), of whose further arguments every repetition has its own first `n_own`."""

    @functools.wraps(f)
    def over_repetitions(static: StaticConfig, dynamic: DynamicConfig, *args: Any) -> Any:
        if static.repetitions == 1:
            return f(static, dynamic, *args)
        seeds = dynamic.seeds[None] + jnp.arange(static.repetitions, dtype=jnp.uint32)[:, None]
        axes = (SEEDS, *[0] * n_own, *[None] * n_shared)
        return jax.vmap(functools.partial(f, static), in_axes=axes)(dynamic._replace(seeds=seeds), *args)

    return over_repetitions


start = _repeated(steps.start, 0, 1)
start_of_members = _repeated(steps.start_of_members, 1, 0)
start_without_members = _repeated(steps.start_without_members, 0, 1)
order = _repeated(steps.order, 1, 1)
_train_steps = _repeated(steps.train_steps, 2, 1)


def train_steps(static: StaticConfig, dynamic: DynamicConfig, state: Any, order: Any, train: Examples) -> Any:
    """`steps.train_steps`, of whose step metrics and traces the means over repetitions are returned."""
    state, *found = _train_steps(static, dynamic, state, order, train)
    return state, *(found if static.repetitions == 1 else jax.tree.map(lambda leaf: leaf.mean(axis=0), found))


def measure(
    static: StaticConfig, params: Array, constants: Any, data: Any, train: Examples, test: Examples
) -> tuple[dict[str, Float[Array, ""]], Bool[Array, ""]]:
    """(means and standard deviations of what `steps.measure` finds, whether any repetition has diverged)"""
    if static.repetitions == 1:
        return steps.measure(static, params, constants, data, train, test)
    axes = (0, 0, 0, None, None)
    found, diverged = jax.vmap(functools.partial(steps.measure, static), in_axes=axes)(
        params, constants, data, train, test
    )
    means = {name: values.mean() for name, values in found.items()}
    return means | {f"{name}_sd": values.std(ddof=1) for name, values in found.items()}, diverged.any()


def epoch(
    static: StaticConfig, dynamic: DynamicConfig, state: Any, train: Examples, test: Examples
) -> tuple[Any, EpochMetrics]:
    """All steps up to the next measurement, then the measurement."""
    state, of_steps, trace = train_steps(static, dynamic, state, order(static, dynamic, state, train), train)
    found, diverged = measure(static, state.params, state.constants, state.data, train, test)
    return state, EpochMetrics(found, of_steps, diverged, trace)
