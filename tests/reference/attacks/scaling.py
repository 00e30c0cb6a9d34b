"""Gradient scale."""

from reference import byzantine, honest

OPTIONS = [
    {},
    {"factor": -2.0},
    {"gradient": "mean"},
    {"gradient": "mean", "factor": 3.0},
    {"factor": 100.0},
    {"factor": -23.0},
]
GOLDEN = [
    {
        "source": "by hand: the honest mean is (2, 3)",
        "options": {"gradient": "mean", "factor": 10.0},
        "byz": [0, 1, 0],
        "rows": [[1, 2], [9, 9], [3, 4]],
        "output": [[20, 30]],
    }
]


def scaling(rows, byz, factor=1e10, gradient="own"):
    good = honest(rows, byz)
    return [factor * (row if gradient == "own" else sum(good) / len(good)) for row in byzantine(rows, byz)]
