"""An Equinox training loop with ten workers, of which three send minus ten times what they computed.

The declared f grows by a schedule, and the update is clipped. Needs `pip install equinox`.

python examples/training/equinox_loop.py
"""

import byzsim
import equinox as eqx
import jax
import jax.numpy as jnp
import optax

WORKERS, ATTACKERS = 10, 3


def train(rule: byzsim.Aggregator, steps: int = 60) -> float:
    """Accuracy after training."""
    points = jax.random.normal(jax.random.key(0), (steps + 1, WORKERS, 32, 2))
    labels = (points[..., 0] * points[..., 1] > 0).astype(jnp.int32)  # which quadrants a point is in
    model = eqx.nn.MLP(2, 2, width_size=16, depth=1, key=jax.random.key(1))
    declared = optax.linear_schedule(ATTACKERS, ATTACKERS + 1, steps)
    robust = optax.inject_hyperparams(byzsim.as_optax, static_args=("m",))(rule, m=WORKERS, f=declared)
    optimizer = optax.chain(robust, optax.clip_by_global_norm(5.0), optax.adam(0.05))
    state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    def loss(model, points, labels):
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(points), labels).mean()

    @eqx.filter_jit
    def step(model, state, points, labels):
        workers = eqx.filter_vmap(eqx.filter_grad(loss), in_axes=(None, 0, 0))(model, points, labels)
        sent = jax.tree.map(lambda each: each.at[:ATTACKERS].multiply(-10.0), workers)
        updates, state = optimizer.update(sent, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state

    for t in range(steps):
        model, state = step(model, state, points[t], labels[t])
    return float((jax.vmap(jax.vmap(model))(points[-1]).argmax(-1) == labels[-1]).mean())


if __name__ == "__main__":
    for name, rule in {"mean": byzsim.mean(), "nnm+krum": byzsim.chain(byzsim.nnm(), byzsim.krum())}.items():
        print(f"{name}: {train(rule):.0%}")
