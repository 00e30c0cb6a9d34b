"""Which examples each worker holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim import shards

LABELS = np.arange(400) % 4


def dirichlet(alpha, seed=0, m=7, labels=LABELS):
    return np.asarray(
        shards.dirichlet(jax.random.key(seed), jnp.asarray(labels), m, n_classes=4, alpha=jnp.float32(alpha))
    )


def iid(seed=0, m=7, labels=LABELS):
    return np.asarray(shards.iid(jax.random.key(seed), jnp.asarray(labels), m))


SPLITS = {
    "iid": iid,
    "dirichlet 100": lambda **where: dirichlet(100.0, **where),
    "dirichlet 0.05": lambda **where: dirichlet(0.05, **where),
}


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("m", [1, 7])
def test_equal_disjoint_and_from_the_key(split, m):
    index = split(m=m)
    assert index.shape == (m, 400 // m) and index.dtype == np.int32
    assert len(np.unique(index)) == index.size and index.min() >= 0 and index.max() < 400
    np.testing.assert_array_equal(index, split(m=m))
    assert (index != split(m=m, seed=1)).any()


def skew(index):
    """Mean over workers of the largest class's share; 0.25 if all are balanced."""
    return np.mean([np.bincount(LABELS[shard], minlength=4).max() / len(shard) for shard in index])


@pytest.mark.slow
def test_skew_grows_as_alpha_falls():
    measured = [np.mean([skew(dirichlet(alpha, seed)) for seed in range(5)]) for alpha in (100.0, 1.0, 0.05)]
    assert measured[0] + 0.1 < measured[1] < measured[2] - 0.1
    assert measured[0] == pytest.approx(np.mean([skew(iid(seed)) for seed in range(5)]), abs=0.06)


@pytest.mark.slow
def test_a_class_that_runs_out_is_not_drawn_again():
    labels = np.repeat([0, 1, 2, 3], [394, 2, 4, 0])
    index = dirichlet(0.1, labels=labels, m=4)
    assert len(np.unique(index)) == 400  # all examples, though most workers would rather have had other classes
