"""A Flax NNX training loop with ten workers, of which three send minus ten times what they computed.

python examples/training/flax_nnx.py
"""

import byzsim
import jax
import jax.numpy as jnp
import optax
from flax import nnx

WORKERS, ATTACKERS = 10, 3


def train(rule: byzsim.Aggregator, steps: int = 60) -> float:
    """Accuracy after training."""
    points = jax.random.normal(jax.random.key(0), (steps + 1, WORKERS, 32, 2))
    labels = (points[..., 0] * points[..., 1] > 0).astype(jnp.int32)  # which quadrants a point is in
    model = nnx.Sequential(nnx.Linear(2, 16, rngs=nnx.Rngs(0)), jax.nn.relu, nnx.Linear(16, 2, rngs=nnx.Rngs(1)))
    robust = byzsim.as_optax(rule, m=WORKERS, f=ATTACKERS)
    optimizer = nnx.Optimizer(model, optax.chain(robust, optax.adam(0.05)), wrt=nnx.Param)

    def loss(model, points, labels):
        return optax.softmax_cross_entropy_with_integer_labels(model(points), labels).mean()

    @nnx.jit
    def step(model, optimizer, points, labels):
        workers = nnx.vmap(nnx.grad(loss), in_axes=(None, 0, 0))(model, points, labels)  # (workers, ...) each
        sent = jax.tree.map(lambda each: each.at[:ATTACKERS].multiply(-10.0), workers)
        optimizer.update(model, sent)

    for t in range(steps):
        step(model, optimizer, points[t], labels[t])
    return float((model(points[-1]).argmax(-1) == labels[-1]).mean())


if __name__ == "__main__":
    for name, rule in {"mean": byzsim.mean(), "nnm+krum": byzsim.chain(byzsim.nnm(), byzsim.krum())}.items():
        print(f"{name}: {train(rule):.0%}")
