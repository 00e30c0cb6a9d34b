"""Model negation."""

from reference import honest

OPTIONS = [{}, {"factor": 0.5}]


def negation(rows, byz, factor=1e10):
    return [-factor * sum(honest(rows, byz))] * sum(byz)
