"""Relocated orthogonal perturbation: a step sideways from where the server last went."""

import jax.numpy as jnp
from byzsim.attacks._search import alie_z
from byzsim.ops import masked_mean, norms
from byzsim.ops.rows import safe_divide
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, Traced, Variant, colluding
from jaxtyping import Array, Bool, Float


@checked
def rop(*, pi: Traced = 1.0, angle: Traced = 270.0, lamb: Traced = 0.9, z: Traced | None = None) -> Attack:
    """Every Byzantine row is the last aggregate plus a perturbation at an angle to the recent direction.

    ```text
    g_byz = v + z (sin(angle) p + cos(angle) u)
    v = pi a + (1 - pi) mu                 the centre; a the last aggregate, mu the honest mean
    u = r / ||r||,   r = lamb a + (1 - lamb) mu                         the reference
    p = q / ||q||,   q = 1 - <1, u> u                                   all ones, made orthogonal to it
    ```

    Args:
        pi: share of the last aggregate in the centre, the rest being the honest mean; traced. CRYPTO-KU: 1.
        angle: angle between perturbation and reference, in degrees; traced. CRYPTO-KU: 270.
        lamb: share of the last aggregate in the reference; traced. CRYPTO-KU: 0.9.
        z: length of the perturbation, in gradient units; traced. None: ALIE's z_max (see `alie`), from m and the real
            n_byz, not below 0.

    Notes:
        a is `ctx.previous`, 0 in the first step. If a is 0, r = mu and v = (1 - pi) mu (CRYPTO-KU's code has r = mu in
        the first step; it matters only for lamb = 1). Where r or q is 0 (q: d = 1, or all entries of r equal), its unit
        vector is 0 and the perturbation is shorter than z; in float32 a q of rounding errors need not be 0. CRYPTO-KU
        divides by the norm of the turned vector once more, which is 1. With few attackers z_max is 0, and all Byzantine
        rows are v.

    References:
        Ozfatura, Ozfatura, Kupcu, Gunduz, "Byzantines can also learn from history: fall of centered clipping
        in federated learning", IEEE TIFS 2024 (arXiv 2208.09894); github CRYPTO-KU/FL-Byzantine-Library.
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        last, mean = ctx.previous, masked_mean(updates, ~byz)
        reference = _unit(jnp.where((last == 0).all(), mean, lamb * last + (1 - lamb) * mean))
        ones = jnp.ones_like(mean)
        aside = _unit(ones - jnp.vdot(ones, reference) * reference)
        turn = jnp.radians(angle)
        length = alie_z(byz) if z is None else z
        place = pi * last + (1 - pi) * mean
        forged = place + length * (jnp.sin(turn) * aside + jnp.cos(turn) * reference)
        return forged

    return colluding(vector)


def _unit(vector: Float[Array, " d"]) -> Float[Array, " d"]:
    """The vector at length 1; zero stays zero."""
    length = norms(vector[None])
    return safe_divide(vector[None], jnp.where(length > 0, length, 1.0))[0]


SPEC = Spec(
    rop,
    source="Ozfatura et al., IEEE TIFS 2024",
    traits=frozenset({"collusive"}),
    variants=(Variant("crypto_ku", {}, "pi = 1, 270 degrees, lamb = 0.9", "CRYPTO-KU/FL-Byzantine-Library"),),
)
