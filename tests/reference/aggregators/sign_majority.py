"""The majority of signs in each coordinate."""

import numpy as np

OPTIONS = [{}]
GOLDEN = [
    {
        "source": "by hand: columns + + -, - - +, 0 0 + and + - 0",
        "options": {},
        "f": 1,
        "rows": [[3, -1, 0, 2], [1, -5, 0, -2], [-9, 7, 4, 0]],
        "output": [1, -1, 1, 0],
    },
    {
        "source": "by hand: a NaN does not vote, an infinity does",
        "options": {},
        "f": 1,
        "rows": [[float("nan"), float("inf")], [-2, 1]],
        "output": [-1, 1],
    },
]


def sign_majority(rows, f):
    return np.array([np.sign(sum(np.sign(x) for x in column if not np.isnan(x))) for column in np.transpose(rows)])
