"""Which cells share a program, and what varies between them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from byzsim.cell import Cell
from byzsim.engine import Knobs, Program
from byzsim.models import MODELS
from byzsim.names import attack_entry, rule_entry
from byzsim.options import Args, varying


class Call(NamedTuple):
    """A factory with its static options: equal by value, so that equal programs are found in the cache."""

    make: Callable[..., Any]
    static: tuple[tuple[str, Any], ...]

    def __call__(self, *args: Any, **traced: Any) -> Any:
        return self.make(*args, **dict(self.static), **traced)


def call(make: Callable[..., Any], options: Args, dtype: Any = jnp.float32) -> tuple[Call, dict[str, jax.Array]]:
    """(factory with its static options, its traced ones), as its annotations have them."""
    traced = varying(make, options)
    static = tuple((key, value) for key, value in sorted(options.items()) if key not in traced)
    return Call(make, static), {key: jnp.asarray(value, dtype) for key, value in traced.items()}


class Group(NamedTuple):
    """Cells that one program runs, with what varies between them."""

    program: Program
    cells: tuple[Cell, ...]
    knobs: tuple[Knobs, ...]


def plan(cells: Sequence[Cell], n_classes: int) -> list[Group]:
    """Cells by program, in the order of their first member. `Traced` options vary; all others shape the program."""
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        groups.setdefault((_program(cell, n_classes), cell.epochs), []).append(cell)
    return [Group(program, tuple(group), tuple(map(_knobs, group))) for (program, _), group in groups.items()]


def _program(cell: Cell, n_classes: int) -> Program:
    return Program(
        rule=call(rule_entry(cell.rule).make, cell.rule_args)[0],
        attack=call(attack_entry(cell.attack).make, cell.attack_args)[0],
        model=MODELS[cell.model].make(n_classes=n_classes, **cell.model_args),
        optimizer=Call(getattr(optax, cell.optimizer), tuple(sorted(cell.optimizer_args.items()))),
        m=cell.m,
        batch=cell.batch,
        n_classes=n_classes,
        momentum=cell.momentum,
        sharding=cell.sharding,
        steps=cell.steps,
    )


def _knobs(cell: Cell) -> Knobs:
    return Knobs(
        seed=jnp.uint32(cell.seed),
        f=jnp.int32(cell.f or 0),
        byz=jnp.isin(jnp.arange(cell.m), jnp.array(cell.byzantine or (), int)),
        lr=jnp.float32(cell.lr),
        beta=jnp.float32(cell.momentum_beta),
        dirichlet_alpha=jnp.float32(cell.dirichlet_alpha),
        rule_args=call(rule_entry(cell.rule).make, cell.rule_args)[1],
        attack_args=call(attack_entry(cell.attack).make, cell.attack_args)[1],
    )
