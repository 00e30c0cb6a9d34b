"""Inner product manipulation."""

from reference import honest

OPTIONS = [
    {},
    {"epsilon": 0.2},
    {"epsilon": 1.0},
    {"epsilon": 2.0},
    {"coefficient": "1-epsilon"},
    {"coefficient": "1-epsilon", "epsilon": 1.1},
]
GOLDEN = [
    {
        "source": "github LPD-EPFL/byzfl, tests/unit_test_attacks.py, TestInnerProductManipulationAttack",
        "options": {"epsilon": 2.0},
        "byz": [0, 0, 0, 1],
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9], [50, -60, 70]],
        "output": [[-8, -10, -12]],
    }
]


def inner_product(rows, byz, epsilon=0.1, coefficient="-epsilon"):
    good = honest(rows, byz)
    factor = -epsilon if coefficient == "-epsilon" else 1 - epsilon
    return [factor * sum(good) / len(good)] * int(sum(byz))
