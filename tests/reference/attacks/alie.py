"""A little is enough."""

from reference import deviation, honest, z_max

OPTIONS = [
    {},
    {"z": 1.5},
    {"z": 1.5, "ddof": 1},
    {"z": 1.5, "ddof": 1, "sign": "plus"},
    {"z": 0.3},
    {"ddof": 1, "clamp": False},
    {"supporters": "all"},
    {"supporters": "all", "sign": "plus"},
    {"ddof": 1, "sign": "plus", "clamp": False},
    {"sign": "plus", "clamp": False},
    {"z": 0.72575, "ddof": 1, "sign": "plus"},
]
GOLDEN = [
    {
        "source": "github LPD-EPFL/byzfl, tests/unit_test_attacks.py, TestALittleIsEnoughAttack",
        "options": {"z": 1.5, "ddof": 1, "sign": "plus"},
        "byz": [0, 0, 0, 1],
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9], [50, -60, 70]],
        "output": [[8.5, 9.5, 10.5]],
    },
    {
        "source": "by hand: mean 0, deviation 1; 2 of 6: s = 4 - 2, (4 - 2) / 4 is the middle; among all (6 - 2) / 6, "
        "whose normal quantile is 0.4307273 in tables",
        "options": {"supporters": "all"},
        "byz": [0, 0, 0, 0, 1, 1],
        "rows": [[1], [-1], [1], [-1], [5], [6]],
        "output": [[-0.4307273], [-0.4307273]],
    },
    {
        "source": "by hand: 1 of 5: s = 3 - 1, so 0; 1 of 6: s = 4 - 1, (5 - 3) / 5 = 0.4, whose quantile is -0.2533471",
        "options": {"clamp": False},
        "byz": [0, 0, 0, 0, 0, 1],
        "rows": [[2], [-2], [2], [-2], [0], [6]],
        "output": [[0.2533471 * 3.2**0.5]],
    },
]


def alie(rows, byz, z=None, ddof=0, sign="minus", supporters="honest", clamp=True):
    good = honest(rows, byz)
    z = z_max(len(rows), int(sum(byz)), supporters, clamp=clamp) if z is None else z
    shift = z * deviation(good, ddof)
    return [sum(good) / len(good) + (shift if sign == "plus" else -shift)] * int(sum(byz))
