"""Bulyan; means and their ties in exact fractions, as two rows are always equally near to their mean."""

from fractions import Fraction

import numpy as np
from reference import KRUM, krum_scores, middle_of, nearest_to, usable

OPTIONS = [
    {},
    {"selection": "once"},
    {"selection": "means_drop_best"},
    {"selection": "means_drop_nearest"},
    *({"definition": definition} for definition in list(KRUM)[1:]),
    {"theta": "m-2f-2"},
    {"second": "trimmed_mean"},
    {"middle": "lower"},
    {"selection": "means_drop_nearest", "theta": "m-2f-2", "second": "trimmed_mean"},
    {"selection": "means_drop_best", "definition": "torchjd", "theta": "m-2f-2", "middle": "lower"},
]
F = (0, 1, 2, 3)

SEVEN = [[0], [3], [5], [6], [10], [12], [13]]


def _golden(source, options, output, rows=SEVEN, f=1):
    return {"source": source, "options": options, "f": f, "rows": rows, "output": output}


GOLDEN = [
    # SEVEN is 0 3 5 6 10 12 13; its scores are worked out in krum.py
]


def bulyan(
    rows, f, selection="iterative", definition="blanchard2017", theta="m-2f", second="near_median", middle="mean"
):
    good, m = usable(rows), len(rows)
    exact = {i: np.array([Fraction(value) for value in rows[i]]) for i in good}
    scores = krum_scores(rows, f, *KRUM[definition])
    picked, left = [], list(range(m))
    for i in range(max(m - 2 * f if theta == "m-2f" else m - 2 * f - 2, 1)):
        fit = [j for j in left if j in good]
        if not fit:
            break
        if selection == "iterative":
            scores = krum_scores(rows, f, *KRUM[definition], left)
        best = sorted(fit, key=lambda j: (scores[j], j))
        if selection in ("iterative", "once"):
            picked.append(exact[best[0]])
            left.remove(best[0])
            continue
        several = best[: max(m - f - 2 - i, 1)]
        mean = sum(exact[j] for j in several) / len(several)
        picked.append(mean)
        nearest = min(fit, key=lambda j: (sum((exact[j] - mean) ** 2), j))
        left.remove(best[0] if selection == "means_drop_best" else nearest)
    if not picked:
        return np.zeros(len(rows[0]))
    v = len(picked)
    drop = min(f, (v - 1) // 2)
    out = []
    for column in np.transpose(picked):
        if second == "trimmed_mean":
            kept = sorted(column)[drop : v - drop]
        else:
            kept = nearest_to(middle_of(column, middle), column, v - 2 * drop)
        out.append(float(sum(kept) / len(kept)))
    return np.array(out)


def compares(case, options):
    """Means of rows are rounded, so what is tied in float64 need not be in float32."""
    return not (options.get("selection", "").startswith("means") and case.startswith(("few", "tied")))
