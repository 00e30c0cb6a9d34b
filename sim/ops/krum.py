"""Krum's scores, and who wins by them."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops.distances import pow_from_squared
from jaxtyping import Array, Bool, Float, Int

KrumDefinition = Literal["blanchard2017", "byzfl", "byzantine_momentum", "torchjd", "epfml", "ndss21", "alie"]


KRUM: dict[str, tuple[Literal[1, 2, 4], int]] = {
    "blanchard2017": (2, 2),
    "byzfl": (2, 1),
    "byzantine_momentum": (1, 1),
    "torchjd": (1, 2),
    "epfml": (4, 2),
    "ndss21": (2, 3),
    "alie": (1, 0),
}
"""Who -> (power p of the distances in Krum's score, k in the m - f - k nearest others that it counts)."""


def krum_scores(
    squared: Float[Array, "m m"], f: Int[Array, ""] | int, definition: KrumDefinition, alive: Bool[Array, " m"]
) -> Float[Array, " m"]:
    """Sum of ||g_i - g_j||^p over the r - f - k nearest others j that are alive, at least one; +inf for the others.

    r is how many rows are `alive`, p and k are those of `KRUM`. Of `sq_distances`, O(m^2 log m).
    """
    power, fewer = KRUM[definition]
    distances = jnp.where(alive[None] & alive[:, None], pow_from_squared(squared, power), jnp.inf)
    return jnp.where(alive, _nearest_sum(_to_others(distances), alive.sum() - f - fewer), jnp.inf)


def krum_winners(
    squared: Float[Array, "m m"], f: Int[Array, ""] | int, definition: KrumDefinition, count: Int[Array, ""] | int
) -> Bool[Array, " m"]:
    """The `count` rows that `krum_scores` picks one after another, each time among those that are left.

    Usable rows only, so fewer where there are not as many. O(m^3), nothing in d; may be traced all through.
    """
    power, fewer = KRUM[definition]
    squared = jax.lax.stop_gradient(jnp.minimum(squared, squared.T))  # ties of a pair nearest to each other are exact
    usable = jnp.isfinite(jnp.diagonal(squared))
    distances = pow_from_squared(squared, power)

    def pick(near, alive):  # near: each row's distances to the others that are alive, upwards, then +inf
        score = _nearest_sum(near, alive.sum() - f - fewer)
        # the smallest score among usable rows that are alive; argmax takes the first of equals
        open_to = usable & alive
        best = jnp.argmax(open_to & (score <= jnp.where(open_to, score, jnp.inf).min()))
        # every row loses its distance to the chosen one: no new sort, so O(m^2) a pick
        farther = jnp.pad(near, ((0, 0), (0, 1)), constant_values=jnp.inf)[:, 1:]
        left = jnp.where(near < distances[best][:, None], near, farther)  # what is from the chosen one on moves up
        return left, alive & ~(open_to & (jnp.arange(len(alive)) == best))

    def step(carry, i):
        return jax.lax.cond(i < count, pick, lambda *carry: carry, *carry), None

    everybody = jnp.ones(len(squared), bool)
    return ~jax.lax.scan(step, (_to_others(distances), everybody), jnp.arange(len(squared)))[0][1]


def _to_others(distances: Float[Array, "m m"]) -> Float[Array, "m m-1"]:
    """Each row's distances to the others, upwards."""
    return jnp.sort(distances.at[jnp.diag_indices(len(distances))].set(-1.0), axis=1)[:, 1:]


def _nearest_sum(near: Float[Array, "m m-1"], count: Int[Array, ""]) -> Float[Array, " m"]:
    """The sum of the first `count`, at least one, of each row."""
    counted = jnp.arange(near.shape[1]) < jnp.maximum(count, 1)
    return jnp.where(counted, near, 0.0).sum(axis=1)
