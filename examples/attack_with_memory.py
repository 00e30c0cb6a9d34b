"""An attack with memory: it follows the honest mean, and sends what would undo the last steps.

byzsim run examples/attack_with_memory.py
byzsim run examples/attack_with_memory.py --options undo.beta=0,0.9,0.99
"""

import jax.numpy as jnp
from byzsim import Spec, types
from byzsim.experiments.plan import Table, axis


def undo(*, beta: float = 0.9, strength: float = 2.0):
    """Minus `strength` times a running mean of the honest workers' rows."""

    def grads(updates, byz, state, ctx):
        honest = jnp.where(byz[:, None], 0, updates).sum(axis=0) / (~byz).sum()
        state = beta * state + (1 - beta) * honest
        return jnp.broadcast_to(-strength * state, updates.shape), state

    # What a member remembers is any pytree of arrays, made for m workers and d parameters.
    return types.make_attack(grads=grads, init=lambda m, d: jnp.zeros(d), reads_own_gradients=False)


SPECS = {"undo": Spec(undo, source="this file", traits=frozenset({"stateful", "collusive"}))}
SPEC = Table(
    name="attack_with_memory",
    title="An attack with memory: softmax regression on digits, 10 workers",
    source="this file",
    base={"data": "digits", "model": "softmax", "m": 10, "batch": 16, "epochs": 10, "lr": 0.5},
    axes=(
        axis("rule", ["mean", "median", "centered_clipping", "safeguard"]),
        axis("attack", ["undo", "sign_flip"]),
        axis("alpha", [0.1, 0.3]),
    ),
    quick={"epochs": 1},
)
