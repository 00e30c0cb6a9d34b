"""The extreme: neighbours in the order of classes."""

from byzsim.options import checked
from byzsim.partitions._common import Partition, by_class, cut
from byzsim.types import Spec


@checked
def sorted_classes() -> Partition:
    """Equal shards, cut from the examples in the order of their classes: a worker has one or two classes, or a few."""
    return Partition(lambda key, pool, m: cut(by_class(key, pool.labels), m))


SPEC = Spec(sorted_classes, source="the extreme of Karimireddy et al., ICML 2020; byzfl calls it extreme_niid")
