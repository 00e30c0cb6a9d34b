"""Clipped clustering: the larger of two groups by direction, clipped to the median of all norms seen."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from byzsim.ops import gram, midpoint, norms, uniform_weights, usable_rows, varying_as, weighted_sum
from byzsim.options import Count, Positive, checked
from byzsim.types import Aggregator, Context, Info, Spec, Variant
from jaxtyping import Array, Bool, Float, Int


class State(NamedTuple):
    """What the server remembers."""

    seen: Float[Array, "rounds m"]
    """norms of the last rounds' rows; +inf where there was none, or a row that is not usable"""
    step: Int[Array, ""]
    """rounds so far"""


@checked
def clipped_clustering(
    *, linkage: Literal["average", "single"] = "average", tau: Positive = 1e5, history: Count = 1000
) -> Aggregator:
    """Mean of the larger of two clusters by cosine distance, its rows clipped to the median norm of all rounds.

    ```text
    C   = min(median of ||g_kj|| over all workers j and all rounds k up to this one, tau)
    S   = the larger of two clusters by agglomeration of the workers with the distances 1 - cos(g_i, g_j)
    g   = (1 / |S|) sum over S of min(1, C / ||g_i||) g_i
    ```

    Agglomeration starts with one cluster for each worker and merges the two nearest clusters until two are left.

    Args:
        linkage: the distance of two clusters. "average" is the mean distance of their workers (paper and code),
            "single" that of the nearest two workers (an option of the code). Static.
        tau: the largest C, in gradient units; traced. The code's 1e5 leaves the median alone.
        history: number of past rounds whose norms the rule remembers; static. The paper remembers all; 1000 is byzsim's
            own.

    Tolerates:
        f <= (m - 1) // 2, if the Byzantine rows do not point where the honest ones do (the paper's experiments).

    Cost:
        O(m^2 d) for the Gram matrix, O(m^3) to agglomerate, O(history m log(history m)) for the median.

    Notes:
        The state holds `history` m norms. Clipping does not change a cosine, so the rows are clustered as they were
        sent. Of clusters of equal size the one that was merged last counts (scikit-learn's label 0), and of single
        workers the one of highest index. Of equally near pairs of clusters the first is merged, where a cluster has the
        place of its lowest worker. A zero row has the cosine 0 with all rows. Rows that are not usable
        (`ops.usable_rows`) are in no cluster and in no history; the code gives them the distance 2. A single usable row
        is S, and without any the output is zero. The median of an even number of norms is the mean of the two middle
        ones. `Info.weight` is equal for all of S, whatever clipping takes from a row. The code adds 1e-6 to a norm
        before it divides.

    References:
        Li, Ngai, Voigt, "An experimental study of Byzantine-robust aggregation schemes in federated learning",
        IEEE Transactions on Big Data, 2023; github lishenghui/blades.
    """

    def init(m: int, d: int) -> State:
        del d
        return State(jnp.full((history, m), jnp.inf), jnp.int32(0))

    def apply(grads: Float[Array, "m d"], state: State, ctx: Context) -> tuple[Float[Array, " d"], State, Info]:
        del ctx
        usable = usable_rows(grads)
        length = jnp.where(usable, norms(grads), jnp.inf)
        seen = state.seen.at[state.step % history].set(length)
        longest = jnp.minimum(_median(seen), tau)
        kept = _larger_cluster(_cosine_distances(grads, length), usable, linkage)
        factor = jnp.where(length > longest, longest / jnp.where(length > 0, length, 1.0), 1.0)
        aggregate = weighted_sum(uniform_weights(kept) * factor, grads)
        return aggregate, State(seen, state.step + 1), Info(uniform_weights(kept).astype(jnp.float32))

    return Aggregator(init, apply)


def _median(seen: Float[Array, "rounds m"]) -> Float[Array, ""]:
    """The median of what is finite; 0 if nothing is."""
    ordered, n = jnp.sort(seen.ravel()), jnp.isfinite(seen).sum()
    return jnp.where(n > 0, midpoint(ordered[jnp.maximum(n - 1, 0) // 2], ordered[n // 2]), 0.0)


def _cosine_distances(grads: Float[Array, "m d"], length: Float[Array, " m"]) -> Float[Array, "m m"]:
    size = jnp.where(length > 0, length, 1.0)
    return jax.lax.stop_gradient(1 - gram(grads) / size[:, None] / size[None])


def _larger_cluster(apart: Float[Array, "m m"], usable: Bool[Array, " m"], linkage: str) -> Bool[Array, " m"]:
    """The larger of two clusters of the usable workers, of equals the one that was put together last."""
    m = len(usable)
    workers = jnp.arange(m)

    def merge(carry, step):
        """The two nearest clusters become one, at the place of its lowest worker; done[i]: when cluster i was made."""
        apart, member, done = carry
        size = member.sum(axis=1)
        alive = size > 0
        open_to = alive[None] & alive[:, None] & (workers[:, None] < workers[None])
        i, j = jnp.divmod(jnp.argmin(jnp.where(open_to, apart, jnp.inf)), m)
        if linkage == "average":
            joined = (size[i] * apart[i] + size[j] * apart[j]) / (size[i] + size[j])
        else:
            joined = jnp.minimum(apart[i], apart[j])
        merged = (
            apart.at[i].set(joined).at[:, i].set(joined),
            member.at[i].set(member[i] | member[j]).at[j].set(False),
            done.at[i].set(m + step),
        )
        return jax.tree.map(lambda new, old: jnp.where(alive.sum() > 2, new, old), merged, carry), None

    first = (apart, jnp.eye(m, dtype=bool) & usable[None], workers)
    (_, member, done), _ = jax.lax.scan(merge, varying_as(first, apart), jnp.arange(max(m - 2, 0)))
    return member[jnp.lexsort((done, member.sum(axis=1)))[-1]]


SPEC = Spec(
    clipped_clustering,
    source="Li et al., IEEE TBD 2023",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "consensus", "filter", "stateful"}),
    cost="m^2 d + m^3",
    variants=(
        Variant("blades", {}, "clusters by average linkage", "Li et al. 2023; blades (its library fedlib)"),
        Variant(
            "blades_single",
            {"linkage": "single"},
            "clusters by single linkage",
            "blades (its library fedlib), an option",
        ),
    ),
)
