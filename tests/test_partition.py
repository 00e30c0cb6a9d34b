"""Which examples each worker holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim.partitions import PARTITIONS, Pool, given

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


# The other partitions


def shares(held, labels=LABELS):
    """(m, 4) counts of each class; -1 is no example."""
    return np.array([np.bincount(labels[shard[shard >= 0]], minlength=4) for shard in held])


def used_once(held):
    kept = held[held >= 0]
    return len(np.unique(kept)) == kept.size


@pytest.mark.parametrize("name", [name for name in PARTITIONS if name != "long_tail"])
def test_every_partition_uses_an_example_once_and_comes_from_the_key(name):
    held, same, other = (split(name, seed, 7, LABELS) for seed in (0, 0, 1))
    assert held.dtype == np.int32 and used_once(held) and held.max() < 400
    np.testing.assert_array_equal(held, same)
    assert (held != other).any()
    spec = PARTITIONS[name].factory()
    assert spec.equal == bool((held >= 0).all())
    if spec.equal:
        assert held.shape[1] == 400 // 7 or name == "by_labels"


def test_sorted_classes_are_neighbours():
    counts = shares(split("sorted_classes", 0, 8, LABELS))
    assert ((counts > 0).sum(axis=1) == 1).all() and counts.sum() == 400


def test_a_worker_has_as_many_pieces_as_asked_for():
    counts = shares(split("by_labels", 0, 10, LABELS, pieces=2))
    assert ((counts > 0).sum(axis=1) <= 2).all() and (counts.sum(axis=1) == 40).all()


@pytest.mark.parametrize(("gamma", "alike"), [(1.0, 40), (0.5, 20), (0.3, 12), (0.0, 0)])
def test_similarity_mixes_iid_and_sorted(gamma, alike):
    counts = shares(split("similarity", 0, 10, LABELS, gamma=gamma))
    assert (counts.sum(axis=1) == 40).all() and counts.sum() == 400
    largest = counts.max(axis=1)
    assert (largest >= (40 - alike) / 2).all()
    if gamma == 1:
        assert largest.max() < 22
    if gamma == 0:
        assert largest.min() >= 20 and ((counts > 0).sum(axis=1) <= 2).all()


def test_long_tail_keeps_less_of_each_class():
    held = split("long_tail", 0, 4, LABELS, ratio=64.0)
    counts = shares(held).sum(axis=0)
    assert counts.tolist() == [100, 25, 7, 2] and used_once(held)
    sizes = (held >= 0).sum(axis=1)
    assert sizes.max() - sizes.min() <= 1


def test_dirichlet_by_class_has_unequal_shards_with_every_example():
    held = split("dirichlet_by_class", 0, 7, LABELS, alpha=0.3)
    sizes = (held >= 0).sum(axis=1)
    assert sizes.sum() == 400 and sizes.std() > 10
    even = (split("dirichlet_by_class", 0, 7, LABELS, alpha=1e4) >= 0).sum(axis=1)
    assert even.std() < 12


def test_a_partition_of_ones_own():
    index = np.array([[0, 1, -1], [2, 3, 4]])
    made = given(index)
    np.testing.assert_array_equal(made.deal(jax.random.key(0), Pool(9), 2), index)
    assert not made.equal and given(index[:, :2]).equal
    for broken, message in ((index.astype(float), "whole numbers"), (index[0], "shape"), (index - 2, "-1")):
        with pytest.raises(ValueError, match=message):
            given(broken)
    with pytest.raises(ValueError, match="has 2 rows and indices up to 4; expected m=3 rows and indices below 9"):
        made.deal(jax.random.key(0), Pool(9), 3)
