"""Which training examples each worker holds: equal disjoint shards, as index arrays made from a key."""

import jax
import jax.numpy as jnp
from byzsim.types import Traced
from jaxtyping import Array, Int, Key

MIN_ALPHA = (
    1e-30  # as alpha: below, classes come in the same order, each until it runs out, and logarithms would overflow
)


DIRICHLET = 2  # revision: small alphas were skewed less before


def iid(key: Key[Array, ""], labels: Int[Array, " n_train"], m: int) -> Int[Array, "m n"]:
    """A random equal split: n = n_train // m examples for each worker; what is left over is not used."""
    n = len(labels) // m
    return jax.random.permutation(key, len(labels))[: m * n].reshape(m, n).astype(jnp.int32)


def dirichlet(
    key: Key[Array, ""], labels: Int[Array, " n_train"], m: int, *, n_classes: int, alpha: Traced
) -> Int[Array, "m n"]:
    """Equal shards with label skew: worker i's classes follow q_i ~ Dirichlet(alpha, ..., alpha).

    Workers take turns; each draws a class from its own q_i among the classes that have examples left, and takes an
    unused example of it, until all shards are full. So shards are disjoint and of one size n = n_train // m, and the
    skew is exactly q_i until a class runs out. Small alpha: few classes a worker, however small (log q_i is drawn, as
    q_i itself would be 0); large alpha: i.i.d.

    References: Hsu, Qi, Brown, "Measuring the effects of non-identical data distribution for federated visual
        classification", 2019 (arXiv 1909.06335), who fill equal clients the same way, one client after another.
    """
    n = len(labels) // m
    skew_key, turn_key, order_key = jax.random.split(key, 3)
    log_q = jax.nn.log_softmax(jax.random.loggamma(skew_key, jnp.maximum(alpha, MIN_ALPHA), (m, n_classes)))
    count = jnp.bincount(labels, length=n_classes)
    start = jnp.cumulative_sum(count) - count
    shuffled = jax.random.permutation(order_key, len(labels))
    by_class = shuffled[jnp.argsort(labels[shuffled], stable=True)]
    noise = jax.random.gumbel(turn_key, (n * m, n_classes))

    def turn(used, draw):
        worker, gumbel = draw
        label = jnp.argmax(jnp.where(used < count, log_q[worker] + gumbel, -jnp.inf))
        return used.at[label].add(1), by_class[start[label] + used[label]]

    _, taken = jax.lax.scan(turn, jnp.zeros_like(count), (jnp.tile(jnp.arange(m), n), noise))
    return taken.reshape(n, m).T.astype(jnp.int32)
