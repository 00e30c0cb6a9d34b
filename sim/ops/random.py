"""Normal random numbers with the bits of `jax.random.normal`, in half the time on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of Threefry, in even and odd groups of four rounds


def normals(key: Array, d: int) -> Float[Array, " d"]:
    """The same bits as `jax.random.normal(key, (d,), float32)`.

    JAX runs the rounds of Threefry as a loop, which compiles faster, but every round reads and writes memory. Here the
    rounds are unrolled, so that XLA fuses drawing, the map to the normal distribution and the use into one loop.
    """
    if jax.random.key_impl(key) != "threefry2x32":
        return jax.random.normal(key, (d,), jnp.float32)
    # uniform in (-1, 1), then the inverse of the normal distribution function, as in jax.random.normal
    bits = _threefry(jax.random.key_data(key), jnp.arange(d, dtype=jnp.uint32))
    unit = jax.lax.bitcast_convert_type((bits >> 9) | jnp.uint32(0x3F800000), jnp.float32) - 1.0
    low = np.nextafter(np.float32(-1), np.float32(0))  # never -1, whose quantile is infinite
    uniform = jnp.maximum(low, unit * (np.float32(1) - low) + low)
    return np.sqrt(np.float32(2)) * jax.lax.erf_inv(uniform)


def _threefry(key: UInt32[Array, " 2"], count: UInt32[Array, " d"]) -> UInt32[Array, " d"]:
    """The exclusive or of the two output words of Threefry-2x32 with 20 rounds (Salmon et al., SC 2011)."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(0x1BD11BDA))
    x, y = jnp.broadcast_to(keys[0], count.shape), count + keys[1]
    for group in range(5):  # five groups of four rounds; a part of the key is added after each group
        for by in ROTATIONS[group % 2]:
            x = x + y
            y = ((y << by) | (y >> (32 - by))) ^ x
        x, y = x + keys[(group + 1) % 3], y + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return x ^ y
