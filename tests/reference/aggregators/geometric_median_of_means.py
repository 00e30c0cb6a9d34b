"""The geometric median of means."""

import numpy as np
from reference import middle_of, usable
from reference.aggregators.geometric_median import weiszfeld

OPTIONS = [{}, {"size": 3}, {"size": 1}, {"steps": 2, "nu": 0.5}]
TOLERANCE = 2e-3  # the last step may be one more or less where the tolerance is met to rounding
GOLDEN = [
    {
        "source": "by hand: groups (0 2) (1 1) (1 1) (100 300) (-3 5): means 1 1 1 200 1",
        "options": {},
        "f": 1,
        "rows": [[0], [2], [1], [1], [1], [1], [100], [300], [-3], [5]],
        "output": [1],
        "tolerance": 1e-4,
    },
]


def geometric_median_of_means(rows, f, size=2, steps=100, nu=1e-6, tolerance=1e-6):
    good, means = usable(rows), []
    for first in range(0, len(rows), size):
        group = range(first, min(first + size, len(rows)))
        spoilt = any(i not in good for i in group)
        means.append(np.full(len(rows[0]), np.inf) if spoilt else sum(rows[i] for i in group) / len(group))
    z = np.nan_to_num([middle_of(column) for column in np.transpose(means)], posinf=0.0)
    return weiszfeld([mean for mean in means if np.isfinite(mean).all()], z, steps, nu, tolerance)
