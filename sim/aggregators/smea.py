"""Smallest maximum eigenvalue averaging."""

import jax
import jax.numpy as jnp
from byzsim.ops import masked_mean, uniform_weights, usable_rows
from byzsim.ops.sets import subsets
from byzsim.ops.spectra import deviation_gram, top_direction
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float

LARGEST = 16
"""workers of which all subsets are tried: at most C(16, 7) = 11440 for one f, and 39203 for all f in a grid"""


def smea() -> Aggregator:
    """Mean of the m - f gradients whose covariance has the smallest top eigenvalue.

    ```text
    S* = argmin over |S| = m - f of lambda_max( (1 / |S|) sum over S of (g_i - mu_S)(g_i - mu_S)^T );
    g = mu_S*,    mu_S = (1 / |S|) sum over S of g_i
    ```

    Raises:
        ValueError: there are more than 16 workers.

    Tolerates:
        f <= (m - 1) // 2, for at most 16 workers.

    Cost:
        O(m^2 d + m d log^2 m) once, and O(m^3) for each of the C(m, f) subsets.

    Notes:
        An f above (m - 1) // 2 counts as (m - 1) // 2. Eigenvalues up to 1 + 1e-5 times the smallest count as equal to
        it; of these the first subset is taken, in lexicographic order of the workers kept. A subset with a row that is
        not usable (`ops.usable_rows`) has an infinite eigenvalue; if all have, the mean is over the usable rows of the
        first subset, and zero if there are none. byzfl 0.0.11 estimates each eigenvalue by one step of the power method
        from a random vector; here they are exact. The bound on kappa is that of the reference.

    References:
        Allouah, Guerraoui, Gupta, Pinot, Stephan, "On the privacy-robustness-utility trilemma in distributed
        learning", ICML 2023.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m = len(grads)
        if m > LARGEST:
            raise ValueError(f"smea tries all subsets of at most {LARGEST} workers, not of {m}")
        usable = usable_rows(grads)
        gram = deviation_gram(jax.lax.stop_gradient(grads), usable)

        def spread(kept):
            return jnp.where((kept & ~usable).any(), jnp.inf, top_direction(gram, kept.astype(gram.dtype))[0])

        def branch(f):
            def best():
                masks = jnp.asarray(subsets(m, m - f))
                spreads = jax.lax.map(spread, masks)
                return masks[jnp.argmax(spreads <= spreads.min() * (1 + 1e-5))]

            return best

        most = (m - 1) // 2
        kept = jax.lax.switch(jnp.clip(ctx.f, 0, most), [branch(f) for f in range(most + 1)]) & usable
        return masked_mean(grads, kept), uniform_weights(kept)

    return stateless(rule)


SPEC = Spec(
    smea,
    source="Allouah et al., ICML 2023",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average", "filter"}),
    cost="m^2 d + C(m, f) m^3",
    kappa=lambda m, f: 4 * f / (m - f) * (1 + f / (m - 2 * f)) ** 2,
)
