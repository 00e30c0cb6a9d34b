"""Layers that models share."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

Activation = Callable[[Array], Array]
ACTIVATIONS: dict[str, Activation] = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


def unit_images(images: UInt8[Array, "n h w *c"]) -> Float[Array, "n h w c"]:
    """Pixels from 0 to 1, with a channel axis (torchvision's `ToTensor`, and nothing else)."""
    images = images.astype(jnp.float32) / 255
    return images[..., None] if images.ndim == 3 else images


class ConvPool(nn.Module):
    """Valid convolution, 2 x 2 max-pooling, bias, as one matrix product; an activation that never decreases may follow.

        y[p, q] = bias + max over a, b in {0, 1} of (x * kernel)[2 p + a, 2 q + b]

    The four positions that a pooled pixel is the maximum of lie in one patch of (k + 1) x (k + 1) pixels, so the
    patches at stride 2 times four shifted copies of the kernel, padded to that size, give all of them at once. Under
    a `vmap` over workers this stays one product forward and m small ones for the weights' gradients, where a
    convolution becomes a grouped one, many times slower on a CPU. Height, width and k + 1 have to be even.
    """

    features: int
    kernel_size: int = 5

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n hp wp features"]:
        k, (n, h, w, c) = self.kernel_size, x.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (k, k, c, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if min(h, w) < k + 1 or h % 2 or w % 2:
            raise ValueError(
                f"images too small or of odd size: {k} x {k} convolution met {h} x {w}, not even and at least {k + 1}"
            )
        hp, wp = (h - k + 1) // 2, (w - k + 1) // 2
        y = (_patches(x, k + 1, hp, wp) @ _shifted(kernel)).reshape(n, hp, wp, 4, self.features)
        left, right = jnp.maximum(y[..., 0, :], y[..., 1, :]), jnp.maximum(y[..., 2, :], y[..., 3, :])
        return jnp.maximum(left, right) + bias


def _patches(x: Float[Array, "n h w c"], size: int, hp: int, wp: int) -> Float[Array, "n*hp*wp size*size*c"]:
    """Patches of size x size pixels at stride 2, as 2 x 2 blocks: (block row, block column, row, column, c)."""
    n, h, w, c = x.shape
    blocks = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    blocks = blocks.reshape(n, h // 2, w // 2, 4 * c)
    reach = range(size // 2)
    parts = [blocks[:, i : i + hp, j : j + wp] for i in reach for j in reach]
    return jnp.concatenate(parts, axis=-1).reshape(n * hp * wp, -1)


def _shifted(kernel: Float[Array, "k k c f"]) -> Float[Array, "(k+1)*(k+1)*c 4*f"]:
    """The kernel at the four offsets (0, 0), (0, 1), (1, 0), (1, 1) of a (k + 1)-square, in the order of `_patches`."""
    half, c = (len(kernel) + 1) // 2, kernel.shape[2]
    offsets = [(a, b) for a in (0, 1) for b in (0, 1)]
    copies = [jnp.pad(kernel, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for a, b in offsets]
    stacked = jnp.concatenate(copies, axis=-1).reshape(half, 2, half, 2, c, -1)
    return stacked.transpose(0, 2, 1, 3, 4, 5).reshape(4 * half * half * c, -1)
