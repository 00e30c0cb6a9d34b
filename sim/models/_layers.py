"""Layers that models share."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

Activation = Callable[[Array], Array]
ACTIVATIONS: dict[str, Activation] = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


def unit_images(images: Shaped[Array, "n *shape"]) -> Float[Array, "n *shape"]:
    """Pixels from 0 to 1, with a channel axis (torchvision's `ToTensor`, and nothing else); floats stay as they are."""
    if not jnp.issubdtype(images.dtype, jnp.floating):
        images = images.astype(jnp.float32) / (255 if images.dtype == jnp.uint8 else 1)
    return images[..., None] if images.ndim == 3 else images


class ConvPool(nn.Module):
    """Valid convolution, 2 x 2 max-pooling, bias, as one matrix product; an activation that never decreases may follow.

        y[p, q] = bias + max over a, b in {0, 1} of (x * kernel)[2 p + a, 2 q + b]

    The four positions that a pooled pixel is the maximum of lie in one patch of (k + 1) x (k + 1) pixels, so four
    shifted copies of the kernel, padded to that size, times the patches at stride 2 give all of them at once. Channels
    come first and examples last: whatever is copied, compared or added lies in long runs, whose examples fill the
    registers of a CPU, and both gradients are products of the same matrices. Height, width and k + 1 have to be even.
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
                f"images too small or of odd size: {k} x {k} convolution met {h} x {w}, not even and at least {k + 1}"
            )
        hp, wp = (h - k + 1) // 2, (w - k + 1) // 2
        y = _shifted(kernel) @ _patches(x, k + 1, hp, wp)
        y = _largest(y.reshape(4, self.features, -1)) + bias[:, None]
        return y.reshape(self.features, hp, wp, n)


@jax.custom_vjp
def _largest(y: Float[Array, "four f n"]) -> Float[Array, "f n"]:
    """Maximum over the first axis; the gradient goes to the first of equals, as in PyTorch, with no count of ties."""
    return y.max(axis=0)


_largest.defvjp(
    lambda y: (y.max(axis=0), y.argmax(axis=0)),
    lambda first, gradient: (jnp.where(jnp.arange(4)[:, None, None] == first, gradient, 0),),
)


def _patches(x: Float[Array, "c h w n"], size: int, hp: int, wp: int) -> Float[Array, "patch place"]:
    """Patches of size x size pixels at stride 2, one a column: (row, column, c)."""
    parts = [x[:, i : i + 2 * hp : 2, j : j + 2 * wp : 2] for i in range(size) for j in range(size)]
    return jnp.stack(parts).reshape(size * size * len(x), -1)


def _shifted(kernel: Float[Array, "k k c f"]) -> Float[Array, "4*f (k+1)*(k+1)*c"]:
    """The kernel at the four offsets (0, 0), (0, 1), (1, 0), (1, 1) of a (k + 1)-square, in the order of `_patches`."""
    offsets = [(a, b) for a in (0, 1) for b in (0, 1)]
    copies = [jnp.pad(kernel, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for a, b in offsets]
    return jnp.moveaxis(jnp.stack(copies), -1, 1).reshape(4 * kernel.shape[-1], -1)
