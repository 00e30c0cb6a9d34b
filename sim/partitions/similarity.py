"""A share of the examples i.i.d., the rest in the order of classes."""

import jax
import jax.numpy as jnp
from byzsim.options import Share, checked
from byzsim.partitions._common import Partition, by_class, by_owner
from byzsim.types import Spec


@checked
def similarity(*, gamma: Share = 0.5) -> Partition:
    """Equal shards, i.i.d. for a share gamma of their examples, and in the order of classes for the rest.

    Args:
        gamma: 1 is i.i.d.; 0 gives each worker neighbours in the order of classes, so one or two classes where there
            are at least as many workers as classes (traced).
    References: Karimireddy et al., ICML 2020 (SCAFFOLD, arXiv 1910.06378), "s % similar" data; byzfl calls it
        gamma_similarity_niid.
    """

    def deal(key, pool, m):
        order_key, sort_key = jax.random.split(key)
        size = pool.n // m
        alike = jnp.floor(gamma * size + 1e-3).astype(jnp.int32)  # 0.3 x 10 is 3, in float32 too
        turn = jnp.argsort(jax.random.permutation(order_key, pool.n))  # the place of each example in a random order
        ordered = by_class(sort_key, pool.labels)
        rest = turn >= m * alike
        place = jnp.zeros(pool.n, jnp.int32).at[ordered].set(jnp.cumsum(rest[ordered]) - 1)  # among the rest, by class
        neighbour = jnp.minimum(place // jnp.maximum(size - alike, 1), m)
        owner = jnp.where(rest, jnp.where(size > alike, neighbour, m), turn % m)
        return by_owner(owner, m)[:, :size]

    return Partition(deal)


SPEC = Spec(similarity, source="Karimireddy et al., ICML 2020")
