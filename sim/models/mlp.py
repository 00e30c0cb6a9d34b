"""A multilayer perceptron."""

from typing import Literal

import flax.linen as nn
from byzsim.models._layers import ACTIVATIONS, unit_images
from byzsim.options import Count, checked
from byzsim.types import Spec
from jaxtyping import Array, Float, Shaped


class MLP(nn.Module):
    """The module of `mlp`."""

    n_classes: int
    hidden: int
    activation: str

    @nn.compact
    def __call__(self, images: Shaped[Array, "n *image"]) -> Float[Array, "n classes"]:
        x = unit_images(images)
        x = ACTIVATIONS[self.activation](nn.Dense(self.hidden)(x.reshape(len(x), -1)))
        return nn.Dense(self.n_classes)(x)


@checked
def mlp(*, n_classes: int, hidden: Count = 100, activation: Literal["relu", "sigmoid"] = "relu") -> MLP:
    """One hidden layer: 784-100-10 on MNIST-like images (79,510 parameters).

    Args:
        n_classes: number of classes; static.
        hidden: width of the hidden layer; static.
        activation: "relu" or "sigmoid"; static.

    References:
        The network of the EPFL group's MNIST experiments (LPD-EPFL/ByzantineMomentum, reproduce.py).
    """
    return MLP(n_classes, hidden, activation)


SPEC = Spec(mlp, source="LPD-EPFL/ByzantineMomentum")
