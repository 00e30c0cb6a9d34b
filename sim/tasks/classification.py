"""Classification of images, rows of a table or anything else that a model makes logits of."""

import jax.numpy as jnp
import optax
from byzsim.models import Model
from byzsim.options import checked
from byzsim.task import Task
from byzsim.types import Spec


@checked
def classification(*, model: Model, n_classes: int) -> Task:
    """Softmax cross-entropy of a model's logits, in nats; measured as accuracy and loss on the test set.

    $$\\ell(w; x, y) = -\\log \\mathrm{softmax}(\\mathrm{model}_w(x))_y$$

    Args:
        model: maps inputs to logits (b, n_classes); a name in `byzsim.MODELS`, with the options of the model.
        n_classes: from the data set.
    """

    def losses(params, constants, batch, key):
        logits = model.apply(params, constants, batch.inputs, key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels.astype(jnp.int32))

    def metrics(params, constants, batch):
        logits = model.apply(params, constants, batch.inputs, None)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels.astype(jnp.int32))
        return {"accuracy": logits.argmax(axis=-1) == batch.labels, "loss": loss}

    def init(key, example):
        return model.init(key, example.inputs)

    return Task(init, losses, metrics, n_classes=n_classes, **model.how())


SPEC = Spec(classification, source="the loss of the papers' experiments")
