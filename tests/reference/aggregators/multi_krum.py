"""Multi-Krum, by each of the definitions in use."""

from reference import krum_scores, mean_of, usable

DEFINITIONS = {  # power, how many fewer than m - f others count, number of rows
    "blanchard2017": (2, 2, lambda m, f: m - f - 2),
    "byzfl": (2, 1, lambda m, f: m - f),
    "byzantine_momentum": (1, 1, lambda m, f: m - f - 2),
    "krum": (2, 2, lambda m, f: m - 2 * f - 3),
    "torchjd": (1, 2, lambda m, f: 1),
    "fedlib": (4, 2, lambda m, f: 1),
    "ndss21": (2, 3, lambda m, f: m - 2 * f - 2),
}
OPTIONS = [
    {},
    *({"variant": variant} for variant in list(DEFINITIONS)[1:]),
    {"q": 2},
    *({"variant": variant, "q": 2} for variant in ("byzfl", "byzantine_momentum", "ndss21")),
    {"variant": "ndss21", "q": 4},
]
F = (0, 1, 2)

SEVEN = [[0], [3], [5], [6], [10], [12], [13]]
POWERS = [[0, 0], [1, 0], [3, 0], [7, 0], [15, 0], [31, 0], [1000, 1000]]


def _golden(source, options, rows, output, f=1):
    return {"source": source, "options": options, "f": f, "rows": rows, "output": output}


GOLDEN = [
    # the scores of SEVEN (0 3 5 6 10 12 13) and POWERS are worked out in krum.py
    _golden("by hand: scores 170 71 55 62 54 90 123, best 4: 10 5 6 3", {}, SEVEN, [6]),
    _golden("by hand: scores 314 152 104 98 103 171 223, all but 0", {"variant": "byzfl"}, SEVEN, [49 / 6]),
    _golden(
        "by hand: scores 36 24 20 20 21 25 29, best 4: 5 6 10 3",
        {"variant": "byzantine_momentum"},
        SEVEN,
        [6],
    ),
    _golden("by hand: scores 170 71 55 62 54 90 123, best 2: 10 5", {"variant": "krum"}, SEVEN, [7.5]),
    _golden("by hand: scores 24 15 13 14 14 16 19", {"variant": "torchjd"}, SEVEN, [5]),
    _golden("by hand: scores 24 15 13 14 14 16 19, 6 before 10", {"variant": "torchjd", "q": 2}, SEVEN, [5.5]),
    _golden("by hand: scores 12002 2579 1267 1634 978 3714 6579", {"variant": "fedlib"}, SEVEN, [10]),
    _golden(
        "by hand: squares of 3 others 70 22 30 26 29 41 59: 3; of 2 others among 0 5 6 10 12 13: 61 26 17 13 5 10: 12; of 1 among 0 5 6 10 13: 25 1 1 9 9: 5",
        {"variant": "ndss21"},
        SEVEN,
        [20 / 3],
    ),
    _golden(
        "calicarpa/krum, tests/primitives/aggregators/test_multikrum.py (scores 284 237 173 165 629 ..: 7 3)",
        {"variant": "krum"},
        POWERS,
        [5, 0],
    ),
    _golden(
        "by hand: scores 1245 1137 957 741 885 3477 ..: 7 15",
        {"variant": "byzfl", "q": 2},
        POWERS,
        [11, 0],
    ),
    _golden("by hand: scores 57 53 49 49 65 ..: 3 7", {"variant": "byzantine_momentum", "q": 2}, POWERS, [5, 0]),
    _golden("by hand: scores 26 23 21 25 49 ..: 3 1", {"variant": "torchjd", "q": 2}, POWERS, [2, 0]),
    _golden("by hand: scores 53108 39729 21089 8049 ..: 7 3", {"variant": "fedlib", "q": 2}, POWERS, [5, 0]),
    _golden(
        "by hand: squares of 3 others 59 41 29 101 ..: 3; of 2 others among 0 1 7 15 31 1000: 50 37 85 ..: 1",
        {"variant": "ndss21", "q": 2},
        POWERS,
        [2, 0],
    ),
    _golden(
        "LPD-EPFL/byzfl, docstring in byzfl/aggregators/aggregators.py",
        {"variant": "byzfl"},
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        [2.5, 3.5, 4.5],
    ),
]


def multi_krum(rows, f, variant="blanchard2017", q=None):
    good, m = usable(rows), len(rows)
    power, fewer, number = DEFINITIONS[variant]
    q = max(number(m, f) if q is None else q, 1)
    scores = krum_scores(rows, f, power, fewer)
    kept = sorted(good, key=lambda i: (scores[i], i))[:q]
    if variant == "ndss21":
        kept, left = [], list(range(m))
        while len(kept) < min(q, len(good)):
            scores = krum_scores(rows, f, power, fewer, left)
            kept.append(min((i for i in left if i in good), key=lambda i: (scores[i], i)))
            left.remove(kept[-1])
    return mean_of(rows, kept)
