"""An attack on labels: what is sent is honest work on wrong ones."""

from reference import byzantine

OPTIONS = [{}]


def label_flip(rows, byz):
    return byzantine(rows, byz)
