"""No attack."""

from byzsim.types import Attack, Entry, attack


def none() -> Attack:
    """Byzantine workers do honest work: the run without attack."""
    return attack()


ENTRY = Entry(none, source="the honest run")
