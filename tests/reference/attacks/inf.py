"""Infinities."""

import numpy as np
from reference import byzantine

OPTIONS = [{}, {"sign": "minus"}]
GOLDEN = [
    {
        "source": "github LPD-EPFL/byzfl, tests/unit_test_attacks.py, TestInfAttack",
        "options": {},
        "byz": [0, 0, 0, 1],
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9], [50, -60, 70]],
        "output": [[float("inf")] * 3],
    }
]


def inf(rows, byz, sign="plus"):
    return [np.full(len(row), np.inf if sign == "plus" else -np.inf) for row in byzantine(rows, byz)]
