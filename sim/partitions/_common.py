"""What partitions share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key


class Pool(NamedTuple):
    """The training examples that are dealt out."""

    n: int
    labels: Any = None
    """classes, where there are classes"""
    n_classes: int | None = None


class Partition(NamedTuple):
    """How training examples are dealt out to workers."""

    deal: Callable[[Key[Array, ""], Pool, int], Int[Array, "m n"]]
    """(key, pool, m) -> the examples of each worker; -1 fills up shorter rows. The shape depends on pool.n and m"""
    equal: bool = True
    """no row is filled up"""
    needs_classes: bool = True
    """it reads the labels as classes"""


def cut(order: Int[Array, " n"], m: int) -> Int[Array, "m k"]:
    """k = n // m examples for each worker, in order; what is left over is not used."""
    k = len(order) // m
    return order[: m * k].reshape(m, k).astype(jnp.int32)


def by_owner(owner: Int[Array, " n"], m: int) -> Int[Array, "m n"]:
    """Shards of any size from the owner of each example (m: nobody), -1 at the end of each row."""
    order = jnp.argsort(owner, stable=True)
    count = jnp.bincount(owner, length=m)
    start = jnp.cumulative_sum(count) - count
    place = jnp.arange(len(owner))[None]
    return jnp.where(place < count[:, None], order[(start[:, None] + place) % len(owner)], -1).astype(jnp.int32)


def by_class(key: Key[Array, ""], labels: Int[Array, " n"]) -> Int[Array, " n"]:
    """All examples in the order of their classes, within a class at random."""
    shuffled = jax.random.permutation(key, len(labels))
    return shuffled[jnp.argsort(labels[shuffled], stable=True)]
