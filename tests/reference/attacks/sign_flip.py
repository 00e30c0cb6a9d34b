"""Sign flip: of the own work, of the honest mean, or of one attacker's."""

from reference import byzantine, honest

OPTIONS = [{}, {"gradient": "mean"}, {"gradient": "first"}]
GOLDEN = [
    {
        "source": "github LPD-EPFL/byzfl, tests/unit_test_attacks.py, TestSignFlippingAttack",
        "options": {"gradient": "mean"},
        "byz": [0, 0, 0, 1],
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9], [50, -60, 70]],
        "output": [[-4, -5, -6]],
    },
    {
        "source": "by hand: the first attacker's (5, 6), turned around, from both",
        "options": {"gradient": "first"},
        "byz": [0, 1, 1],
        "rows": [[1, 2], [5, 6], [7, 8]],
        "output": [[-5, -6], [-5, -6]],
    },
]


def sign_flip(rows, byz, gradient="own"):
    good, bad = honest(rows, byz), byzantine(rows, byz)
    if gradient == "own":
        return [-row for row in bad]
    return [-(sum(good) / len(good) if gradient == "mean" else bad[0])] * len(bad)
