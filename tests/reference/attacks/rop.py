"""Relocated orthogonal perturbation."""

import math

from reference import honest, unit, z_max

OPTIONS = [
    {},
    {"pi": 0.25},
    {"angle": 30.0},
    {"lamb": 0.0},
    {"lamb": 1.0, "z": 1.0},
    {"z": 2.5},
    {"pi": 0.0, "angle": 180.0, "lamb": 0.5, "z": 1.0},
]
GOLDEN = [
    {
        "source": "by hand: u = (1, 0), p = (0, 1); from (3, 0) two along p",
        "options": {"lamb": 1.0, "angle": 90.0, "z": 2.0},
        "byz": [0, 1],
        "rows": [[0, 5], [9, 9]],
        "previous": [3, 0],
        "output": [[3, 2]],
    },
    {
        "source": "by hand: no aggregate yet, so u = mu / 5 = (1, 0) in spite of lamb; from half of mu against p",
        "options": {"pi": 0.5, "lamb": 1.0, "z": 2.0},
        "byz": [0, 1],
        "rows": [[5, 0], [9, 9]],
        "previous": [0, 0],
        "output": [[2.5, -2]],
    },
    {
        "source": "by hand: in one dimension nothing is orthogonal to u = 1, so 2 cos(60 degrees) on from 3",
        "options": {"angle": 60.0, "z": 2.0},
        "byz": [0, 1],
        "rows": [[1], [9]],
        "previous": [3],
        "output": [[4]],
    },
    {
        "source": "by hand: no aggregate and no mean: u = 0, p = unit(1, 1), two against it from 0",
        "options": {"z": 2.0},
        "byz": [0, 0, 1],
        "rows": [[1, 2], [-1, -2], [9, 9]],
        "output": [[-(2**0.5), -(2**0.5)]],
    },
]


def rop(rows, byz, ctx, pi=1.0, angle=270.0, lamb=0.9, z=None):
    good = honest(rows, byz)
    a, mu = ctx.previous, sum(good) / len(good)
    z = z_max(len(rows), int(sum(byz))) if z is None else z
    where = pi * a + (1 - pi) * mu
    u = unit(lamb * a + (1 - lamb) * mu if a.any() else mu)
    p = unit(1 - sum(u) * u)
    turned = math.sin(math.radians(angle)) * p + math.cos(math.radians(angle)) * u
    return [where + z * turned] * int(sum(byz))
