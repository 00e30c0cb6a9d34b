"""Inner product manipulation, with the strength that harms most."""

from reference import honest, most_harm, most_harm_upwards, replaced

OPTIONS = [{}, {"line_search": "up"}, {"coefficient": "1-x"}, {"line_search": "up", "coefficient": "1-x"}]
GOLDEN = [
    {
        "source": "by hand: the mean follows without end, so 15 doubled steps, 1 + 2 + ... + 2^14 = 32767; mean (1, 2)",
        "options": {},
        "byz": [0, 0, 1],
        "rows": [[0, 1], [2, 3], [9, 9]],
        "output": [[-32767, -65534]],
    }
]


def optimal_inner_product(rows, byz, ctx, line_search="up_and_down", coefficient="-x"):
    good = honest(rows, byz)
    mu = sum(good) / len(good)

    def forged(x):
        return (1 - x) * mu if coefficient == "1-x" else -x * mu

    def harm(x):
        return float(sum((ctx.aggregate(replaced(rows, byz, forged(x))) - mu) ** 2))

    x = most_harm(harm) if line_search == "up_and_down" else most_harm_upwards(harm)
    return [forged(x)] * int(sum(byz))
