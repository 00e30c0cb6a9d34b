"""Covariance-bound agnostic filter."""

import jax
import jax.numpy as jnp
from byzsim.ops import usable_rows, varying_as, weighted_sum
from byzsim.ops.spectra import deviation_gram, downweight, top_direction
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float


def caf() -> Aggregator:
    """The weighted mean whose covariance has the smallest top eigenvalue, among those that a filter passes through.

    ```text
    c_i = 1;    while sum_i c_i > m - 2f:
        mu = sum_i c_i g_i / sum_i c_i;      Sigma = sum_i c_i (g_i - mu)(g_i - mu)^T / sum_i c_i;
        lambda, v = top eigenvalue and unit eigenvector of Sigma;      tau_i = <g_i - mu, v>^2;
        c_i <- c_i (1 - tau_i / max tau),  the maximum over rows with c_i > 0
    g = the mu with the smallest lambda
    ```

    Tolerates:
        f <= (m - 1) // 2.

    Cost:
        O(m^2 d + m d log^2 m) once, and O(m^3) in each of at most 2f rounds (m - 1 are compiled).

    Notes:
        An f above (m - 1) // 2 counts as (m - 1) // 2. Of equal lambdas the first counts. The loop ends at a total of m
        - 2f + 1e-4 already, so that rounding does not add a round. With f = 0 there is no round, and g is the mean.
        Rows that are not usable (`ops.usable_rows`) start with c_i = 0; m still counts them, so they count as filtered.
        If max tau = 0, the weights stay. A factor 1 - tau_i / max tau below 1e-5 becomes 0, so that copies of the
        farthest row leave together; at least one row leaves in each round, hence at most 2f rounds. byzfl 0.0.11
        differs in two ways that are not offered here: its v is one step of the power method from a random vector, and
        its maximum is over all rows, so that a far row whose weight is 0 already can keep the loop going. Derivatives
        treat v as a constant.

    References:
        Allouah, Guerraoui, Stephan, "Towards trustworthy federated learning with untrusted participants",
        ICML 2025.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m, usable = len(grads), usable_rows(grads)
        gram = deviation_gram(grads, usable)
        enough = m - 2 * jnp.clip(ctx.f, 0, (m - 1) // 2) + 1e-4

        def filtered(carry):
            c, best, smallest = carry
            eigenvalue, tau = top_direction(gram, c)
            better = eigenvalue < smallest
            return downweight(c, tau), jnp.where(better, c, best), jnp.where(better, eigenvalue, smallest)

        def step(carry, _):
            return jax.lax.cond(carry[0].sum() > enough, filtered, lambda carry: carry, carry), None

        c = usable.astype(grads.dtype)
        begun = (c, c, jnp.asarray(jnp.inf, grads.dtype))
        (_, best, _), _ = jax.lax.scan(step, varying_as(begun, grads), length=m - 1)
        weight = best / jnp.maximum(best.sum(), 1e-30)
        return weighted_sum(weight, grads), weight

    return stateless(rule)


SPEC = Spec(
    caf,
    source="Allouah et al., ICML 2025",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average", "filter"}),
    cost="m^2 d + f m^3",
)
