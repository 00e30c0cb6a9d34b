"""Layers that several models use."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

Activation = Callable[[Array], Array]
ACTIVATIONS: dict[str, Activation] = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


def unit_images(images: Shaped[Array, "n *shape"]) -> Float[Array, "n *shape_and_channels"]:
    """Pixels from 0 to 1, with a channel axis, as torchvision's `ToTensor` does; floats stay as they are."""
    if not jnp.issubdtype(images.dtype, jnp.floating):
        images = images.astype(jnp.float32) / (255 if images.dtype == jnp.uint8 else 1)
    return images[..., None] if images.ndim == 3 else images


class ConvPool(nn.Module):
    """A convolution without padding, 2 x 2 max-pooling and a bias, computed as one matrix product.

    ```text
    y[p, q] = bias + max over a, b in {0, 1} of (x * kernel)[2 p + a, 2 q + b]
    ```

    The four convolution results that a pooled pixel is the maximum of depend on one patch of (k + 1) x (k + 1) pixels.
    So the product of four shifted copies of the kernel, padded to that size, with the patches at stride 2 has all of
    them. An activation may follow if it does not decrease, since then it commutes with the maximum.

    Channels come first and examples last, so that copies, comparisons and sums run over contiguous memory and fill a
    CPU's vector registers, and both gradients are products of the same matrices. Height and width have to be even, and
    k odd.
    """

    features: int
    kernel_size: int = 5

    @nn.compact
    def __call__(self, x: Float[Array, "c h w n"]) -> Float[Array, "features hp wp n"]:
        k, (c, h, w, n) = self.kernel_size, x.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (k, k, c, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if min(h, w) < k + 1 or h % 2 or w % 2:
            raise ValueError(
                f"images too small or of odd size: a {k} x {k} convolution got {h} x {w} pixels; expected even numbers "
                f"of at least {k + 1}"
            )
        hp, wp = (h - k + 1) // 2, (w - k + 1) // 2
        # the kernel at the offsets (0, 0), (0, 1), (1, 0), (1, 1) in a (k + 1)-square: (4 features, (k + 1)^2 c)
        copies = [jnp.pad(kernel, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for a in (0, 1) for b in (0, 1)]
        shifted = jnp.moveaxis(jnp.stack(copies), -1, 1).reshape(4 * self.features, -1)
        y = shifted @ _patches(x, k + 1, hp, wp)
        y = _largest(y.reshape(4, self.features, -1)) + bias[:, None]
        return y.reshape(self.features, hp, wp, n)


@jax.custom_vjp
def _largest(y: Float[Array, "four f n"]) -> Float[Array, "f n"]:
    """The maximum over the first axis. The gradient goes to the first of equal values, as in PyTorch."""
    return y.max(axis=0)


_largest.defvjp(
    lambda y: (y.max(axis=0), y.argmax(axis=0)),
    lambda first, gradient: (jnp.where(jnp.arange(4)[:, None, None] == first[None], gradient, 0),),
)


def _patches(x: Float[Array, "c h w n"], size: int, hp: int, wp: int) -> Float[Array, "patch place"]:
    """The patches of size x size pixels at stride 2, one in each column, in the order (row, column, channel)."""
    parts = [x[:, i : i + 2 * hp : 2, j : j + 2 * wp : 2] for i in range(size) for j in range(size)]
    return jnp.stack(parts).reshape(size * size * len(x), -1)
