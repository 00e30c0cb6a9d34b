"""A network of one's own: a CNN with GroupNorm, from Flax's own layers.

byzsim run examples/own_cnn.py
"""

import flax.linen as nn
import jax.numpy as jnp
from byzsim import Spec
from byzsim.experiments.plan import Table, axis


class CNN(nn.Module):
    n_classes: int
    channels: int

    @nn.compact
    def __call__(self, images):  # (n, h, w) or (n, h, w, c), uint8
        x = images.reshape(*images.shape[:3], -1).astype(jnp.float32) / 255
        for channels in (self.channels, 2 * self.channels):
            x = nn.Conv(channels, (3, 3))(x)
            x = nn.relu(nn.GroupNorm(num_groups=4)(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(self.n_classes)(x.reshape(len(x), -1))


def cnn(*, n_classes, channels: int = 8):
    """Two convolutions with GroupNorm and pooling, and a linear layer."""
    return CNN(n_classes, channels)


SPECS = {"cnn": Spec(cnn, source="this file")}
SPEC = Table(
    name="own_cnn",
    title="A CNN of one's own on digits, 10 workers",
    source="this file",
    base={"data": "digits", "model": "cnn", "m": 10, "batch": 8, "epochs": 5, "lr": 0.1},
    axes=(
        axis("rule", ["mean", "median", "nnm+krum"]),
        axis("attack", ["alie", "sign_flip"]),
        axis("alpha", [0.0, 0.2]),
    ),
    quick={"epochs": 1, "steps": 3},
)
