"""Minus the gradient over all data, many times over."""

from byzsim.options import NotNegative, checked
from byzsim.types import Attack, Spec, Variant, colluding


@checked
def full_gradient_negation(*, kappa: NotNegative = 100.0) -> Attack:
    """Every Byzantine row is minus kappa times the gradient over the whole training set.

    ```text
    g_byz = -kappa grad L(w),    L the mean loss over all examples, w the parameters
    ```

    Args:
        kappa: the factor; traced. krum 0.9.1: 100.

    Raises:
        ValueError: there is no full gradient, outside of a training run.

    Cost:
        A gradient over all data in every step, many times that of all workers' batches.

    Notes:
        In a training run L is over all workers' data, Byzantine ones included, with clean labels. Outside of one,
        `byzsim.forge(..., full_gradient=g)` gives the gradient.

    References:
        Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine learning with adversaries: Byzantine tolerant
        gradient descent", NeurIPS 2017 (the omniscient attack); krum 0.9.1.
    """
    return colluding(lambda updates, byz, ctx: -kappa * ctx.full_gradient())


SPEC = Spec(
    full_gradient_negation,
    source="Blanchard et al., NeurIPS 2017",
    traits=frozenset({"collusive", "full_gradient"}),
    variants=(Variant("krum", {}, "-100 times the full gradient", "krum 0.9.1 (FullGradientNegationAttack)"),),
)
