"""No attack."""

from byzsim.types import Attack, Spec, make_attack


def none() -> Attack:
    """Byzantine workers are honest: the run without attack."""
    return make_attack()


SPEC = Spec(none, source="the honest run")
