"""Label skew with shards of different sizes."""

import jax
from byzsim.options import Positive, checked
from byzsim.partitions._common import Partition, by_owner
from byzsim.types import Spec


@checked
def dirichlet_by_class(*, alpha: Positive = 1.0) -> Partition:
    """Unequal shards: the examples of class c go to workers by shares p_c ~ Dirichlet(alpha, ..., alpha) over workers.

    Each example draws its worker from p_c, so sizes differ between workers, more so for a small alpha, and a worker may
    get none, which is refused before a run.

    Args:
        alpha: small means that few workers share a class (traced).
    References: Li, Diao, Chen, He, ICDE 2022 (arXiv 2102.02079), distribution-based label imbalance.
    """

    def deal(key, pool, m):
        share_key, draw_key = jax.random.split(key)
        log_p = jax.nn.log_softmax(jax.random.loggamma(share_key, alpha, (pool.n_classes, m)))
        return by_owner(jax.random.categorical(draw_key, log_p[pool.labels]), m)

    return Partition(deal, equal=False)


SPEC = Spec(dirichlet_by_class, source="Li et al., ICDE 2022")
