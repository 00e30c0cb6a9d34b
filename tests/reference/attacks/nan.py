"""Not numbers."""

import numpy as np
from reference import byzantine

OPTIONS = [{}]


def nan(rows, byz):
    return [np.full(len(row), np.nan) for row in byzantine(rows, byz)]
