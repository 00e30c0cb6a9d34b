"""Bulyan."""

import numpy as np
from reference import middle_of, nearest_mean, usable
from reference.aggregators.krum import DEFINITIONS, scores

OPTIONS = [
    {},
    {"selection": "once"},
    {"selection": "means_drop_nearest", "theta": "m-2f-2", "second": "trimmed_mean"},
    {"selection": "means_drop_best", "definition": "torchjd", "theta": "m-2f-2", "middle": "lower"},
    {"theta": "m-2f-2"},
    {"second": "trimmed_mean"},
    {"middle": "lower"},
    {"definition": "byzfl"},
]
F = (0, 1, 2)


def bulyan(
    rows, f, selection="iterative", definition="blanchard2017", theta="m-2f", second="near_median", middle="mean"
):
    m, good = len(rows), usable(rows)
    size = max(m - 2 * f - (2 if theta == "m-2f-2" else 0), 1)
    power, fewer = DEFINITIONS[definition]
    everyone = scores(rows, range(m), f, power, fewer)
    picked, left = [], list(range(m))
    for i in range(size):
        alive = [j for j in left if j in good]
        if not alive:
            break
        found = scores(rows, left, f, power, fewer) if selection == "iterative" else everyone
        order = sorted(alive, key=lambda j: (found[j], j))
        if selection in ("iterative", "once"):
            leaving = order[0]
            picked.append(rows[leaving])
        else:
            several = order[: max(m - f - 2 - i, 1)]
            mean = sum(rows[j] for j in several) / len(several)
            picked.append(mean)
            # the nearest to the mean, by sums that have no rounding where rows are tied
            nearest = min(several, key=lambda j: (sum(np.sum((rows[j] - rows[i]) ** 2) for i in several), j))
            leaving = order[0] if selection == "means_drop_best" else nearest
        left.remove(leaving)
    return second_stage(np.array(picked), f, second, middle)


def second_stage(picked, f, second, middle):
    size = len(picked)
    dropped = min(f, max(size - 1, 0) // 2)
    out = []
    for column in picked.T:
        if second == "trimmed_mean":
            kept = sorted(column)[dropped : size - dropped]
            out.append(sum(kept) / len(kept))
        else:
            out.append(nearest_mean(column, middle_of(column, middle), size - 2 * dropped))
    return np.array(out)
