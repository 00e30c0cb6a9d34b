"""Zeros."""

import numpy as np
from reference import byzantine

OPTIONS = [{}]


def zero_gradient(rows, byz):
    return [np.zeros(len(row)) for row in byzantine(rows, byz)]
