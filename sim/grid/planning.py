"""Configurations resolved to functions, and grouped by the program that executes them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from byzsim.engine import DynamicConfig, StaticConfig
from byzsim.models import MODELS
from byzsim.names import attack_spec, rule_spec
from byzsim.options import Args, varying
from byzsim.run_config import RunConfig
from byzsim.types import Spec


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


class Run(NamedTuple):
    """A configuration with its names resolved to functions, once; everything after takes this."""

    config: RunConfig
    rule: Spec
    attack: Spec
    static: StaticConfig
    dynamic: DynamicConfig


def resolve(config: RunConfig, n_classes: int) -> Run:
    """`Traced` options become part of the dynamic configuration; all other options shape the program."""
    rule, attack = rule_spec(config.rule), attack_spec(config.attack)
    rule_call, rule_args = call(rule.factory, config.rule_args)
    attack_call, attack_args = call(attack.factory, config.attack_args)
    static = StaticConfig(
        rule=rule_call,
        attack=attack_call,
        model=MODELS[config.model].factory(n_classes=n_classes, **config.model_args),
        optimizer=Call(getattr(optax, config.optimizer), tuple(sorted(config.optimizer_args.items()))),
        m=config.m,
        batch=config.batch,
        n_classes=n_classes,
        momentum=config.momentum,
        partition=config.partition,
        steps=config.steps,
    )
    dynamic = DynamicConfig(
        seed=jnp.uint32(config.seed),
        f=jnp.int32(config.f or 0),
        byz=jnp.isin(jnp.arange(config.m), jnp.array(config.byzantine or (), int)),
        lr=jnp.float32(config.lr),
        beta=jnp.float32(config.momentum_beta),
        dirichlet_alpha=jnp.float32(config.dirichlet_alpha),
        rule_args=rule_args,
        attack_args=attack_args,
    )
    return Run(config, rule, attack, static, dynamic)


class Group(NamedTuple):
    """Runs that one program executes."""

    static: StaticConfig
    runs: tuple[Run, ...]

    @property
    def dynamic(self) -> tuple[DynamicConfig, ...]:
        """What varies between the runs."""
        return tuple(run.dynamic for run in self.runs)


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Runs by program and number of epochs, in the order of their first member."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.static, run.config.epochs), []).append(run)
    return [Group(static, tuple(group)) for (static, _), group in groups.items()]


def plan(configs: Iterable[RunConfig], n_classes: int) -> list[Group]:
    """Resolve configurations and group them by program."""
    return grouped(resolve(config, n_classes) for config in configs)
