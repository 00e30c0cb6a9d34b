"""The attack on SafeguardSGD: a true gradient, shrunk and turned round."""

from reference import byzantine, honest

OPTIONS = [{}, {"c": 0.5}, {"c": 0.6}, {"c": 0.7}, {"gradient": "mean"}, {"gradient": "mean", "c": 0.7}]


def safeguard_attack(rows, byz, c=0.4, gradient="own"):
    if gradient == "own":
        return [-c * row for row in byzantine(rows, byz)]
    good = honest(rows, byz)
    return [-c * sum(good) / len(good)] * sum(byz)
