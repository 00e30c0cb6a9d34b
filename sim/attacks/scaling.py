"""A gradient blown up by a constant."""

from sim.types import Attack, Entry, Traced, attack


def scaling(*, factor: Traced = 1e10) -> Attack:
    """Every Byzantine row is the worker's own gradient times a large constant ("gradient scale").

        g_byz = factor * g_own

    Args:
        factor: traced. BrSGD section 5.1: 1e10.
    Choices: the paper does not say whose gradient is scaled; this is the worker's own.
    References: Li et al., FTL-IJCAI 2021 (arXiv 2108.06658), section 5.1.
    """

    def grads(sent, byz, state, rnd):
        del byz, rnd
        return factor * sent, state

    return attack(grads=grads)


ENTRY = Entry(scaling, source="Li et al., FTL-IJCAI 2021, section 5.1")
