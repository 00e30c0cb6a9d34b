"""LeNet-5, in two variants that papers use."""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
from byzsim.models._layers import ACTIVATIONS, ConvPool, unit_images
from byzsim.options import checked
from byzsim.types import Spec
from jaxtyping import Array, Float, Shaped


class LeNet(nn.Module):
    """The module of `lenet`."""

    n_classes: int
    padding: int
    activation: str
    workers_in_turn: ClassVar[bool] = (
        True  # on a CPU the patches of one worker fit into the cache, those of all workers do not
    )

    @nn.compact
    def __call__(self, images: Shaped[Array, "n *image"]) -> Float[Array, "n classes"]:
        act = ACTIVATIONS[self.activation]
        x = unit_images(images).transpose(3, 1, 2, 0)
        x = jnp.pad(x, ((0, 0), (self.padding,) * 2, (self.padding,) * 2, (0, 0)))
        for features in (6, 16):
            x = act(ConvPool(features)(x))
        x = x.transpose(3, 1, 2, 0).reshape(len(images), -1)
        for features in (120, 84):
            x = act(nn.Dense(features)(x))
        return nn.Dense(self.n_classes)(x)


@checked
def lenet(*, n_classes: int, padding: Literal[0, 2] = 2, activation: Literal["relu", "sigmoid"] = "relu") -> LeNet:
    """LeNet-5: two 5 x 5 convolutions (6, 16) with 2 x 2 max-pooling, dense 120, 84, n_classes.

    Args:
        n_classes: number of classes; static.
        padding: width of the zeros around the image; static. 2 turns 28 x 28 images into LeCun's 32 x 32 and gives
            61,706 parameters for ten classes; 0 gives 44,426, the network of BrSGD's published code.
        activation: "relu", or "sigmoid" as in BrSGD's published code, which plain SGD at 0.03 barely trains; static.

    Notes:
        Weights are initialised with LeCun's normal distribution and biases with zero, Flax's defaults.

    References:
        LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    return LeNet(n_classes, padding, activation)


SPEC = Spec(lenet, source="LeCun et al., Proc. IEEE 1998")
