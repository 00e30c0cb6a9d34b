"""Regression with a model, of one number or of several."""

import jax.numpy as jnp
from byzsim.models import Model
from byzsim.options import checked
from byzsim.task import Task
from byzsim.types import Spec


@checked
def regression(*, model: Model) -> Task:
    """Half the squared error, summed over outputs; measured as loss and as root mean squared error of each example.

    $$\\ell(w; x, y) = \\tfrac12 \\| \\mathrm{model}_w(x) - y \\|^2$$

    Args:
        model: maps inputs to (b, n_outputs); n_outputs is the number of targets, 1 for labels of shape (n,).
    """

    def losses(params, constants, batch, key):
        outputs = model.apply(params, constants, batch.inputs, key)
        missed = outputs - batch.labels.reshape(outputs.shape)
        return jnp.square(missed).sum(axis=-1) / 2

    def metrics(params, constants, batch):
        return {"loss": losses(params, constants, batch, None)}

    def init(key, example):
        return model.init(key, example.inputs)

    return Task(init, losses, metrics, **model.how())


SPEC = Spec(regression, source="textbook")
