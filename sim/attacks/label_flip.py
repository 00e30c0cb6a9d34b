"""Honest work on inverted labels."""

from byzsim.types import Attack, Context, Spec, make_attack
from jaxtyping import Array, Int


def label_flip() -> Attack:
    """Byzantine workers compute honest gradients on labels C - 1 - y (9 - y for ten classes).

    Notes:
        Labels are numbers of the C classes that the data have: of the digits 3 and 7 one becomes the other.
        (`byzsim.simulate` numbers classes so; `byzsim run` refuses data in which a class is missing.)

    References:
        Li et al., FTL-IJCAI 2021 (arXiv 2108.06658), section 5.1; Allen-Zhu et al., ICLR 2021, section 5.
    """

    def labels(labels: Int[Array, "*b"], n_classes: int, ctx: Context) -> Int[Array, "*b"]:
        del ctx
        return n_classes - 1 - labels

    return make_attack(labels=labels)


SPEC = Spec(label_flip, source="Li et al., FTL-IJCAI 2021, section 5.1", traits=frozenset({"data"}))
