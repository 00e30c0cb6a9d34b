"""Divide-and-conquer: drop what sticks out along the top singular vector, on random coordinates, several times."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import masked_mean, ranks, uniform_weights, usable_rows
from byzsim.ops.spectra import deviation_gram, top_direction
from byzsim.options import Count, checked
from byzsim.types import Aggregator, Context, Spec, Traced, Variant, stateless
from jaxtyping import Array, Float


@checked
def dnc(
    *, subsample: Count = 10_000, iterations: Count = 5, c: Traced = 1.0, rounding: Literal["up", "down"] = "up"
) -> Aggregator:
    """Mean of the gradients that are never among the farthest along the top singular vector of random coordinates.

    ```text
    for each of the iterations:  r = b random coordinates;  mu = (1/m) sum_i g_i[r];
        v = top right singular vector of the rows g_i[r] - mu;    s_i = <g_i[r] - mu, v>^2;
        I = the m - c f workers of smallest s_i
    g = mean of g_i, all coordinates, over the intersection of the sets I
    ```

    Args:
        subsample: b, the number of coordinates drawn, without replacement; static. ku: 10000. With b >= d all
            coordinates are taken and nothing is drawn; one iteration is made, since all would be equal.
        iterations: number of iterations; static. ku: 5.
        c: number of workers dropped for each declared Byzantine one, before rounding; traced. ku: 1.
        rounding: how c f is rounded. "up" keeps m - c f workers, rounded down (signguard); "down" drops fewer (ku). A c
            f within 1e-4 of an integer is that integer. Static.

    Tolerates:
        f <= (m - 1) // 2, with c >= 1.

    Cost:
        O(iterations (m^2 b + m b log^2 m + m^3 + d log d)), the last term for the draw, and one mean O(md).

    Notes:
        Each key in jax.random.split(ctx.key, iterations) draws the positions of the b largest entries of
        jax.random.uniform(key, (d,)). At least one worker is kept. Ties go to the lowest worker index. Rows that are
        not usable (`ops.usable_rows`, of all coordinates) are left out of mu and v; they come last in the order, are
        dropped first, and are in no I. If the intersection is empty, the union of the sets I counts (ku); the paper
        says nothing about it. If no row is usable, the output is zero. The paper's experiments use the same three
        numbers as ku.

    References:
        Shejwalkar, Houmansadr, "Manipulating the Byzantine: optimizing model poisoning attacks and defenses
        for federated learning", NDSS 2021.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        (m, d), usable = grads.shape, usable_rows(grads)
        dropped = jnp.ceil(c * ctx.f - 1e-4) if rounding == "up" else jnp.floor(c * ctx.f + 1e-4)

        def good(columns):
            _, score = top_direction(deviation_gram(columns, usable), usable.astype(grads.dtype))
            return (ranks(jnp.where(usable, score, jnp.inf)) < jnp.maximum(m - dropped, 1)) & usable

        def on_some(key):
            uniform = jax.random.uniform(key, (d,), jnp.float32)
            drawn = jax.lax.top_k(uniform, subsample)[1]  # jax.random.choice sorts all, twice
            return good(jax.lax.stop_gradient(grads)[:, drawn])

        everything = subsample >= d
        sets = good(grads)[None] if everything else jax.lax.map(on_some, jax.random.split(ctx.key, iterations))
        kept = jnp.where(sets.all(axis=0).any(), sets.all(axis=0), sets.any(axis=0))
        return masked_mean(grads, kept), uniform_weights(kept)

    return stateless(rule)


SPEC = Spec(
    dnc,
    source="Shejwalkar and Houmansadr, NDSS 2021",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset(
        {"permutation", "translation", "scale", "consensus", "average", "filter", "stochastic", "whole_rows"}
    ),
    cost="iterations (m^2 b + d log d) + m d",
    variants=(
        Variant("ndss21", {}, "m - c f are kept, rounded down", "Shejwalkar and Houmansadr 2021"),
        Variant(
            "ku",
            {"rounding": "down"},
            "c f are dropped, rounded down",
            "CRYPTO-KU/FL-Byzantine-Library; fedlib (blades)",
        ),
        Variant(
            "signguard",
            {"subsample": 1000, "iterations": 1},
            "b = 1000, once; its c = (m - 1) / m drops f workers, rounded up, as c = 1 does",
            "JianXu95/SignGuard",
        ),
    ),
)
