"""A fixed number of pieces of the sorted data for each worker."""

import jax
from byzsim.options import Count, checked
from byzsim.partitions._common import Partition, by_class, cut
from byzsim.types import Spec


@checked
def by_labels(*, pieces: Count = 2) -> Partition:
    """Examples in the order of their classes are cut into m * pieces equal pieces; each worker gets `pieces` of them.

    So a worker has at most `pieces` classes where the pieces are smaller than a class, or two more at their ends.

    Args:
        pieces: for each worker (static).
    References: McMahan et al., AISTATS 2017 (FedAvg, arXiv 1602.05629), the pathological split of MNIST: 2 pieces.
    """

    def deal(key, pool, m):
        sort_key, piece_key = jax.random.split(key)
        cuts = cut(by_class(sort_key, pool.labels), m * pieces)
        return jax.random.permutation(piece_key, cuts).reshape(m, -1)

    return Partition(deal)


SPEC = Spec(by_labels, source="McMahan et al., AISTATS 2017")
