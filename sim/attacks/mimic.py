"""All attackers copy one honest worker, who is then overrepresented."""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp
from byzsim.ops import masked_mean, per_row_sum, weighted_sum
from byzsim.ops.random import normals
from byzsim.options import Count, Natural, checked
from byzsim.types import Attack, Context, Spec, Variant, make_attack
from jaxtyping import Array, Bool, Float, Int


class State(NamedTuple):
    """What is learned during the warm-up."""

    mean: Float[Array, " d"]
    """running mean of the honest means"""
    z: Float[Array, " d"]
    """unit vector along which honest workers differ the most"""
    target: Int[Array, ""]
    """who is copied"""


@checked
def mimic(*, target: Literal["learned", "drawn", "first"] | Natural = "learned", warmup: Count = 100) -> Attack:
    """Every Byzantine row is a copy of one honest worker's, the one farthest out along a learned direction.

    ```text
    mu <- t / (t + 1) mu + 1 / (t + 1) mean_i g_i,     u = sum_i <g_i - mu, z> (g_i - mu)
    z <- unit(t / (t + 1) z + 1 / (t + 1) unit(u)),    target = argmax_i <z, g_i>,    over honest i, t = 0, 1, ...
    ```

    Args:
        target: the worker that is copied; static. "learned" as above; "drawn", the same from a random start z; "first",
            the first honest worker; or the position of one among the honest workers, from 0 (byzfl, byzpy: 0).
        warmup: number of steps in which z and the target change; after them the target stays. Static. The paper: an
            epoch; the authors' scripts: 1 step; 100 is byzsim's own.

    Raises:
        ValueError: `warmup` is below 1, or a position is below 0 or not below m.

    Notes:
        The state holds mu, z and the target, 2d + 1 numbers. u uses the new mu. Before step 0, z is the unit vector of
        g_k - mean_i g_i, where k is the first honest worker: this start needs no draw, and with a warm-up of 1 it often
        makes that worker the target, or one near it. The authors draw z from N(0, I), with the same seed in every run:
        that is "drawn", as jax.random.normal(ctx.key, (d,)) of step 0. unit(0) = 0. Ties go to the lowest index. t is
        the step. A position beyond the last honest worker means the last one. A rule that selects rows gives the weight
        of several copies to the one of lowest index (`Info.weight`), which may be the honest worker's own.

    References:
        Karimireddy, He, Jaggi, "Byzantine-robust learning on heterogeneous datasets via bucketing", ICLR 2022
        (arXiv 2006.09365); github epfml/byzantine-robust-noniid-optimizer.
    """

    def grads(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        if target not in ("learned", "drawn"):
            place = 0 if target == "first" else target
            if place >= len(updates):
                raise ValueError(f"mimic: target={target} is no place among the honest of {len(updates)} workers")
            honest = jnp.argsort(byz, stable=True)
            return jnp.broadcast_to(updates[honest[jnp.minimum(place, (~byz).sum() - 1)]], updates.shape), state
        draw = functools.partial(normals, ctx.key, updates.shape[1]) if target == "drawn" else None
        learned = _learn(updates, byz, state, ctx.step, draw)
        state = State(*(jnp.where(ctx.step < warmup, new, old) for new, old in zip(learned, state, strict=True)))
        return jnp.broadcast_to(updates[state.target], updates.shape), state

    def init(m: int, d: int) -> State:
        del m
        return State(jnp.zeros(d), jnp.zeros(d), jnp.int32(0))

    return make_attack(grads=grads, init=init, reads_own_gradients=False)


def _learn(
    updates: Float[Array, "m d"],
    byz: Bool[Array, " m"],
    state: State,
    t: Int[Array, ""],
    draw: Callable[[], Float[Array, " d"]] | None,
) -> State:
    """The state after step t: mu and z of the formula, and the honest worker farthest out along z.

    Args:
        draw: makes the first z; None: it points to the first honest worker.
    """
    honest = masked_mean(updates, ~byz)
    keep = (t / (t + 1)).astype(updates.dtype)
    mean = keep * state.mean + (1 - keep) * honest
    start = draw() if draw else updates[jnp.argmin(byz)] - honest
    z = jnp.where(t == 0, _unit(start), state.z)
    along = jnp.where(byz, 0.0, per_row_sum(lambda entry, mean, z: (entry - mean) * z, updates, mean, z))
    spread = weighted_sum(along, updates) - along.sum() * mean
    z = _unit(keep * z + (1 - keep) * _unit(spread))
    products = jnp.where(byz, -jnp.inf, per_row_sum(jnp.multiply, updates, z))
    return State(mean, z, jnp.argmax(products).astype(jnp.int32))


def _unit(vector: Float[Array, " d"]) -> Float[Array, " d"]:
    length = jnp.linalg.norm(vector)
    return vector / jnp.where(length > 0, length, 1.0)


SPEC = Spec(
    mimic,
    source="Karimireddy et al., ICLR 2022",
    traits=frozenset({"collusive", "stateful"}),
    variants=(
        Variant(
            "karimireddy2022",
            {},
            "the worker that stands out along a direction learned in 100 steps from the first honest worker's",
            "Karimireddy et al. 2022 (an epoch there); the start and the 100 are byzsim's",
        ),
        Variant(
            "epfml_noniid",
            {"target": "drawn", "warmup": 1},
            "the same in one step, from a drawn direction",
            "epfml/byzantine-robust-noniid-optimizer, its scripts",
        ),
        Variant("byzfl", {"target": "first"}, "the first honest worker", "byzfl 0.0.11, byzpy (epsilon = 0), RCL"),
        Variant("worker", {"target": 1}, "the honest worker at a given place", "byzfl 0.0.11, byzpy (epsilon = 1)"),
    ),
)
