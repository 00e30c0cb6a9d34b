"""Softmax regression."""

import flax.linen as nn
from byzsim.models._layers import unit_images
from byzsim.types import Spec
from jaxtyping import Array, Float, Shaped


class Softmax(nn.Module):
    """The module of `softmax`."""

    n_classes: int

    @nn.compact
    def __call__(self, images: Shaped[Array, "n *image"]) -> Float[Array, "n classes"]:
        x = unit_images(images)
        return nn.Dense(self.n_classes)(x.reshape(len(x), -1))


def softmax(*, n_classes: int) -> Softmax:
    """Softmax regression on pixels: a convex problem with 7,850 parameters on MNIST-like images.

    Args:
        n_classes: number of classes; static.
    """
    return Softmax(n_classes)


SPEC = Spec(softmax, source="multinomial logistic regression")
