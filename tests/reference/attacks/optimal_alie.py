"""A little is enough, with the strength that harms most."""

from reference import deviation, honest, most_harm, most_harm_upwards, replaced

OPTIONS = [{}, {"line_search": "up"}, {"sign": "minus"}, {"line_search": "up", "sign": "minus"}, {"ddof": 0}]
GOLDEN = [
    {
        "source": "by hand: the mean follows without end, so 15 doubled steps, 1 + 2 + ... + 2^14 = 32767; mean 1, "
        "deviations 1 and 0",
        "options": {"ddof": 0},
        "byz": [0, 0, 1],
        "rows": [[0, 1], [2, 1], [9, 9]],
        "output": [[1 + 32767, 1]],
    },
    {
        "source": "by hand: 19 doubled steps, 10 (2^19 - 1)",
        "options": {"line_search": "up", "ddof": 0},
        "byz": [0, 0, 1],
        "rows": [[-1, 1], [1, 1], [9, 9]],
        "output": [[5242870, 1]],
    },
]


def optimal_alie(rows, byz, ctx, line_search="up_and_down", sign="plus", ddof=1):
    good = honest(rows, byz)
    mu = sum(good) / len(good)
    sigma = deviation(good, ddof)

    def forged(x):
        return mu + x * sigma if sign == "plus" else mu - x * sigma

    def harm(x):
        return float(sum((ctx.aggregate(replaced(rows, byz, forged(x))) - mu) ** 2))

    x = most_harm(harm) if line_search == "up_and_down" else most_harm_upwards(harm)
    return [forged(x)] * int(sum(byz))
