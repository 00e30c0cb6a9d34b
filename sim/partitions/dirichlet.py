"""Label skew with equal shards."""

import jax
import jax.numpy as jnp
from byzsim.options import Positive, checked
from byzsim.partitions._common import Partition, by_class
from byzsim.types import Spec

LEAST = 1e-30  # as alpha: below, classes come in the same order, each until it runs out, and logarithms would overflow


@checked
def dirichlet(*, alpha: Positive = 1.0) -> Partition:
    """Equal shards with label skew: the classes of worker i follow q_i ~ Dirichlet(alpha, ..., alpha).

    Workers take turns. Each draws a class from its own q_i among the classes that have examples left, and takes an
    unused example of that class, until all shards are full. So shards are disjoint and of one size n // m, and the skew
    is exactly q_i until a class runs out.

    Args:
        alpha: small means few classes a worker, however small (log q_i is drawn, as q_i itself would be 0); large
            means close to i.i.d. (traced).
    References: Hsu, Qi, Brown, "Measuring the effects of non-identical data distribution for federated visual
        classification", 2019 (arXiv 1909.06335), who fill equal clients the same way, one client after another.
    """

    def deal(key, pool, m):
        labels, n_classes, n = pool.labels, pool.n_classes, pool.n // m
        skew_key, turn_key, order_key = jax.random.split(key, 3)
        log_q = jax.nn.log_softmax(jax.random.loggamma(skew_key, jnp.maximum(alpha, LEAST), (m, n_classes)))
        count = jnp.bincount(labels, length=n_classes)
        start = jnp.cumulative_sum(count) - count
        examples = by_class(order_key, labels)
        noise = jax.random.gumbel(turn_key, (n * m, n_classes))

        def turn(used, draw):
            worker, gumbel = draw
            label = jnp.argmax(jnp.where(used < count, log_q[worker] + gumbel, -jnp.inf))
            return used.at[label].add(1), examples[start[label] + used[label]]

        _, taken = jax.lax.scan(turn, jnp.zeros_like(count), (jnp.tile(jnp.arange(m), n), noise))
        return taken.reshape(n, m).T.astype(jnp.int32)

    return Partition(deal)


SPEC = Spec(dirichlet, source="Hsu, Qi, Brown 2019", revision=2)  # 2: small alphas were skewed less before
