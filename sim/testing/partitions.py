"""The contract of partitions."""

from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim.partitions import PARTITIONS, Partition, Pool
from byzsim.testing._contract import Case, Promise, check, made_by, spec_of

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), 24))  # 120 examples of 5 classes
WORKERS = (6, 7)


def check_partition(partition: Any, *, only: Collection[str] = ()) -> Case:
    """Check what every partition promises, with 120 examples of 5 classes and 6 or 7 workers.

    Every partition promises
        shape: `deal` can be traced by JAX and returns whole numbers (m, n), whose shape depends on the number of
            examples and of workers alone.
        indices: an example is dealt out at most once; -1 fills up the end of a row, and no row where `equal` is True.
        key: the same key deals out the same.
        labels: without `needs_classes` the labels are not read.

    Args:
        partition: a name in `byzsim.PARTITIONS`, a `Spec`, a factory, or a `Partition`.
        only: names of promises; default: all.
    Returns:
        {name: promise} of those that are kept.
    Raises:
        BrokenPromise: with each broken promise and an input that breaks it.
        ValueError: `partition` cannot be checked, or there is no such promise.
    """
    name, spec = spec_of(partition, PARTITIONS, Partition)
    return check(name, made_by(spec, Partition), spec.traits, PARTITION_PROMISES, only)


def dealt(partition: Partition, labels: Any, m: int, seed: int = 0) -> np.ndarray:
    """The examples of each worker."""
    n_classes = None if labels is None else int(np.max(labels)) + 1
    pool = Pool(len(LABELS) if labels is None else len(labels), labels, n_classes)
    return np.asarray(partition.deal(jax.random.key(seed), pool, m))


def _shape(partition: Partition, labels: np.ndarray, m: int) -> str | None:
    def deal(key: Any, labels: Any) -> Any:
        return partition.deal(key, Pool(len(labels), labels, 5), m)

    found = jax.eval_shape(deal, jax.random.key(0), jnp.asarray(labels))
    whole = hasattr(found, "dtype") and jnp.issubdtype(found.dtype, jnp.integer)
    if not whole or found.ndim != 2 or len(found) != m:
        return f"it deals out {found}; expected whole numbers ({m}, n)"
    return None


def _indices(partition: Partition, labels: np.ndarray, m: int) -> str | None:
    rows = dealt(partition, jnp.asarray(labels), m)
    held = rows[rows >= 0]
    if rows.min() < -1 or rows.max() >= len(labels):
        return f"it deals out {rows.min()} to {rows.max()}; expected 0 to {len(labels) - 1}, or -1"
    if len(np.unique(held)) < len(held):
        return f"it deals out example {np.bincount(held).argmax()} {np.bincount(held).max()} times"
    if (np.diff((rows >= 0).astype(int), axis=1) > 0).any():
        return "-1 stands before an example"
    return "a row is filled up with -1, and `equal` is True" if partition.equal and len(held) < rows.size else None


def _key(partition: Partition, labels: np.ndarray, m: int) -> str | None:
    one, two = (dealt(partition, jnp.asarray(labels), m) for _ in range(2))
    return None if np.array_equal(one, two) else "the same key deals out something else"


def _labels(partition: Partition, m: int) -> str | None:
    if not partition.needs_classes:
        dealt(partition, None, m)
    return None


def _cases(partition: Partition) -> Iterator[Case]:
    yield from ({"labels": LABELS, "m": m} for m in WORKERS)


PARTITION_PROMISES: dict[str, Promise] = {
    "shape": Promise("whole numbers (m, n), in a shape that is known before", _shape, _cases),
    "indices": Promise("an example is dealt out at most once, and -1 only fills up", _indices, _cases),
    "key": Promise("the same key deals out the same", _key, _cases),
    "labels": Promise(
        "without `needs_classes` labels are not read", _labels, lambda partition: ({"m": m} for m in WORKERS)
    ),
}
"""the contract that `check_partition` checks"""
