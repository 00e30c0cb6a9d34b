"""Inner product manipulation."""

from reference import honest

OPTIONS = [{}, {"epsilon": 2.0}]


def inner_product(rows, byz, epsilon=0.1):
    good = honest(rows, byz)
    return [-epsilon * sum(good) / len(good)] * sum(byz)
