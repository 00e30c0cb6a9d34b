"""Functions over the worker axis that rules share. They read the (m, d) matrix few times and allow NaN and infinities.

Docstrings give the cost as the number of reads of the matrix. On a CPU `G.mean(0)` and `jnp.median(G, 0)` are one to
two orders of magnitude slower than necessary. Here sums and means over the workers are written out row by row, and an
order statistic along the worker axis is a sorting network that XLA fuses into one loop or, for many workers, a bitonic
sorter on blocks of columns.

`rows`: usable rows, norms, sums and means; `distances`: between pairs of rows; `order`: order statistics, windows of
ranks, ranks; `spectra`: top eigenvectors; `krum`: Krum's scores; `sets`: groups and subsets of workers; `random`:
normal random numbers; `varying`: constants in a user's `shard_map`.
"""

from byzsim.ops.distances import gram, sq_distances
from byzsim.ops.order import (
    median,
    middle_ranks,
    midpoint,
    order_statistics,
    rank_by_score,
    ranks,
    sorted_rows,
    trimmed_mean_and_weights,
    value_at_rank,
)
from byzsim.ops.rows import (
    distances_to,
    masked_mean,
    masked_std,
    norms,
    per_row,
    per_row_sum,
    row_sum,
    sq_distances_to,
    uniform_weights,
    usable_rows,
    weighted_sum,
)
from byzsim.ops.varying import varying_as

__all__ = [
    "distances_to",
    "gram",
    "masked_mean",
    "masked_std",
    "median",
    "middle_ranks",
    "midpoint",
    "norms",
    "order_statistics",
    "per_row",
    "per_row_sum",
    "rank_by_score",
    "ranks",
    "row_sum",
    "sorted_rows",
    "sq_distances",
    "sq_distances_to",
    "trimmed_mean_and_weights",
    "uniform_weights",
    "usable_rows",
    "value_at_rank",
    "varying_as",
    "weighted_sum",
]
"""The public functions, for users' own rules and attacks (docs/fast-rules.md). Other names may change."""
