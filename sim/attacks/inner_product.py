"""Inner product manipulation: turn the average against the true gradient."""

import jax.numpy as jnp

from sim.ops import masked_mean
from sim.types import Attack, Entry, Traced, attack


def inner_product(*, epsilon: Traced = 0.1) -> Attack:
    """Every Byzantine row is -epsilon times the honest mean ("fall of empires").

        g_byz = -epsilon * (1 / (m - n_byz)) * sum over honest i of g_i

    Args:
        epsilon: traced. Default 0.1, as in the code of Karimireddy et al. 2021; other sources use 0.2, 1 or 2.
    References: Xie, Koyejo, Gupta, "Fall of empires: breaking Byzantine-tolerant SGD by inner product
        manipulation", UAI 2019.
    """

    def grads(sent, byz, state, rnd):
        del rnd
        return jnp.broadcast_to(-epsilon * masked_mean(sent, ~byz), sent.shape), state

    return attack(grads=grads)


ENTRY = Entry(inner_product, source="Xie et al., UAI 2019", traits=frozenset({"collusive"}))
