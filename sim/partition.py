"""The split of the training set among the workers: equal disjoint shards, as arrays of indices."""

import jax
import jax.numpy as jnp
from byzsim.types import Traced
from jaxtyping import Array, Int, Key

MIN_ALPHA = 1e-30  # a smaller alpha counts as this: the split would be the same, and logarithms would overflow
DIRICHLET = 2  # revision of `dirichlet`: in revision 1 small alphas gave less skew


def iid(key: Key[Array, ""], labels: Int[Array, " n_train"], m: int) -> Int[Array, "m n"]:
    """A random equal split: n = n_train // m examples for each worker; the remaining examples are not used."""
    n = len(labels) // m
    return jax.random.permutation(key, len(labels))[: m * n].reshape(m, n).astype(jnp.int32)


def dirichlet(
    key: Key[Array, ""], labels: Int[Array, " n_train"], m: int, *, n_classes: int, alpha: Traced
) -> Int[Array, "m n"]:
    """Equal shards with label skew: the classes of worker i follow q_i ~ Dirichlet(alpha, ..., alpha).

    The workers take turns until all shards are full. In its turn worker i draws a class from q_i, restricted to the
    classes with unused examples, and takes an unused example of that class. So the shards are disjoint, all have
    n = n_train // m examples, and worker i's classes follow q_i exactly until a class has no unused example. A small
    alpha gives few classes to each worker, a large alpha an i.i.d. split. The code draws log q_i, since q_i itself
    would underflow for small alpha.

    Args:
        key: random key.
        labels: the training labels.
        m: number of workers.
        n_classes: number of classes.
        alpha: parameter of the Dirichlet distribution, above 0.

    References: Hsu, Qi, Brown, "Measuring the effects of non-identical data distribution for federated visual
        classification", 2019 (arXiv 1909.06335), who fill equal clients the same way, one client after another.
    """
    n = len(labels) // m
    skew_key, turn_key, order_key = jax.random.split(key, 3)
    log_q = jax.nn.log_softmax(jax.random.loggamma(skew_key, jnp.maximum(alpha, MIN_ALPHA), (m, n_classes)))
    # by_class has the examples in random order within each class; class c begins at start[c]
    count = jnp.bincount(labels, length=n_classes)
    start = jnp.cumulative_sum(count) - count
    shuffled = jax.random.permutation(order_key, len(labels))
    by_class = shuffled[jnp.argsort(labels[shuffled], stable=True)]
    noise = jax.random.gumbel(turn_key, (n * m, n_classes))

    def turn(used: Int[Array, " k"], draw: tuple[Array, Array]) -> tuple[Int[Array, " k"], Int[Array, ""]]:
        worker, gumbel = draw
        # the argmax of log q + Gumbel noise is a draw from q; classes without unused examples are excluded
        label = jnp.argmax(jnp.where(used < count, log_q[worker] + gumbel, -jnp.inf))
        return used.at[label].add(1), by_class[start[label] + used[label]]

    _, taken = jax.lax.scan(turn, jnp.zeros_like(count), (jnp.tile(jnp.arange(m), n), noise))
    return taken.reshape(n, m).T.astype(jnp.int32)
