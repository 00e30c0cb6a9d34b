"""Krum: the gradient that is closest to its nearest neighbours."""

import jax
import jax.numpy as jnp

from sim.ops import sq_distances
from sim.types import Aggregator, Entry, stateless


def krum() -> Aggregator:
    """The gradient with the smallest sum of squared distances to its m - f - 2 nearest others.

        s_i = sum of the m - f - 2 smallest ||g_i - g_j||^2, j != i;    g = g_argmin(s)

    Tolerates: f with m >= 2f + 3.
    Cost: O(m^2 d) for the Gram matrix, O(m^2 log m) to sort it.
    Choices: beyond the bound, at least one neighbour is always counted. Ties go to the lowest worker index.
        Rows that are not usable (`ops.usable_rows`) are infinitely far from everybody; if the score of every row
        is infinite, a usable row comes before one that is not.
    References: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine learning with adversaries: Byzantine tolerant
        gradient descent", NeurIPS 2017.
    """

    def rule(grads, rnd):
        m = len(grads)
        squared = sq_distances(grads)
        usable = jnp.isfinite(jnp.diagonal(squared))
        near = jnp.sort(squared.at[jnp.diag_indices(m)].set(-1.0), axis=1)[:, 1:]  # the worker itself comes first
        counted = jnp.arange(m - 1) < jnp.maximum(m - rnd.f - 2, 1)
        score = jnp.where(counted, near, 0.0).sum(axis=1)
        best = jnp.lexsort((jnp.arange(m), ~usable, score))[0]
        return grads[best], jax.nn.one_hot(best, m)

    return stateless(rule)


ENTRY = Entry(
    krum,
    source="Blanchard et al., NeurIPS 2017",
    max_f=lambda m: max((m - 3) // 2, 0),
    traits=frozenset({"permutation", "translation", "scale", "consensus", "selects_one", "filter"}),
    cost="m^2 d",
)
