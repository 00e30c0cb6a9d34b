"""A Flax linen training loop with ten workers, of which three send minus ten times what they computed.

The rule fills the slot that optax (from 0.2.7 on) has for it, between what is done to each worker's gradient and to the
update.

python examples/training/flax_linen.py
"""

import byzsim
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from optax.experimental import aggregating

WORKERS, ATTACKERS = 10, 3


def train(rule: byzsim.Aggregator, steps: int = 60) -> float:
    """Accuracy after training."""
    points = jax.random.normal(jax.random.key(0), (steps + 1, WORKERS, 32, 2))
    labels = (points[..., 0] * points[..., 1] > 0).astype(jnp.int32)  # which quadrants a point is in
    model = nn.Sequential([nn.Dense(16), jax.nn.relu, nn.Dense(2)])
    params = model.init(jax.random.key(1), points[0, 0])
    robust = byzsim.as_optax(rule, m=WORKERS, f=ATTACKERS)
    optimizer = aggregating.process(optax.identity(), robust, optax.adam(optax.cosine_decay_schedule(0.05, steps)))
    state = optimizer.init(params)

    def loss(params, points, labels):
        return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, points), labels).mean()

    @jax.jit
    def step(params, state, points, labels):
        workers = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(params, points, labels)  # (workers, ...) each
        sent = jax.tree.map(lambda each: each.at[:ATTACKERS].multiply(-10.0), workers)
        updates, state = optimizer.update(sent, state, params)
        return optax.apply_updates(params, updates), state

    for t in range(steps):
        params, state = step(params, state, points[t], labels[t])
    return float((model.apply(params, points[-1]).argmax(-1) == labels[-1]).mean())


if __name__ == "__main__":
    for name, rule in {"mean": byzsim.mean(), "nnm+krum": byzsim.chain(byzsim.nnm(), byzsim.krum())}.items():
        print(f"{name}: {train(rule):.0%}")
