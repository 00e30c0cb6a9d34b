"""Draws that have to be jax's own."""

import jax
import numpy as np
import pytest
from byzsim.ops.random import normals


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_normals_are_those_of_jax_to_the_last_bit(impl):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(7, impl=impl), np.arange(3))
    for key in keys:
        np.testing.assert_array_equal(
            jax.jit(normals, static_argnums=1)(key, 10_001), jax.random.normal(key, (10_001,))
        )
