"""SignGuard, with mean shift spelled out."""

import jax
import numpy as np
from reference import middle_of, usable

OPTIONS = [
    {},
    {"variant": "code"},
    {"part": 1},
    {"part": 1, "variant": "code"},
    {"part": 2},
    {"low": 0.9, "part": 2},
    {"high": 1.1, "part": 2},
    {"part": 1, "bandwidth": 0.3},
    {"part": 1, "bandwidth": 0.6, "variant": "code"},
    {"part": 1, "iterations": 1},
    {"part": 1, "iterations": 1, "variant": "code"},
]
F = (0, 2)
GOLDEN = [
    {
        "source": "by hand: median norm 2, .2 < norm < 6 keeps rows 1 2 3 4; signs + + + - +, h = sqrt(2) / 5, so rows 1 2 3 5; 1 2 3 clipped to 2: 1 2 2",
        "options": {},
        "f": 1,
        "rows": [[1], [2], [3], [-2], [100]],
        "output": [5 / 3],
    },
    {
        "source": "by hand: norms 1 2 4 8, median 3, all within .3 and 9; signs + + + -, h = sqrt(2) / 4, so rows 1 2 3, clipped to 3: 1 2 3",
        "options": {},
        "f": 1,
        "rows": [[1], [2], [4], [-8]],
        "output": [2],
    },
    {
        "source": "by hand: the same rows, clipped to the lower middle 2: 1 2 2; the bin of + is 3 h, within h of its points",
        "options": {"variant": "code"},
        "f": 1,
        "rows": [[1], [2], [4], [-8]],
        "output": [5 / 3],
    },
    {
        "source": "by hand: the same rows, median 3; 3 < norm < 9 keeps 4 -8; with signs + it is row 3, clipped to 3",
        "options": {"low": 1.0},
        "f": 1,
        "rows": [[1], [2], [4], [-8]],
        "output": [3],
    },
    {
        "source": "by hand: the same rows; 6 < norm < 9 keeps -8 alone, not in the cluster of +, so S1 counts, clipped to 3",
        "options": {"low": 2.0},
        "f": 1,
        "rows": [[1], [2], [4], [-8]],
        "output": [-3],
    },
    {
        "source": "by hand: the same rows; nobody above 9, so all, clipped to 3: 1 2 3 -3",
        "options": {"low": 3.0},
        "f": 1,
        "rows": [[1], [2], [4], [-8]],
        "output": [0.75],
    },
]
NEAR = 1e-5


def signguard(rows, f, ctx, low=0.1, high=3.0, part=10, bandwidth="auto", iterations=50, variant="xu2022"):
    d = len(rows[0])
    width = max(d // part, 1)
    start = int(jax.random.randint(ctx.key, (), 0, max(d - width, 1)))
    good = usable(rows)
    if not good:
        return np.zeros(d)
    norms = {i: float(np.sqrt(np.sum(rows[i] ** 2))) for i in good}
    middle = middle_of(norms.values())
    ordinary = [i for i in good if low * middle < norms[i] < high * middle]
    points = {}
    for i in good:
        window = rows[i][start : start + width]
        points[i] = np.array([np.sum(window > 0), np.sum(window == 0), np.sum(window < 0)]) / width
    if variant == "code":
        largest = np.max(list(points.values()), axis=0)
        points = {i: point / (1e-8 + largest) for i, point in points.items()}
    cluster = _largest_cluster(points, bandwidth, iterations, bins=variant == "code")
    chosen = [i for i in ordinary if i in cluster] or ordinary or good
    limit = middle_of(norms.values(), "lower") if variant == "code" else middle
    clipped = [rows[i] * (limit / norms[i] if norms[i] > limit else 1.0) for i in chosen]
    return sum(clipped) / len(clipped)


def _distance(a, b):
    return float(np.sqrt(np.sum((a - b) ** 2)))


def _bandwidth(points):
    """The mean distance to the k-th nearest point, a point itself being the first."""
    k = max(len(points) // 2, 1)
    return sum(sorted(_distance(a, b) for b in points.values())[k - 1] for a in points.values()) / len(points)


def _climbed(seed, points, h, iterations):
    """How many points were within h of a seed before its last move, and where it is then."""
    count = 0
    for _ in range(iterations):
        within = [point for point in points.values() if _distance(point, seed) <= h + NEAR]
        if not within:
            break
        before, seed, count = seed, sum(within) / len(within), len(within)
        if _distance(before, seed) <= 1e-3 * h:
            break
    return count, seed


def _largest_cluster(points, h, iterations, bins):
    h = _bandwidth(points) if h == "auto" else h
    seeds = points
    if bins and h > 0:
        cells = {i: np.round(point / h) for i, point in points.items()}
        if len({tuple(cell) for cell in cells.values()}) < len(points):
            seeds = {i: cell * h for i, cell in cells.items()}
    found = {i: _climbed(seed, points, h, iterations) for i, seed in seeds.items()}
    centres = []
    for i in sorted(found, key=lambda i: (-found[i][0], *(-np.round(found[i][1] * 1e4)), i)):
        if found[i][0] and all(_distance(found[i][1], centre) > h + NEAR for centre in centres):
            centres.append(found[i][1])
    members = [[] for _ in centres]
    for i, point in points.items():
        away = [_distance(point, centre) for centre in centres]
        if away and min(away) <= h + NEAR:
            members[next(k for k, far in enumerate(away) if far <= min(away) + NEAR)].append(i)
    return max(members, key=len, default=[])
