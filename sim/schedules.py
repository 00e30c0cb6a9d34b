"""Learning-rate schedules by name: steps done before this one -> a factor on the learning rate."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from byzsim.nearest import unknown
from byzsim.options import JSON_TYPES, Args, plain
from jaxtyping import Array, Float, Int

Schedule = Callable[[Int[Array, ""]], Float[Array, ""]]
FIRST = ("init_value", "value")  # what optax calls the rate at step 0; a factor has 1 there


def step_decay(*, every: int, factor: float = 0.1) -> Schedule:
    """`factor` once more after each `every` steps: 1, ..., 1, factor, ..., factor, factor^2, ..."""
    return lambda step: jnp.float32(factor) ** (step // every)


def piecewise(*, at: tuple[int, ...], factors: tuple[float, ...]) -> Schedule:
    """1 before the first step of `at`, and factors[i] from step at[i] on.

    Raises:
        ValueError: if there are not as many steps as factors, or steps do not rise.
    """
    if len(at) != len(factors) or list(at) != sorted(set(at)):
        raise ValueError(f"piecewise: at={at}, factors={factors}; expected as many rising steps as factors")
    values = jnp.asarray([1.0, *factors], jnp.float32)
    return lambda step: values[jnp.searchsorted(jnp.asarray(at), step, side="right")]


OURS: dict[str, Callable[..., Schedule]] = {"step_decay": step_decay, "piecewise": piecewise}


def known() -> dict[str, Callable[..., Schedule]]:
    """Ours, and those of optax (all but the constant one) by its own names, as factors that begin at 1."""
    theirs = {name: made for name, made in vars(optax).items() if name.endswith("_schedule")}
    firsts = {name: first for name, made in theirs.items() if (first := _first(made)) and name != "constant_schedule"}
    return OURS | {name: functools.partial(theirs[name], **{first: 1.0}) for name, first in sorted(firsts.items())}


def _first(made: Callable[..., Any]) -> str | None:
    return next((name for name in FIRST if name in inspect.signature(made).parameters), None)


def schedule_args(name: str, given: Args) -> Args:
    """The options of a schedule, defaults filled in.

    Raises:
        ValueError: for an unknown schedule or option, an option that is missing, or values that the schedule refuses.
    """
    if name == "constant":
        if given:
            raise ValueError(f"the constant schedule has no options, got {dict(given)}")
        return {}
    if name not in known():
        raise ValueError(unknown("schedule", name, ["constant", *known()]))
    make = known()[name]
    parameters = inspect.signature(make).parameters
    if strange := set(given) - set(parameters):
        raise ValueError(f"schedule {name} has no option {sorted(strange)[0]!r}. Known: {', '.join(parameters)}")
    filled = {key: each.default for key, each in parameters.items() if key not in FIRST}
    filled = {key: _hashable(plain(given.get(key, default))) for key, default in filled.items()}
    missing = [key for key, value in filled.items() if value is inspect.Parameter.empty]
    if missing:
        raise ValueError(f"schedule {name} needs {missing[0]}: give it as {name}.{missing[0]}=...")
    filled = {key: value for key, value in filled.items() if key in given or isinstance(value, JSON_TYPES)}
    try:
        factor = jax.eval_shape(make(**filled), jax.ShapeDtypeStruct((), np.int32))
    except Exception as error:  # whatever optax makes of what it does not expect
        raise ValueError(f"schedule {name} cannot be used with options {dict(given)}: {error}") from error
    if factor.shape != ():
        raise ValueError(f"schedule {name} gives an array {factor.shape}; expected one number a step")
    return filled


def _hashable(value: Any) -> Any:
    """A list, as a table or JSON has it, as a tuple: the options are a part of what a program is found by."""
    return tuple(value) if isinstance(value, list) else value


def schedule(name: str, **args: Any) -> Schedule:
    """The function of a schedule whose options are filled in."""
    return known()[name](**args)
