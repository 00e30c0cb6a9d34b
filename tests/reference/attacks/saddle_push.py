"""A push back to the saddle point of the octopus function."""

import math

from reference import honest

OPTIONS = [{}, {"c": 2.0}, {"v": 3.0}, {"width": 0.5}, {"width": 0.0}]


def saddle_push(rows, byz, ctx, c=0.5, v=1.0, width=2 * math.e):
    good = honest(rows, byz)
    row = sum(good) / len(good)
    for i, x in enumerate(ctx.params):
        if abs(x) <= width:
            row = row.copy()
            row[i] += c * v * (1 if x > 0 else -1 if x < 0 else 0)
            break
    return [row] * int(sum(byz))
