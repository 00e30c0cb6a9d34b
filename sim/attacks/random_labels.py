"""Honest work on labels drawn at random."""

import jax
from byzsim.types import Attack, Context, Spec, make_attack
from jaxtyping import Array, Int


def random_labels() -> Attack:
    """Byzantine workers compute honest gradients on labels drawn uniformly from all classes, anew in each step.

    ```text
    y ~ U{0, ..., C - 1}
    ```

    Notes:
        Classes are those that the data have, as in `label_flip`. All labels of a step are one draw,
        `jax.random.randint(ctx.key, labels.shape, 0, n_classes)`; a label may be the true one.

    References:
        The label attack of Xie, Koyejo, Gupta, "Zeno", ICML 2019, is the flip; random labels are from data
        poisoning, for instance Zhang, Bengio, Hardt, Recht, Vinyals, ICLR 2017.
    """

    def labels(labels: Int[Array, "*b"], n_classes: int, ctx: Context) -> Int[Array, "*b"]:
        return jax.random.randint(ctx.key, labels.shape, 0, n_classes, labels.dtype)

    return make_attack(labels=labels)


SPEC = Spec(random_labels, source="after Zhang et al., ICLR 2017", traits=frozenset({"data", "stochastic"}))
