"""Old honest work, picked out of the whole history."""

from reference import byzantine

OPTIONS = [
    {},
    {"delay": 1},
    {"delay": 5},
    {"delay": 5, "copies": 5},
    {"delay": 10, "copies": 3},
    {"delay": 7, "copies": 4},
    {"delay": 8, "copies": 2},
]


def delayed_gradient(rounds, byz, delay=1000, copies=1):
    every = -(-delay // copies)
    sent = []
    for t in range(len(rounds)):
        old_enough = [s for s in range(0, t + 1, every) if t - s >= delay]
        sent.append(byzantine(rounds[max(old_enough, default=0)], byz))
    return sent
