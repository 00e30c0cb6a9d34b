"""Gradient scale."""

from reference import byzantine

OPTIONS = [{}, {"factor": -2.0}]


def scaling(rows, byz, factor=1e10):
    return [factor * row for row in byzantine(rows, byz)]
