"""An attack on labels: what is sent is honest work on wrong ones."""

from reference import byzantine

OPTIONS = [{}]


def random_labels(rows, byz):
    return byzantine(rows, byz)
