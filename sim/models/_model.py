"""A model as two pure functions, whatever library it is written in."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax import nnx
from jaxtyping import Array, Key

MODES: dict[str, Any] = {"train": True, "training": True, "is_training": True, "deterministic": False}
"""names of an argument of a Flax module that says whether it is trained, and its value in training"""


class Model(NamedTuple):
    """A model as the engine trains it."""

    init: Callable[[Key[Array, ""], Any], tuple[Any, Any]]
    """(key, inputs) -> (parameters, constants: what is not trained)"""
    apply: Callable[[Any, Any, Any, Key[Array, ""] | None], Array]
    """(parameters, constants, inputs, key) -> outputs; with a key in training, with None when it is measured"""
    draws: bool = False
    """it draws from the key in training"""
    in_turn: bool = False
    """on a CPU its gradients are computed one worker after another"""
    rewrites: bool = True
    """on a CPU its convolutions and pooling are replaced (`byzsim.convolutions`)"""

    def how(self) -> dict[str, Any]:
        """What a task that trains it takes over."""
        return {"draws": self.draws, "in_turn": self.in_turn, "rewrites": self.rewrites}


def as_model(given: Any) -> Model:
    """A `Model` from a Flax linen module, a function nnx.Rngs -> NNX module, or an object with `init` and `apply`.

    A linen module whose `__call__` has an argument train, training, is_training or deterministic, and an NNX module
    with dropout, get a fresh key for each worker and step in training, and none when they are measured.

    Args:
        given: init(key, inputs) -> parameters and apply(parameters, inputs) -> outputs, where it is not from Flax.
    Raises:
        ValueError: for anything else.
    """
    if isinstance(given, Model):
        return given
    if isinstance(given, nn.Module):
        return _linen(given)
    if callable(getattr(given, "init", None)) and callable(getattr(given, "apply", None)):
        return Model(
            lambda key, inputs: (given.init(key, inputs), ()),
            lambda params, constants, inputs, key: given.apply(params, inputs),
        )
    if callable(given):
        return _nnx(given)
    raise ValueError(
        f"a model is {type(given).__name__}; expected a Flax linen module, a function that makes an NNX module from "
        "nnx.Rngs, or an object with init(key, inputs) and apply(parameters, inputs)"
    )


def _linen(module: nn.Module) -> Model:
    mode = next((name for name in inspect.signature(type(module).__call__).parameters if name in MODES), None)

    def init(key, inputs):
        measured: dict[str, Any] = {} if mode is None else {mode: not MODES[mode]}
        variables = dict(module.init(key, inputs, **measured))
        return variables.pop("params", {}), variables or ()

    def apply(params, constants, inputs, key):
        variables = {**dict(constants), "params": params}
        if mode is None:
            return module.apply(variables, inputs)
        how: dict[str, Any] = (
            {mode: MODES[mode], "rngs": {"dropout": key}} if key is not None else {mode: not MODES[mode]}
        )
        return module.apply(variables, inputs, **how)

    return Model(
        init,
        apply,
        draws=mode is not None,
        in_turn=getattr(module, "workers_in_turn", False),
        rewrites=not getattr(module, "xla_convolutions", False),
    )


def _nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Model:
    graph, _, rngs, _ = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))), nnx.Param, nnx.RngState, ...)
    draws = bool(jax.tree.leaves(rngs))

    def init(key, inputs):
        del inputs
        _, params, _, constants = nnx.split(make(nnx.Rngs(key)), nnx.Param, nnx.RngState, ...)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(constants) or ()

    def apply(params, constants, inputs, key):
        fresh = make(nnx.Rngs(jax.random.key(0) if key is None else key))
        _, like, rngs, rest = nnx.split(fresh, nnx.Param, nnx.RngState, ...)
        nnx.replace_by_pure_dict(like, params)
        if constants:
            nnx.replace_by_pure_dict(rest, constants)
        module = nnx.merge(graph, like, rngs, rest)
        (module.eval if key is None else module.train)()
        return module(inputs)

    return Model(init, apply, draws=draws)
