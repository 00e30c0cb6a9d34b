"""Krum, by each of the definitions in use."""

from reference import KRUM, krum_scores, usable

OPTIONS = [
    {},
    {"variant": "byzfl"},
    {"variant": "byzantine_momentum"},
    {"variant": "torchjd"},
    {"variant": "epfml"},
    {"variant": "ndss21"},
    {"variant": "alie"},
]
F = (0, 1, 2)

SEVEN = [[0], [3], [5], [6], [10], [12], [13]]
OTHER = [[0], [1], [3], [5], [6], [7], [11]]
POWERS = [[0, 0], [1, 0], [3, 0], [7, 0], [15, 0], [31, 0], [1000, 1000]]


def _golden(source, variant, rows, output):
    return {"source": source, "options": {"variant": variant}, "f": 1, "rows": rows, "output": output}


GOLDEN = [
    {
        "source": "by hand: points 0 1 9 14 18, m - f - 2 = 2 others; squared sums 82 65 89 41 97, so 14; 3 others: 278 234 170 210 386 (so 9), 1 other (self counted): 1 1 25 16 16 (so 0)",
        "options": {},
        "f": 1,
        "rows": [[0], [1], [9], [14], [18]],
        "output": [14],
    },
    {
        "source": "by hand: points 0 10 21 32, m - f - 2 = 2 others; sums 541 221 242 605; f = 1 leaves one other: 100 100 121 121, lowest index",
        "options": {},
        "f": 1,
        "rows": [[0], [10], [21], [32]],
        "output": [0],
    },
    {
        "source": "by hand: the same points, f = 0: two others",
        "options": {},
        "f": 0,
        "rows": [[0], [10], [21], [32]],
        "output": [10],
    },
    # SEVEN: distances to the others, nearest first:
    #   0: 3 5 6 10 12 13    3: 2 3 3 7 9 10    5: 1 2 5 5 7 8    6: 1 3 4 6 6 7
    #  10: 2 3 4 5 7 10     12: 1 2 6 7 9 12   13: 1 3 7 8 10 13
    # It tells all definitions apart but for three pairs, which OTHER tells apart:
    #   0: 1 3 5 6 7 11    1: 1 2 4 5 6 10    3: 2 2 3 3 4 8    5: 1 2 2 4 5 6
    #   6: 1 1 3 5 5 6     7: 1 2 4 4 6 7    11: 4 5 6 8 10 11
    _golden("by hand: squares of 4 others: 170 71 55 62 54 90 123", "blanchard2017", SEVEN, [10]),
    _golden("by hand: squares of 5 others: 314 152 104 98 103 171 223", "byzfl", SEVEN, [6]),
    _golden("by hand: 5 others: 36 24 20 20 21 25 29, lowest index", "byzantine_momentum", SEVEN, [5]),
    _golden("by hand: 4 others: 24 15 13 14 14 16 19", "torchjd", SEVEN, [5]),
    _golden("by hand: 4th powers of 4 others: 12002 2579 1267 1634 978 3714 6579", "epfml", SEVEN, [10]),
    _golden("by hand: squares of 3 others: 70 22 30 26 29 41 59", "ndss21", SEVEN, [3]),
    _golden("by hand: all 6 others: 49 34 28 27 31 37 42", "alie", SEVEN, [6]),
    _golden("by hand: squares of 4 others: 71 46 26 25 36 37 141", "blanchard2017", OTHER, [5]),
    _golden("by hand: squares of 5 others: 120 82 42 50 61 73 241", "byzfl", OTHER, [3]),
    _golden("by hand: 5 others: 22 18 14 14 15 17 33, lowest index", "byzantine_momentum", OTHER, [3]),
    _golden("by hand: 4 others: 15 12 10 9 10 11 23", "torchjd", OTHER, [5]),
    _golden("by hand: 4th powers of 4 others: 2003 898 194 289 708 529 6273", "epfml", OTHER, [3]),
    _golden("by hand: squares of 3 others: 35 21 17 9 11 21 77", "ndss21", OTHER, [5]),
    _golden("by hand: all 6 others: 33 28 22 20 21 24 44", "alie", OTHER, [5]),
    {
        "source": "calicarpa/krum, tests/primitives/aggregators/test_krum.py",
        "options": {},
        "f": 1,
        "rows": [[0, 0], [1, 0], [2, 0], [3, 0], [100, 100]],
        "output": [1, 0],
    },
    {
        "source": "LPD-EPFL/byzfl, docstring in byzfl/aggregators/aggregators.py (27 = 27, lowest index)",
        "options": {"variant": "byzfl"},
        "f": 1,
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "output": [1, 2, 3],
    },
    # the rows of calicarpa/krum, tests/primitives/aggregators/test_multikrum.py
    _golden("by hand: squares of 4 others: 284 237 173 165 629 2516 ..", "blanchard2017", POWERS, [7, 0]),
    _golden("by hand: squares of 5 others: 1245 1137 957 741 885 3477 ..", "byzfl", POWERS, [7, 0]),
    _golden("by hand: 5 others: 57 53 49 49 65 129 .., lowest index", "byzantine_momentum", POWERS, [3, 0]),
    _golden("by hand: 4 others: 26 23 21 25 49 98 ..", "torchjd", POWERS, [3, 0]),
    _golden("by hand: 4th powers of 4 others: 53108 39729 21089 8049 113873 ..", "epfml", POWERS, [7, 0]),
    _golden("by hand: squares of 3 others: 59 41 29 101 404 1616 ..", "ndss21", POWERS, [3, 0]),
]


def krum(rows, f, variant="blanchard2017"):
    good = usable(rows)
    scores = krum_scores(rows, f, *KRUM[variant])
    return rows[min(scores, key=lambda i: (scores[i], i not in good, i))]
