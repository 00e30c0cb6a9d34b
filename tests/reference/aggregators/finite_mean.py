"""The mean of the rows that are finite."""

from reference import mean_of, usable

OPTIONS = [{}]
GOLDEN = [
    {
        "source": "by hand: (1+3)/2, (2+0)/2; the third row has a NaN",
        "options": {},
        "f": 0,
        "rows": [[1, 2], [3, 0], [float("nan"), 9]],
        "output": [2, 1],
    },
    {"source": "by hand: nothing is finite", "options": {}, "f": 0, "rows": [[float("inf"), 0]], "output": [0, 0]},
]


def finite_mean(rows, f):
    return mean_of(rows, usable(rows))
