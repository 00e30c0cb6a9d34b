"""Gaussian noise in place of gradients, or on top of them."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops.random import normals
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, State, Traced, Variant, make_attack
from jaxtyping import Array, Bool, Float


@checked
def gaussian(*, sigma: Traced = 200.0, noise: Literal["replace", "add"] = "replace") -> Attack:
    """Byzantine rows are Gaussian noise, drawn for each worker and step.

    ```text
    g_byz = n, or g_own + n;    n ~ N(0, sigma^2 I)
    ```

    Args:
        sigma: standard deviation in gradient units; traced. BrSGD section 5.1 and Zeno's code: 200.
        noise: whether the noise shall "replace" the worker's own gradient, or "add" to it; static.

    Cost:
        d normal draws for each Byzantine worker, and none for the others.

    References:
        Li et al., FTL-IJCAI 2021 (arXiv 2108.06658), section 5.1; Xie et al., ICML 2019.
    """

    def grads(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        byzantine = jnp.argsort(~byz)

        def forge(k, rows):
            i = byzantine[k]
            drawn = sigma * normals(jax.random.fold_in(ctx.key, i), updates.shape[1])
            return rows.at[i].set(rows[i] + drawn if noise == "add" else drawn)

        return jax.lax.fori_loop(0, byz.sum(), forge, updates), state

    return make_attack(grads=grads, reads_own_gradients=noise == "add")


SPEC = Spec(
    gaussian,
    source="Li et al., FTL-IJCAI 2021, section 5.1",
    traits=frozenset({"stochastic"}),
    variants=(
        Variant("replace", {}, "N(0, 200^2 I)", "BrSGD section 5.1; Zeno's code"),
        Variant("byzfl", {"sigma": 1.0}, "N(0, I)", "byzfl 0.0.11"),
        Variant("signguard_noise", {"sigma": 0.5, "noise": "add"}, "g_own + 0.5 N(0, I)", "SignGuard's code"),
        Variant("signguard_random", {"sigma": 0.5}, "0.5 N(0, I)", "SignGuard's code"),
    ),
)
