"""Geometric median, by Weiszfeld's iteration."""

from byzsim.aggregators._weiszfeld import WeiszfeldStart, weiszfeld
from byzsim.ops import usable_rows
from byzsim.options import Count, Positive, checked
from byzsim.types import Aggregator, Context, Spec, Traced, Variant, stateless
from jaxtyping import Array, Float


@checked
def geometric_median(
    *, steps: Count = 3, nu: Positive = 0.1, start: WeiszfeldStart = "zero", tolerance: Traced = 0.0
) -> Aggregator:
    """The point whose distances to all rows have the smallest sum, approximated by smoothed Weiszfeld steps.

    ```text
    z* = argmin_z sum_i ||z - g_i||;    w_i = 1 / max(nu, ||z - g_i||),    z <- sum_i w_i g_i / sum_i w_i
    ```

    Args:
        steps: largest number of steps, at least 1; static. RFA: 3.
        nu: smallest distance that counts, in gradient units, above 0 (from 1e-18 on in float32); traced. RFA: 0.1.
        start: the first z. "zero" (RFA as it is run), the "mean" of the usable rows, or the coordinate-wise "median" of
            all m rows: of an even m the mean of the two middle values, or the lower one with "lower_median". A row that
            is not usable counts as +inf in every coordinate, and a coordinate whose median is not finite starts at 0.
            Static.
        tolerance: no further step follows one that moved z by at most this times the harmonic mean of the distances,
            usable rows / sum_i w_i. It is relative to the spread of the rows, wherever they are. With 0 the steps end
            only at a fixed point (RFA). Traced.

    Tolerates:
        f <= (m - 1) // 2.

    Cost:
        O(steps m d), two reads a step; the sorting network for "median", O(md log^2 m).

    Notes:
        Rows that are not usable (`ops.usable_rows`) are left out; without a usable row the output is zero.
        `Info.weight` is w_i / sum w of the last step, so that the output is the weighted sum of the rows. The published
        bound on kappa of the *exact* geometric median is 4 (1 + f / (m - 2f))^2. Three steps from zero do not keep it
        (rows c and -c are equally far from zero), so the spec has no bound. From the "mean", a step leaves rows at a
        large distance D behind by a factor f / (m - f), so D = 1e18 takes hundreds of steps (hence 1000 in the variant
        `converged`); from "zero" they are unit vectors in the first step, and the "median" is near the majority.

    References:
        Pillutla, Kakade, Harchaoui, "Robust aggregation for federated learning", IEEE Transactions on Signal
        Processing, 2022. Weiszfeld, "Sur le point pour lequel la somme des distances de n points donnes est minimum",
        Tohoku Mathematical Journal, 1937.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        return weiszfeld(grads, usable_rows(grads), start, steps=steps, nu=nu, tolerance=tolerance)

    return stateless(rule)


SPEC = Spec(
    geometric_median,
    source="Pillutla et al., IEEE TSP 2022",
    revision=2,
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "consensus", "filter"}),
    cost="m d",
    variants=(
        Variant(
            "rfa",
            {},
            "three steps from zero, nu = 0.1",
            "Pillutla et al. 2022, as byzfl, epfml/byzantine-robust-optimizer and RCL run it",
        ),
        Variant(
            "epfml_noniid", {"steps": 8}, "eight steps from zero, nu = 0.1", "epfml/byzantine-robust-noniid-optimizer"
        ),
        Variant(
            "converged",
            {"start": "mean", "steps": 1000, "nu": 1e-6, "tolerance": 1e-6},
            "from the mean until z rests, at most 1000 steps, nu = 1e-6",
            "krum, fedlib (at most 100 steps, fewer once the sum of distances moves by < 1e-10 of itself: near this)",
        ),
        Variant(
            "byzpy",
            {"start": "lower_median", "steps": 256, "nu": 1e-12, "tolerance": 1e-6},
            "from the coordinate-wise lower median until z rests, at most 256 steps, nu = 1e-12",
            "byzpy 0.1.4 (it stops when z moves by less than 1e-6 in gradient units, so at a row where z starts there)",
        ),
    ),
)
