"""An attack that climbs the gradient through the rule in use."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import masked_mean, masked_std, per_row, varying_as
from byzsim.options import Count, Positive, checked
from byzsim.types import Attack, Context, Spec, Traced, colluding
from jaxtyping import Array, Bool, Float

Objective = Literal["distance", "descent", "loss"]


@checked
def learned(
    *,
    objective: Objective = "distance",
    steps: Count = 10,
    restarts: Count = 2,
    budget: Positive = 3.0,
    within: Literal["distance", "norm"] = "distance",
    rate: Positive = 0.5,
    z: Traced = 1.5,
) -> Attack:
    """One vector for all Byzantine workers, found by projected gradient ascent on the harm, through the rule itself.

    ```text
    harm(p) = the objective at rule(rows), where every Byzantine row is p
    p_{k+1} = P(p_k + rate (1 - k / steps) R u_k),    u_k = the gradient of harm at p_k, normalised
    ```

    R is `budget` times the largest distance of an honest row from the honest mean mu, and P the projection on the ball
    of radius R around mu; or R is `budget` times the largest honest norm, and the ball is around 0. The vector sent is
    the one of most harm among all that were tried, starting points included.

    Args:
        objective: the harm; static. "distance": ||rule(rows) - mu||^2. "descent": minus the inner product of rule(rows)
            and mu. "loss": the honest workers' loss on this step's batches after the server's update (through the
            engine's step).
        steps: number of gradient steps from each start; static.
        restarts: number of starts; static. They are mu - z sigma (ALIE, population deviation), -mu (inner product),
            then directions drawn from N(0, I), normalised, at the edge of the ball.
        budget: size of the ball, as above; traced.
        within: which ball: by "distance" around mu, or by "norm" around 0; static.
        rate: length of the first step, as a fraction of R; traced.
        z: number of standard deviations of the first start; traced.

    Raises:
        ValueError: a count is below 1.

    Cost:
        restarts * (steps + 1) evaluations of the rule and of its gradient in every training step.

    Notes:
        Where the gradient is zero or not finite (a rule that selects an honest row), p moves towards mu instead, to 0.7
        of its distance: a row that no rule selects is too far away. Starting points are projected, too. Of equal harm
        the first point of the first start is sent. Harm that is not finite counts as infinite: the attack has
        succeeded. Start i (from 0), if drawn, is jax.random.normal(jax.random.fold_in(ctx.key, i), (d,), float32).

    References:
        This attack is byzsim's own, after the optimised attacks of Shejwalkar and Houmansadr, NDSS 2021, which search
        along a line.
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        mean = masked_mean(updates, ~byz)
        centre = mean if within == "distance" else jnp.zeros_like(mean)
        radius = budget * jnp.where(byz, 0.0, per_row(lambda row: jnp.linalg.norm(row - centre), updates)).max()
        slope = jax.value_and_grad(_harm(objective, updates, byz, mean, ctx))

        def project(p):
            length = jnp.linalg.norm(p - centre)
            return centre + (p - centre) * jnp.minimum(1.0, radius / jnp.where(length == 0, 1.0, length))

        def climb(carry, k):
            p, best = carry
            # the harm here; not finite: the attack has won
            value, uphill = slope(p)
            value = jnp.where(jnp.isfinite(value), value, jnp.inf)
            best = jax.tree.map(lambda new, old: jnp.where(value > best[0], new, old), (value, p), best)
            # a step along the normalised gradient, shorter each time; without a gradient one towards the mean
            length = jnp.linalg.norm(uphill)
            seen = jnp.isfinite(length) & (length > 0)
            ascent = p + rate * (1 - k / steps).astype(p.dtype) * radius / jnp.where(seen, length, 1.0) * uphill
            return (project(jnp.where(seen, ascent, mean + 0.7 * (p - mean))), best), None

        def run(i):
            # where to start: ALIE, inner product, then directions at random; select_n takes the i-th
            noise = jax.random.normal(jax.random.fold_in(ctx.key, i), mean.shape, jnp.float32).astype(mean.dtype)
            starts = (
                mean - z * masked_std(updates, ~byz, mean),
                -mean,
                centre + radius * noise / jnp.linalg.norm(noise),
            )
            start = project(jax.lax.select_n(jnp.minimum(i, 2), *starts))
            # steps + 1 points are looked at; the move from the last one is thrown away
            first = varying_as((start, (-jnp.inf, start)), updates)
            return jax.lax.scan(climb, first, jnp.arange(steps + 1))[0][1]

        values, points = jax.lax.map(run, jnp.arange(restarts))
        return points[values.argmax()]

    return colluding(vector)


def _harm(
    objective: Objective, updates: Float[Array, "m d"], byz: Bool[Array, " m"], mean: Float[Array, " d"], ctx: Context
) -> Callable[[Float[Array, " d"]], Float[Array, ""]]:
    """A function: the vector that Byzantine workers send -> its harm."""

    def harm(p: Float[Array, " d"]) -> Float[Array, ""]:
        out = ctx.aggregate(jnp.where(byz[:, None], p, updates))
        match objective:
            case "distance":
                return jnp.square(out - mean).sum()
            case "descent":
                return -jnp.vdot(out, mean)
        return ctx.loss_after(out)

    return harm


SPEC = Spec(learned, source="byzsim", traits=frozenset({"collusive", "rule"}))
