"""A little is enough: hide a common shift inside the honest spread."""

from typing import Literal

from byzsim.attacks._search import alie_z
from byzsim.ops import masked_mean, masked_std
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, Traced, Variant, colluding
from jaxtyping import Array, Bool, Float


@checked
def alie(
    *,
    z: Traced | None = None,
    ddof: Literal[0, 1] = 0,
    sign: Literal["minus", "plus"] = "minus",
    supporters: Literal["honest", "all"] = "honest",
    clamp: bool = True,
) -> Attack:
    """Every Byzantine row is the honest mean minus z honest standard deviations, coordinate by coordinate.

    ```text
    g_byz = mu - z * sigma;    s = floor(m / 2 + 1) - n_byz,  z_max = Phi^-1((m - n_byz - s) / (m - n_byz))
    ```

    Args:
        z: number of standard deviations; traced. None: z_max of the formula, from m and the real n_byz.
        ddof: 0 for the population deviation (the authors' code), 1 for the unbiased one (most other codes); static.
        sign: "minus" as above (the authors' code), or "plus": mu + z sigma; static.
        supporters: among whom z_max seeks supporters: the "honest" workers as above, or "all": Phi^-1((m - s) / m);
            static.
        clamp: keep z_max at 0 or above; with few attackers and "honest" it would be negative. Static.

    Notes:
        mu and sigma are over the honest rows (the omniscient form); the authors estimate them from the attackers' own
        gradients. s counts as at least 1, since a majority of attackers would give infinity, and the fraction is kept
        within 1e-6 of 0 and 1.

    References:
        Baruch, Baruch, Goldberg, "A little is enough", NeurIPS 2019 (arXiv 1902.06156).
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        del ctx
        mean = masked_mean(updates, ~byz)
        shift = (alie_z(byz, supporters, clamp=clamp) if z is None else z) * masked_std(updates, ~byz, mean, ddof=ddof)
        return mean - shift if sign == "minus" else mean + shift

    return colluding(vector)


SPEC = Spec(
    alie,
    source="Baruch et al., NeurIPS 2019",
    traits=frozenset({"collusive"}),
    variants=(
        Variant(
            "baruch2019",
            {},
            "mu - z_max sigma, supporters among honest workers",
            "Baruch et al. 2019; krum before 0.9.1",
        ),
        Variant("authors_code", {"z": 1.5}, "mu - 1.5 sigma", "moranant/attacking_distributed_learning, its default"),
        Variant("epfml", {"ddof": 1, "clamp": False}, "sigma unbiased, z_max may be negative", "epfml; CRYPTO-KU"),
        Variant("krum", {"supporters": "all"}, "Phi^-1((m - s) / m)", "krum 0.9.1"),
        Variant("byzpy", {"supporters": "all", "sign": "plus"}, "mu + Phi^-1((m - s) / m) sigma", "byzpy"),
        Variant(
            "byzfl", {"z": 1.5, "ddof": 1, "sign": "plus"}, "mu + 1.5 sigma, sigma unbiased", "byzfl 0.0.11 (tau = 1.5)"
        ),
        Variant(
            "blades",
            {"ddof": 1, "sign": "plus", "clamp": False},
            "mu + z_max sigma, sigma unbiased",
            "blades, fedlib",
        ),
        Variant("flpoison", {"sign": "plus", "clamp": False}, "mu + z_max sigma", "FLPoison"),
        Variant(
            "ndss21",
            {"z": 0.72575, "ddof": 1, "sign": "plus"},
            "mu + z sigma, z from a table: 0.69847, 0.7054, 0.71904, 0.72575, 0.73891 for n_byz = 3, 5, 8, 10, 12",
            "vrt1shjwlkr/NDSS21-Model-Poisoning",
        ),
        Variant("safeguard", {"z": 0.3}, "mu - 0.3 sigma", "Allen-Zhu et al., ICLR 2021, submission (variance attack)"),
    ),
)
