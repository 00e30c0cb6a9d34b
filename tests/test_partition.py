"""Which examples each worker holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim.partitions import PARTITIONS, Pool

LABELS = np.arange(400) % 4


def split(name, seed, m, labels, **options):
    pool = Pool(len(labels), jnp.asarray(labels), 4)
    return np.asarray(PARTITIONS[name].factory(**options).deal(jax.random.key(seed), pool, m))


def dirichlet(alpha, seed=0, m=7, labels=LABELS):
    return split("dirichlet", seed, m, labels, alpha=jnp.float32(alpha))


def iid(seed=0, m=7, labels=LABELS):
    return split("iid", seed, m, labels)


SPLITS = {
    "iid": iid,
    "dirichlet 100": lambda **where: dirichlet(100.0, **where),
    "dirichlet 0.05": lambda **where: dirichlet(0.05, **where),
}


@pytest.mark.slow
@pytest.mark.parametrize("deal", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("m", [1, 7])
def test_equal_disjoint_and_from_the_key(deal, m):
    index = deal(m=m)
    assert index.shape == (m, 400 // m) and index.dtype == np.int32
    assert len(np.unique(index)) == index.size and index.min() >= 0 and index.max() < 400
    np.testing.assert_array_equal(index, deal(m=m))
    assert (index != deal(m=m, seed=1)).any()


def skew(index):
    """Mean over workers of the largest class's share; 0.25 if all are balanced."""
    return np.mean([np.bincount(LABELS[shard], minlength=4).max() / len(shard) for shard in index])


@pytest.mark.slow
def test_skew_grows_as_alpha_falls():
    measured = [np.mean([skew(dirichlet(alpha, seed)) for seed in range(5)]) for alpha in (100.0, 1.0, 0.05)]
    assert measured[0] + 0.1 < measured[1] < measured[2] - 0.1
    assert measured[0] == pytest.approx(np.mean([skew(iid(seed)) for seed in range(5)]), abs=0.06)


def classes_by_hand(log_gammas, gumbels, count, m):
    """How many classes a worker has on average: turns as documented, in float64."""
    left, found = [count] * log_gammas.shape[1], [set() for _ in range(m)]
    for turn, noise in enumerate(gumbels):
        q = log_gammas[turn % m] + noise
        best = max((c for c in range(len(q)) if left[c]), key=lambda c: q[c])
        left[best] -= 1
        found[turn % m].add(best)
    return np.mean([len(each) for each in found])


@pytest.mark.slow
def test_classes_of_a_worker_fall_with_alpha_however_small():
    """10 workers, 10 classes of 140: as many classes in a shard as where log q is drawn in float64."""
    labels, draw, seeds = jnp.repeat(jnp.arange(10), 140), np.random.default_rng(0), 24
    make, pool = PARTITIONS["dirichlet"].factory, Pool(len(labels), labels, 10)
    deal = jax.jit(jax.vmap(lambda key, a: make(alpha=a).deal(key, pool, 10), (0, None)))
    keys, measured = jax.vmap(jax.random.key)(jnp.arange(seeds)), []
    for alpha in (1e-2, 3e-3, 1e-6, 1e-38):
        held = np.asarray(labels)[np.asarray(deal(keys, jnp.float32(alpha)))]
        measured.append(np.mean([len(np.unique(shard)) for each in held for shard in each]))
        exact = []
        for _ in range(seeds):
            log_gammas = np.log(draw.gamma(1 + alpha, size=(10, 10))) + np.log(draw.uniform(size=(10, 10))) / alpha
            exact.append(classes_by_hand(log_gammas, draw.gumbel(size=(1400, 10)), 140, 10))
        assert measured[-1] == pytest.approx(np.mean(exact), abs=0.3), alpha
    assert measured[0] > measured[1] > measured[2] == pytest.approx(measured[3], abs=0.05)


@pytest.mark.parametrize("alpha", [1e-2, 1e-38])
def test_small_alpha_uses_every_example_once(alpha):
    assert len(np.unique(dirichlet(alpha, m=4))) == 400


@pytest.mark.slow
def test_a_class_that_runs_out_is_not_drawn_again():
    labels = np.repeat([0, 1, 2, 3], [394, 2, 4, 0])
    index = dirichlet(0.1, labels=labels, m=4)
    assert len(np.unique(index)) == 400  # all examples, though most workers would rather have had other classes
