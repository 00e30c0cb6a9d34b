"""Grouping of runs by the compiled program that they can share."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from byzsim.engine import DynamicConfig, StaticConfig
from byzsim.models import MODELS
from byzsim.names import attack_spec, rule_spec
from byzsim.options import Args, varying
from byzsim.run_config import RunConfig


class Call(NamedTuple):
    """A factory with its static options. Calls are compared by value, so equal programs are compiled once."""

    factory: Callable[..., Any]
    static: tuple[tuple[str, Any], ...]

    def __call__(self, *args: Any, **traced: Any) -> Any:
        return self.factory(*args, **dict(self.static), **traced)


def call(factory: Callable[..., Any], options: Args, dtype: Any = jnp.float32) -> tuple[Call, dict[str, jax.Array]]:
    """Split a factory's options, by its annotations: (factory with its static options, its traced options)."""
    traced = varying(factory, options)
    static = tuple((key, value) for key, value in sorted(options.items()) if key not in traced)
    return Call(factory, static), {key: jnp.asarray(value, dtype) for key, value in traced.items()}


class Group(NamedTuple):
    """Runs that share one program."""

    static: StaticConfig
    runs: tuple[RunConfig, ...]
    dynamic: tuple[DynamicConfig, ...]


def plan(runs: Sequence[RunConfig], n_classes: int) -> list[Group]:
    """Group the runs by program, in the order of each group's first run.

    Runs share a program if they have equally many epochs and differ only in what `DynamicConfig` holds: seed, f,
    Byzantine workers, learning rate, momentum, Dirichlet alpha, and options that factories annotate as `Traced`.
    """
    groups: dict[Any, list[RunConfig]] = {}
    for run_config in runs:
        groups.setdefault((_static(run_config, n_classes), run_config.epochs), []).append(run_config)
    return [Group(static, tuple(group), tuple(map(_dynamic, group))) for (static, _), group in groups.items()]


def _static(run_config: RunConfig, n_classes: int) -> StaticConfig:
    return StaticConfig(
        rule=call(rule_spec(run_config.rule).factory, run_config.rule_args)[0],
        attack=call(attack_spec(run_config.attack).factory, run_config.attack_args)[0],
        model=MODELS[run_config.model].factory(n_classes=n_classes, **run_config.model_args),
        optimizer=Call(getattr(optax, run_config.optimizer), tuple(sorted(run_config.optimizer_args.items()))),
        m=run_config.m,
        batch=run_config.batch,
        n_classes=n_classes,
        momentum=run_config.momentum,
        partition=run_config.partition,
        steps=run_config.steps,
    )


def _dynamic(run_config: RunConfig) -> DynamicConfig:
    return DynamicConfig(
        seed=jnp.uint32(run_config.seed),
        f=jnp.int32(run_config.f or 0),
        byz=jnp.isin(jnp.arange(run_config.m), jnp.array(run_config.byzantine or (), int)),
        lr=jnp.float32(run_config.lr),
        beta=jnp.float32(run_config.momentum_beta),
        dirichlet_alpha=jnp.float32(run_config.dirichlet_alpha),
        rule_args=call(rule_spec(run_config.rule).factory, run_config.rule_args)[1],
        attack_args=call(attack_spec(run_config.attack).factory, run_config.attack_args)[1],
    )
