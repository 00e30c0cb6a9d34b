"""Bulyan; means and their ties in exact fractions, as two rows are always equally near to their mean."""

from fractions import Fraction

import numpy as np
from reference import KRUM, krum_scores, middle_of, nearest_to, usable

OPTIONS = [
    {},
    {"selection": "once"},
    {"selection": "means_drop_best"},
    {"selection": "iterative_means"},
    *({"krum_variant": krum_variant} for krum_variant in KRUM if krum_variant != "blanchard2017"),
    {"theta": "m-2f-2"},
    {"second_stage": "trimmed_mean"},
    {"middle": "lower"},
    {"selection": "iterative_means", "theta": "m-2f-2", "second_stage": "trimmed_mean"},
    {"selection": "means_drop_best", "krum_variant": "torchjd", "theta": "m-2f-2", "middle": "lower"},
]
# With f = 2 of 8 there are four means in V, of four rows, three, two and one. Of tied rows their values can be equally
# near the median, which rounded thirds are not: float32 may then keep either.
F = (0, 1, 3)

SEVEN = [[0], [3], [5], [6], [10], [12], [13]]


def _golden(source, options, output, rows=SEVEN, f=1):
    return {"source": source, "options": options, "f": f, "rows": rows, "output": output}


GOLDEN = [
    # SEVEN is 0 3 5 6 10 12 13; its scores among all, 170 71 55 62 54 90 123, are worked out in krum.py. Krum picks 10;
    # among 0 3 5 6 12 13 (3 others: 70 22 30 46 86 114) 3; among 0 5 6 12 13 (2 others: 61 26 37 37 50) 5; among
    # 0 6 12 13 (1 other: 36 36 1 1) 12; among 0 6 13 (1 other: 36 36 49) 0.
    _golden("by hand: V = 10 3 5 12 0, median 5, 0 and 10 equally near: (5+3+0)/3", {}, [8 / 3]),
    _golden("by hand: V = 10 3 5 12 0, (3+5+10)/3", {"second_stage": "trimmed_mean"}, [6]),
    _golden("by hand: V = 10 3 5, its median", {"theta": "m-2f-2"}, [5]),
    _golden("by hand: V = 10 5 6 3 12, median 6: (6+5+3)/3", {"selection": "once"}, [14 / 3]),
    _golden(
        "by hand: V = means of 10 5 6 3, 5 6 3, 6 3, 3, 12 = 6 14/3 4.5 3 12, median 14/3: (14/3+4.5+6)/3",
        {"selection": "means_drop_best"},
        [91 / 18],
    ),
    _golden(
        "by hand: mean of 10 5 6 3 is 6, which leaves; among 0 3 5 10 12 13 (3 others: 134 57 54 38 57 73) of 10 5 3 (before 12) is 6, 5 leaves; among 0 3 10 12 13 (2: 109 58 13 5 10) of 12 13 is 12.5; V = 6 6 12.5, its median",
        {"selection": "iterative_means", "theta": "m-2f-2", "second_stage": "trimmed_mean"},
        [6],
    ),
    _golden(
        "by hand: scores 24 15 13 14 14 16 19; V = means of 5 6 10 3, 6 10 3, 10 3 = 6 19/3 6.5, the median",
        {"selection": "means_drop_best", "krum_variant": "torchjd", "theta": "m-2f-2", "middle": "lower"},
        [19 / 3],
    ),
    _golden(
        "by hand: 314 152 104 98 103 171 223: 6; among 0 3 5 10 12 13 (4 others: 278 143 103 87 135 174) 10; among 0 3 5 12 13 (3: 178 94 78 131 165) 5; among 0 3 12 13 (2: 153 90 82 101) 12; among 0 3 13 (1: 9 9 100) 0; median 6: (6+5+10)/3",
        {"krum_variant": "byzfl"},
        [7],
    ),
    _golden(
        "by hand: 3 others: 70 22 30 26 29 41 59: 3; among 0 5 6 10 12 13 (2 others: 61 26 17 13 5 10) 12; among 0 5 6 10 13 (1: 25 1 1 9 9) 5; f = 2 of V = 3 12 5 counts as 1",
        {},
        [5],
        f=2,
    ),
    _golden(
        "calicarpa/krum, tests/primitives/aggregators/test_bulyan.py (the version with m - 2f rows), mirrored: V = -2 -4 -1 -5 0, median -2; -4 and 0 are equally near, there the earlier pick is taken, here the smaller: (-2-1-4)/3",
        {},
        [-7 / 3, 0],
        rows=[[0, 0], [-1, 0], [-2, 0], [-3, 0], [-4, 0], [-5, 0], [-6, 0]],
    ),
    _golden(
        "calicarpa/krum, tests/primitives/aggregators/test_bulyan.py: nine equal rows and two far ones",
        {},
        [1, 1],
        rows=[[1, 1]] * 9 + [[100, 100]] * 2,
        f=2,
    ),
]


def bulyan(
    rows,
    f,
    selection="iterative",
    krum_variant="blanchard2017",
    theta="m-2f",
    second_stage="near_median",
    middle="mean",
):
    good, m = usable(rows), len(rows)
    exact = {i: np.array([Fraction(value) for value in rows[i]]) for i in good}
    scores = krum_scores(rows, f, *KRUM[krum_variant])
    picked, left = [], list(range(m))
    for i in range(max(m - 2 * f if theta == "m-2f" else m - 2 * f - 2, 1)):
        fit = [j for j in left if j in good]
        if not fit:
            break
        if selection in ("iterative", "iterative_means"):
            scores = krum_scores(rows, f, *KRUM[krum_variant], left)
        best = sorted(fit, key=lambda j: (scores[j], j))
        if selection in ("iterative", "once"):
            picked.append(exact[best[0]])
            left.remove(best[0])
            continue
        several = best[: max(m - f - 2 - i, 1)]
        mean = sum(exact[j] for j in several) / len(several)
        picked.append(mean)
        nearest = min(several, key=lambda j: sum((exact[j] - mean) ** 2))
        left.remove(best[0] if selection == "means_drop_best" else nearest)
    if not picked:
        return np.zeros(len(rows[0]))
    v = len(picked)
    drop = min(f, (v - 1) // 2)
    out = []
    for column in np.transpose(picked):
        if second_stage == "trimmed_mean":
            kept = sorted(column)[drop : v - drop]
        else:
            kept = nearest_to(middle_of(column, middle), column, v - 2 * drop)
        out.append(float(sum(kept) / len(kept)))
    return np.array(out)
