"""Minus the sum of the honest gradients."""

import jax.numpy as jnp

from sim.ops import weighted_sum
from sim.types import Attack, Entry, Traced, attack


def negation(*, factor: Traced = 1e10) -> Attack:
    """Every Byzantine row is minus the sum of all honest gradients, times a large constant ("model negation").

        g_byz = -factor * sum over honest i of g_i

    Args:
        factor: traced. BrSGD section 5.1: 1e10.
    Choices: the paper's authors published other code (one worker negates, the others send noise, no 1e10); this is
        the paper's text.
    References: Li et al., FTL-IJCAI 2021 (arXiv 2108.06658), section 5.1.
    """

    def grads(sent, byz, state, rnd):
        del rnd
        honest_sum = weighted_sum((~byz).astype(sent.dtype), sent)
        return jnp.broadcast_to(-factor * honest_sum, sent.shape), state

    return attack(grads=grads)


ENTRY = Entry(negation, source="Li et al., FTL-IJCAI 2021, section 5.1", traits=frozenset({"collusive"}))
