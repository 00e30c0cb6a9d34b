"""DRACO: every gradient is computed several times, and the majority decides what it was."""

import jax
import jax.numpy as jnp
import numpy as np
from byzsim.ops import per_row, uniform_weights, usable_rows, weighted_sum
from byzsim.ops.sets import groups
from byzsim.options import Count, checked
from byzsim.types import Aggregator, Context, Spec, Traced, stateless
from jaxtyping import Array, Bool, Float, Int


@checked
def draco(*, r: Count = 3, tolerance: Traced = 1e-6) -> Aggregator:
    """Mean over groups of the row that most of a group send: the exact mean while each group has an honest majority.

    ```text
    group k = workers that compute the same r batches;    v_i = #{j in the group of i : g_j = g_i}
    g = (1 / groups) sum_k g_argmax{v_i : i in group k}
    ```

    Args:
        r: number of workers that compute the same r batches; static. r = 2s + 1 withstands s Byzantine workers. Each
            worker computes r times as much as under another rule: in training its batch is r times as large
            (`Aggregator.redundancy`).
        tolerance: rows agree if max_c |g_jc - g_ic| <= tolerance * max_c |g_ic|, as the same computation need not give
            the same bits twice; traced.

    Raises:
        ValueError: r is below 1.

    Tolerates:
        f <= (r - 1) // 2, as all of them may be in one group; any f while each group has an honest majority.

    Cost:
        O(r m d), since a row is compared with the rows of its own group; r times the gradients.

    Notes:
        This is the fractional repetition code; the cyclic code, which costs as much, is not included. Groups are
        workers in order, `ops.groups`: worker i is in group min(i // r, m // r - 1), and r above m counts as m. Ties in
        a group go to the lowest index. A row that is not usable (`ops.usable_rows`) agrees with nobody and does not win
        while the group has a usable one; a group without usable rows is left out of the mean, which is zero if all
        groups are. `Info.weight` is uniform over the winners of the vote. The authors' code votes layer by layer, on
        equal bits, in one pass (Boyer and Moore); the result is the same where a majority of a group is honest.
        `byzsim.aggregate` expects rows that were computed with this redundancy.

    References:
        Chen, Wang, Charles, Papailiopoulos, "DRACO: Byzantine-resilient distributed training via redundant
        gradients", ICML 2018.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        m = len(grads)
        usable = usable_rows(grads)
        group = groups(m, min(r, m))
        votes = jnp.where(usable, _votes(grads, usable, group, tolerance), -1)
        lower = jnp.arange(m)[None] < jnp.arange(m)[:, None]
        ahead = (votes[None] > votes[:, None]) | ((votes[None] == votes[:, None]) & lower)
        winner = usable & ~(ahead & (group[None] == group[:, None])).any(axis=1)
        return weighted_sum(uniform_weights(winner), grads), uniform_weights(winner)

    return stateless(rule)._replace(redundancy=r)


def _votes(
    grads: Float[Array, "m d"], usable: Bool[Array, " m"], group: np.ndarray, tolerance: Traced
) -> Int[Array, " m"]:
    """How many usable rows of its group each row agrees with, itself among them; each pair of a group is read once."""
    one, other = np.nonzero(np.triu(group[:, None] == group, k=1))
    size = jnp.where(usable, per_row(lambda row: jnp.abs(row).max(), grads), 0.0)
    apart = jax.lax.map(lambda pair: jnp.abs(grads[pair[0]] - grads[pair[1]]).max(), (one, other))
    both = usable[one] & usable[other]
    votes = usable.astype(jnp.int32)
    votes = votes.at[one].add(both & (apart <= tolerance * size[one]))
    return votes.at[other].add(both & (apart <= tolerance * size[other]))


SPEC = Spec(
    draco,
    source="Chen et al., ICML 2018",
    max_f=lambda m, r=3: (min(r, m) - 1) // 2,
    traits=frozenset({"scale", "filter", "consensus"}),
    cost="r m d",
)
