"""ResNet-20 for small images."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from byzsim.models._layers import unit_images
from byzsim.options import Count, checked
from byzsim.types import Spec
from jaxtyping import Array, Float, Shaped


class Block(nn.Module):
    """A residual block."""

    features: int
    stride: int
    groups: int

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 features"]:
        y = nn.Conv(self.features, (3, 3), self.stride, padding=1, use_bias=False)(x)
        y = jax.nn.relu(nn.GroupNorm(self.groups)(y))
        y = nn.Conv(self.features, (3, 3), padding=1, use_bias=False)(y)
        y = nn.GroupNorm(self.groups)(y)
        x = x[:, :: self.stride, :: self.stride]
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.features - x.shape[-1])))
        return jax.nn.relu(x + y)


class ResNet20(nn.Module):
    """The module of `resnet20`."""

    n_classes: int
    groups: int

    @nn.compact
    def __call__(self, images: Shaped[Array, "n *image"]) -> Float[Array, "n classes"]:
        x = nn.Conv(16, (3, 3), padding=1, use_bias=False)(unit_images(images))
        x = jax.nn.relu(nn.GroupNorm(self.groups)(x))
        for features in (16, 32, 64):
            for block in range(3):
                stride = 2 if features > 16 and block == 0 else 1
                x = Block(features, stride, self.groups)(x)
        return nn.Dense(self.n_classes)(x.mean(axis=(1, 2)))


@checked
def resnet20(*, n_classes: int, groups: Count = 8) -> ResNet20:
    """ResNet-20: a 3 x 3 convolution, nine residual blocks of 16, 32 and 64 features, mean over pixels, dense.

    ```text
    y = relu(norm(conv(x)));    block(x) = relu(shortcut(x) + norm(conv(y)))
    ```

    The model has 269,722 parameters for ten classes and colour images, as in the paper's Table 6 (0.27 M). It is meant
    for accelerators: a convolution under `vmap` over workers is slow on a CPU.

    Args:
        n_classes: number of classes; static.
        groups: number of groups of GroupNorm, a divisor of 16; static.

    Raises:
        ValueError: `groups` does not divide 16.

    Notes:
        Shortcuts have no parameters (the paper's option A: every second pixel, zeros for new features). The paper
        uses BatchNorm; here GroupNorm replaces it, since BatchNorm's running means are a state of each worker that no
        rule aggregates, and workers with batches of 8 estimate them badly. Pixels are scaled to 0 to 1, without the
        paper's mean subtraction, crops and flips. Weights are initialised with LeCun's normal distribution (Flax's
        default), not with He's.

    References:
        He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2. Wu, He,
        "Group normalization", ECCV 2018.
    """
    if 16 % groups:
        raise ValueError(f"resnet20: groups={groups!r} is not a divisor of 16")
    return ResNet20(n_classes, groups)


SPEC = Spec(resnet20, source="He et al., CVPR 2016")
