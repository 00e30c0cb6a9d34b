"""Gaussian noise in place of gradients."""

import jax
import jax.numpy as jnp

from sim.types import Attack, Entry, Traced, attack


def gaussian(*, sigma: Traced = 200.0) -> Attack:
    """Byzantine rows are drawn from N(0, sigma^2 I), afresh for each worker and step.

    Args:
        sigma: standard deviation in gradient units, traced. BrSGD section 5.1 and Zeno's code: 200.
    Cost: d normal draws for each Byzantine worker (rows are drawn under a `cond`, since they are most of the cost).
    References: Li et al., FTL-IJCAI 2021 (arXiv 2108.06658), section 5.1; Xie et al., ICML 2019.
    """

    def grads(sent, byz, state, rnd):
        def row(i):
            def draw():
                return sigma * jax.random.normal(jax.random.fold_in(rnd.key, i), sent.shape[1:], sent.dtype)

            return jax.lax.cond(byz[i], draw, lambda: sent[i])

        return jax.lax.map(row, jnp.arange(len(sent))), state

    return attack(grads=grads)


ENTRY = Entry(gaussian, source="Li et al., FTL-IJCAI 2021, section 5.1", traits=frozenset({"stochastic"}))
