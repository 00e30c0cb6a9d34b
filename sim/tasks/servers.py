"""Classification with several parameter servers, of which some are Byzantine."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from byzsim.models import Model
from byzsim.options import Count, Natural, checked
from byzsim.servers import Servers
from byzsim.task import Data, Task
from byzsim.tasks.classification import classification
from byzsim.types import Spec
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

ServerAttack = Literal["random", "reversed", "sign_flip"]


@checked
def servers(
    *,
    model: Model,
    n_classes: int,
    n_ps: Count = 4,
    f_ps: Natural = 1,
    attack: ServerAttack = "sign_flip",
    every: Count = 1,
    hears: Count | None = None,
) -> Task:
    """Classification by n_ps servers that exchange models, of which f_ps are Byzantine.

    In a step every worker computes its gradient at the model of each honest server, on the same batch. Every honest
    server applies the rule to the rows for it and makes its step; then the servers exchange models:

    $$\\theta_i \\leftarrow \\mathrm{median}\\{\\theta_j : j \\in Q_i\\}, \\qquad |Q_i| = n_{ps} - f_{ps}$$

    coordinate by coordinate. A server waits for no more than n_ps - f_ps models: those of all Byzantine servers, which
    answer first, its own, and those of honest servers drawn anew. While n_ps > 3 f_ps, honest models are the majority
    of these. All servers start from the same model.

    The loss, and what is measured (`accuracy`, `loss`), are means over honest servers; `spread` is the largest
    distance between the models of two honest servers. The parameters are those of all honest servers, so d, and the
    length to which `RunConfig.clip` shortens, are of all of them together.

    Args:
        model: maps inputs to logits (b, n_classes); a name in `byzsim.MODELS`, with the options of the model.
        n_classes: from the data set.
        n_ps: servers (static).
        f_ps: Byzantine ones among them, at most (n_ps - 1) // 2 (static).
        attack: the model that Byzantine servers send: "random" coordinates from U(0, 1); "reversed", -100 times the
            mean of the honest models; "sign_flip", minus that mean (static).
        every: steps between exchanges (static).
        hears: workers whose rows a server takes in a step, drawn anew for each server and step, as a server does that
            waits for the quickest; None: all (static).

    References: ByzSGD: El-Mhamdi, Guerraoui, Guirguis, Hoang, Rouault, PODC 2020 (arXiv 1905.03853), there with
        different rules for workers and servers; the attacks are those of LPD-EPFL/Garfield.
    """
    if 2 * f_ps >= n_ps:
        raise ValueError(f"servers: f_ps={f_ps} is not below half of n_ps={n_ps}; take more servers")
    one, honest = classification(model=model, n_classes=n_classes), n_ps - f_ps

    def init(key, example):
        params, constants = one.init(key, example)
        return jnp.tile(ravel_pytree(params)[0], (honest, 1)), constants

    def losses(models, constants, batch, key):
        unravel = _unraveller(one, batch)
        each = jax.vmap(lambda flat: one.loss(unravel(flat), constants, batch, key))(models)
        total = each.sum(axis=0)  # so that each server's part of the gradient is that of its own loss
        return total - jax.lax.stop_gradient(total - each.mean(axis=0))

    def metrics(models, constants, batch):
        unravel = _unraveller(one, batch)
        each = jax.vmap(lambda flat: one.metrics(unravel(flat), constants, batch))(models)
        return {name: values.mean(axis=0) for name, values in each.items()}

    def measure(models, facts):
        return {"spread": jax.vmap(lambda one: jnp.linalg.norm(models - one[None], axis=1))(models).max()}

    def exchange(key, models, step):
        forge_key, *keys = jax.random.split(key, honest + 1)
        theirs = jnp.broadcast_to(_forged(attack, forge_key, models.mean(axis=0)), (f_ps, models.shape[1]))

        def received(own, key):
            late = jax.random.uniform(key, (honest,)).at[own].set(-1)  # its own model is there first
            ours = models[jnp.argsort(late)[: n_ps - 2 * f_ps]]
            return jnp.median(jnp.concatenate([ours, theirs]), axis=0)

        met = jax.vmap(received)(jnp.arange(honest), jnp.stack(keys))
        return jnp.where((step + 1) % every == 0, met, models)

    together = Servers(honest, hears, exchange)
    return Task(init, losses, metrics, measure, n_classes=n_classes, servers=together, **model.how())


def _unraveller(task: Task, batch: Data) -> Callable[[Float[Array, " d"]], Any]:
    """Flat parameters -> the tree of one model."""
    example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), batch)
    shapes = jax.eval_shape(task.init, jax.eval_shape(jax.random.key, 0), example)[0]
    return ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))[1]


def _forged(attack: ServerAttack, key: Key[Array, ""], mean: Float[Array, " d"]) -> Float[Array, " d"]:
    """The model that Byzantine servers send, from the mean of the honest ones."""
    if attack == "random":
        return jax.random.uniform(key, mean.shape, mean.dtype)
    return -100 * mean if attack == "reversed" else -mean


SPEC = Spec(servers, source="El-Mhamdi et al., PODC 2020")
