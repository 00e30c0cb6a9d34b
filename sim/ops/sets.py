"""Static sets of workers: they are computed with NumPy before compilation."""

import functools
import itertools

import numpy as np
from jaxtyping import Bool, Int


@functools.cache
def subsets(m: int, size: int) -> Bool[np.ndarray, "n m"]:
    """All subsets of `size` of m workers as masks, in lexicographic order. The array is cached: do not change it."""
    kept = np.array(list(itertools.combinations(range(m), size)), int)
    masks = np.zeros((len(kept), m), bool)
    masks[np.arange(len(kept))[:, None], kept] = True
    return masks


def groups(m: int, r: int) -> Int[np.ndarray, " m"]:
    """The group of each of m workers if r consecutive workers form a group; workers left over join the last group."""
    return np.minimum(np.arange(m) // r, m // r - 1)
