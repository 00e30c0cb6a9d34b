"""All attackers copy one honest worker, who is then overrepresented."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sim.ops import masked_mean, per_row, weighted_sum
from sim.types import Attack, Count, Entry, Reading, attack, checked


class State(NamedTuple):
    """What is learned during the warm-up."""

    mean: Float[Array, " d"]
    """running mean of the honest means"""
    z: Float[Array, " d"]
    """unit vector along which honest workers differ the most"""
    target: Int[Array, ""]
    """who is copied"""


@checked
def mimic(*, target: Literal["learned", "first"] = "learned", warmup: Count = 100) -> Attack:
    """Every Byzantine row is a copy of one honest worker's, the one that stands out along a learned direction.

        mu <- t / (t + 1) mu + 1 / (t + 1) mean_i g_i,     u = sum_i <g_i - mu, z> (g_i - mu)
        z <- unit(t / (t + 1) z + 1 / (t + 1) unit(u)),    target = argmax_i <z, g_i>,    over honest i, t = 0, 1, ...

    Args:
        target: "learned" as above, or always the "first" honest worker (byzfl's and RCL's plain form). Static.
        warmup: steps in which z and the target move; after them the target stays. Static. The paper: an epoch.
    State: mu, z and the target, 2d + 1 numbers.
    Choices: u takes the new mu. Before step 0, z is the unit vector of g_k - mean_i g_i with k the first honest
        worker: the direction has to start somewhere, and this needs no draw (the authors draw it). unit(0) = 0. Ties
        go to the lowest index. t is the step.
    Raises:
        ValueError: for a warm-up below 1.
    References: Karimireddy, He, Jaggi, "Byzantine-robust learning on heterogeneous datasets via bucketing", ICLR 2022
        (arXiv 2006.09365); github epfml/byzantine-robust-noniid-optimizer.
    """

    def grads(sent, byz, state, rnd):
        if target == "first":
            return jnp.broadcast_to(sent[jnp.argmin(byz)], sent.shape), state
        learned = _learn(sent, byz, state, rnd.step)
        state = State(*(jnp.where(rnd.step < warmup, new, old) for new, old in zip(learned, state, strict=True)))
        return jnp.broadcast_to(sent[state.target], sent.shape), state

    def init(m, d):
        del m
        return State(jnp.zeros(d), jnp.zeros(d), jnp.int32(0))

    return attack(grads=grads, init=init, own=False)


def _learn(sent, byz, state, t):
    honest = masked_mean(sent, ~byz)
    keep = (t / (t + 1)).astype(sent.dtype)
    mean = keep * state.mean + (1 - keep) * honest
    z = jnp.where(t == 0, _unit(sent[jnp.argmin(byz)] - honest), state.z)
    along = jnp.where(byz, 0.0, per_row(lambda row: jnp.vdot(row - mean, z), sent))
    spread = weighted_sum(along, sent) - along.sum() * mean
    z = _unit(keep * z + (1 - keep) * _unit(spread))
    products = jnp.where(byz, -jnp.inf, per_row(lambda row: jnp.vdot(row, z), sent))
    return State(mean, z, jnp.argmax(products).astype(jnp.int32))


def _unit(vector):
    length = jnp.linalg.norm(vector)
    return vector / jnp.where(length > 0, length, 1.0)


ENTRY = Entry(
    mimic,
    source="Karimireddy et al., ICLR 2022",
    traits=frozenset({"collusive", "stateful"}),
    readings=(
        Reading("karimireddy2022", {}, "the worker that stands out along a learned direction", "epfml (noniid)"),
        Reading("byzfl", {"target": "first"}, "the first honest worker", "byzfl 0.0.11, RCL"),
    ),
)
