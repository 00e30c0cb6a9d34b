"""Arithmetic over the worker axis that several rules share: cheap in passes over the (m, d) matrix, safe with bad rows.

Costs are reads of the matrix. On a CPU `G.mean(0)` and `jnp.median(G, 0)` are one to two orders of magnitude slower
than they must be; here a mean is a product with a row of weights, and an order statistic along the worker axis is a
sorting network that XLA fuses into one loop, or, for many workers, a bitonic sorter on blocks of columns.

`rows`: usable rows, norms, sums and means; `distances`: of pairs; `order`: order statistics, windows, ranks; `spectra`:
top eigenvectors; `krum`: its scores; `sets`: groups and subsets of workers; `random`: normal draws.
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
)
from byzsim.ops.rows import masked_mean, masked_std, norms, per_row, row_sum, uniform_weights, usable_rows, weighted_sum

__all__ = [
    "gram",
    "masked_mean",
    "masked_std",
    "median",
    "middle_ranks",
    "midpoint",
    "norms",
    "order_statistics",
    "per_row",
    "rank_by_score",
    "ranks",
    "row_sum",
    "sorted_rows",
    "sq_distances",
    "trimmed_mean_and_weights",
    "uniform_weights",
    "usable_rows",
    "weighted_sum",
]
"""For rules and attacks of one's own: docs/fast-rules.md. All else may change its name."""
