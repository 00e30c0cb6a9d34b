"""A little is enough: hide a common shift inside the honest spread."""

from typing import Literal

import jax
import jax.numpy as jnp

from sim.ops import masked_mean, masked_std
from sim.types import Attack, Entry, Traced, attack


def alie(*, z: Traced | None = None, ddof: Literal[0, 1] = 0) -> Attack:
    """Every Byzantine row is the honest mean minus z honest standard deviations, coordinate by coordinate.

        g_byz = mu - z * sigma;    s = floor(m / 2 + 1) - n_byz,  z_max = Phi^-1((m - n_byz - s) / (m - n_byz))

    Args:
        z: number of standard deviations, traced. None: z_max of the formula, from m and the real n_byz, not below 0
            (few attackers give a negative value) and with s at least 1 (a majority would give infinity).
        ddof: 0 for the population deviation (the authors' code), 1 for the unbiased one (most others'). Static.
    Choices: mu and sigma are over the honest rows (the omniscient form); the authors estimate them from the
        attackers' own gradients. Minus, as in the authors' code; some others add.
    References: Baruch, Baruch, Goldberg, "A little is enough", NeurIPS 2019 (arXiv 1902.06156).
    """

    def grads(sent, byz, state, rnd):
        del rnd
        mean = masked_mean(sent, ~byz)
        shift = (z_max(byz) if z is None else z) * masked_std(sent, ~byz, mean, ddof=ddof)
        return jnp.broadcast_to(mean - shift, sent.shape), state

    return attack(grads=grads)


def z_max(byz):
    """The largest shift, in standard deviations, that still finds enough honest supporters; a traced scalar."""
    m, honest = len(byz), (~byz).sum()
    supporters = jnp.maximum(m // 2 + 1 - byz.sum(), 1)
    return jax.scipy.stats.norm.ppf(jnp.maximum((honest - supporters) / jnp.maximum(honest, 1), 0.5))


ENTRY = Entry(alie, source="Baruch et al., NeurIPS 2019", traits=frozenset({"collusive"}))
