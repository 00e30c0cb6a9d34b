"""A partition of one's own, as an array of indices."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from byzsim.partitions._common import Partition


def given(index: Any) -> Partition:
    """The partition that an array gives: row i has the examples of worker i, and -1 where it has no more.

    Args:
        index: whole numbers (m, n).
    Raises:
        ValueError: for another shape or kind of array, or an index below -1.
    """
    rows = np.asarray(index)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer) or (rows < -1).any():
        raise ValueError(
            f"a partition is {rows.dtype} of shape {rows.shape}; expected whole numbers (m, n): row i has the examples "
            "of worker i, and -1 where it has no more"
        )

    def deal(key, pool, m):
        del key
        if len(rows) != m or rows.max() >= pool.n:
            raise ValueError(
                f"the partition has {len(rows)} rows and indices up to {rows.max()}; expected m={m} rows and indices "
                f"below {pool.n}, the number of training examples"
            )
        return jnp.asarray(rows, jnp.int32)

    return Partition(deal, equal=bool((rows >= 0).all()), needs_classes=False)
