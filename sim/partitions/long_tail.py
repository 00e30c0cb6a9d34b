"""Classes of very different sizes, dealt out at random."""

import jax
import jax.numpy as jnp
from byzsim.options import Positive, checked
from byzsim.partitions._common import Partition, by_owner
from byzsim.types import Spec


@checked
def long_tail(*, ratio: Positive = 100.0) -> Partition:
    """Class c keeps a share ratio^(-c / (n_classes - 1)) of its examples; what is kept is dealt out at random.

    Shards are random, and their sizes differ by one at most.

    Args:
        ratio: the share of the first class over that of the last (traced).
    References: Cui, Jia, Lin, Song, Belongie, CVPR 2019 (arXiv 1901.05555), long-tailed CIFAR.
    """

    def deal(key, pool, m):
        order = jax.random.permutation(key, pool.n)
        labels = pool.labels[order]
        count = jnp.bincount(labels, length=pool.n_classes)
        share = jnp.asarray(ratio, jnp.float32) ** (-jnp.arange(pool.n_classes) / max(pool.n_classes - 1, 1))
        one_hot = jax.nn.one_hot(labels, pool.n_classes, dtype=jnp.int32)
        rank = (jnp.cumulative_sum(one_hot, axis=0) * one_hot).sum(axis=1) - 1  # within its class
        kept = rank < jnp.ceil(share * count)[labels]
        turn = jnp.cumulative_sum(kept) - 1
        return by_owner(jnp.zeros(pool.n, jnp.int32).at[order].set(jnp.where(kept, turn % m, m)), m)

    return Partition(deal, equal=False)


SPEC = Spec(long_tail, source="Cui et al., CVPR 2019")
