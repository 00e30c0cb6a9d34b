"""Every worker draws from the same distribution."""

import jax
from byzsim.options import checked
from byzsim.partitions._common import Partition, cut
from byzsim.types import Spec


@checked
def iid() -> Partition:
    """A random equal split: n // m examples for each worker; what is left over is not used."""
    return Partition(lambda key, pool, m: cut(jax.random.permutation(key, pool.n), m), needs_classes=False)


SPEC = Spec(iid, source="the setting of most theorems")
