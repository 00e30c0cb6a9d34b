"""A machine that a majority is near to, for rules that ban by their distance from one."""

import jax
import jax.numpy as jnp
from byzsim.ops import sq_distances, sq_distances_to, varying_as
from byzsim.ops.distances import pow_from_squared
from byzsim.types import Traced
from jaxtyping import Array, Bool, Float, Int


def majority_radius(rows: Float[Array, "m d"], alive: Bool[Array, " m"]) -> Float[Array, ""]:
    """The smallest radius around a row in `alive` that holds more than m/2 of these; +inf if there are not as many."""
    m = len(rows)
    apart = pow_from_squared(sq_distances(rows), 1)
    apart = jnp.where(alive[None] & alive[:, None], apart, jnp.inf)
    return jnp.sort(apart, axis=1)[:, m // 2].min()


def median_machine(
    rows: Float[Array, "m d"],
    alive: Bool[Array, " m"],
    radius: Traced,
    order: Int[Array, " m"],
    *,
    enough: int | None = None,
) -> Float[Array, " m"]:
    """Distances of all rows to a median machine: the first in `order` with `enough` rows of `alive` within `radius`.

    Only rows in `alive` are tried, and count, each itself among them; by default m // 2 + 1 are enough. If none has as
    many, it is the first of those with the most; all +inf if nobody is alive. O(md) for each that is tried, about two
    in a random order where most qualify; the others cost nothing.
    """
    enough = len(rows) // 2 + 1 if enough is None else enough

    def measured(best, i):
        distance = jnp.sqrt(sq_distances_to(rows, rows[i]))
        count = (alive & (distance <= radius)).sum(dtype=jnp.int32)
        return jax.tree.map(lambda new, old: jnp.where(count > best[0], new, old), (count, distance), best)

    def attempt(best, i):
        return jax.lax.cond(alive[i] & (best[0] < enough), measured, lambda best, _: best, best, i), None

    nobody = (jnp.int32(0), jnp.full(len(rows), jnp.inf, rows.dtype))
    return jax.lax.scan(attempt, varying_as(nobody, rows, alive), order)[0][1]
