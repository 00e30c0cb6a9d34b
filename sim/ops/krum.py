"""Krum's scores, and the rows that repeated Krum selects."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops.distances import pow_from_squared
from byzsim.ops.varying import varying_as
from jaxtyping import Array, Bool, Float, Int

KrumVariant = Literal["blanchard2017", "byzfl", "byzantine_momentum", "torchjd", "epfml", "ndss21", "alie"]

KRUM: dict[str, tuple[Literal[1, 2, 4], int]] = {
    "blanchard2017": (2, 2),
    "byzfl": (2, 1),
    "byzantine_momentum": (1, 1),
    "torchjd": (1, 2),
    "epfml": (4, 2),
    "ndss21": (2, 3),
    "alie": (1, 0),
}
"""Source -> (p, k): Krum's score is the sum of the distances to the power p to the m - f - k nearest other rows."""


def krum_scores(
    squared: Float[Array, "m m"], f: Int[Array, ""] | int, variant: KrumVariant, alive: Bool[Array, " m"]
) -> Float[Array, " m"]:
    """Krum's score of each row among the rows that are `alive`; +inf for all others.

        score_i = sum of ||g_i - g_j||^p over the max(r - f - k, 1) nearest j != i,    r = number of alive rows

    Args:
        squared: squared distances, as `sq_distances` returns them.
        f: number of declared Byzantine workers.
        variant: whose p and k (`KRUM`).
        alive: the rows that count.

    Cost: O(m^2 log m).
    """
    power, fewer = KRUM[variant]
    distances = jnp.where(alive[None] & alive[:, None], pow_from_squared(squared, power), jnp.inf)
    return jnp.where(alive, _nearest_sum(_to_others(distances), alive.sum() - f - fewer), jnp.inf)


def krum_winners(
    squared: Float[Array, "m m"], f: Int[Array, ""] | int, variant: KrumVariant, count: Int[Array, ""] | int
) -> Bool[Array, " m"]:
    """The rows that repeated Krum selects: `count` times the row of smallest score among those not selected before.

    Only usable rows are selected, so fewer than `count` if there are not enough. All arguments may be traced.

    Args:
        squared: squared distances, as `sq_distances` returns them.
        f: number of declared Byzantine workers.
        variant: whose p and k (`KRUM`).
        count: number of rows to select.

    Cost: O(m^3).
    """
    power, fewer = KRUM[variant]
    # exactly symmetric, so that two rows that are each other's nearest have exactly equal scores
    squared = jax.lax.stop_gradient(jnp.minimum(squared, squared.T))
    usable = jnp.isfinite(jnp.diagonal(squared))
    distances = pow_from_squared(squared, power)
    m = len(squared)

    # near (m, m - 1): each row's distances to the other rows that are alive, in ascending order, then +inf
    def pick(near: Float[Array, "m m-1"], alive: Bool[Array, " m"]) -> tuple[Float[Array, "m m-1"], Bool[Array, " m"]]:
        score = _nearest_sum(near, alive.sum() - f - fewer)
        # the best row: the smallest score among the candidates; argmax takes the first of equal ones
        candidates = usable & alive
        best = jnp.argmax(candidates & (score <= jnp.where(candidates, score, jnp.inf).min()))
        # remove the distance to the best row from every row of `near`: the entries from there on move up by one place.
        # `near` stays sorted, so a pick is O(m^2) without a new sort
        next_entry = jnp.pad(near, ((0, 0), (0, 1)), constant_values=jnp.inf)[:, 1:]
        near = jnp.where(near < distances[best][:, None], near, next_entry)
        return near, alive & ~(candidates & (jnp.arange(m) == best))

    def step(carry: tuple[Array, Array], i: Int[Array, ""]) -> tuple[tuple[Array, Array], None]:
        return jax.lax.cond(i < count, pick, lambda *carry: carry, *carry), None

    start = (_to_others(distances), varying_as(jnp.ones(m, bool), distances))
    (_, alive), _ = jax.lax.scan(step, start, jnp.arange(m))
    return ~alive


def _to_others(distances: Float[Array, "m m"]) -> Float[Array, "m m-1"]:
    """Each row's distances to the other rows, in ascending order."""
    # -1 on the diagonal comes first, and is cut off
    return jnp.sort(distances.at[jnp.diag_indices(len(distances))].set(-1.0), axis=1)[:, 1:]


def _nearest_sum(near: Float[Array, "m m-1"], count: Int[Array, ""]) -> Float[Array, " m"]:
    """The sum of the first max(count, 1) entries of each row."""
    counted = jnp.arange(near.shape[1]) < jnp.maximum(count, 1)
    return jnp.where(counted, near, 0.0).sum(axis=1)
