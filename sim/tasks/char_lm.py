"""A small language model over characters."""

import flax.linen as nn
import jax.numpy as jnp
import optax
from byzsim.options import Count, checked
from byzsim.task import Task
from byzsim.types import Spec
from jaxtyping import Array, Float, Int


class Transformer(nn.Module):
    """A decoder: embeddings of characters and places, blocks of causal attention and a feed-forward layer, logits."""

    vocabulary: int
    width: int
    heads: int
    depth: int

    @nn.compact
    def __call__(self, characters: Int[Array, "n length"]) -> Float[Array, "n length vocabulary"]:
        length = characters.shape[1]
        x = nn.Embed(self.vocabulary, self.width)(characters) + nn.Embed(length, self.width)(jnp.arange(length))[None]
        mask = nn.make_causal_mask(characters)
        for _ in range(self.depth):
            x = x + nn.MultiHeadDotProductAttention(self.heads, use_bias=False)(nn.LayerNorm()(x), mask=mask)
            hidden = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(hidden)
        return nn.Dense(self.vocabulary)(nn.LayerNorm()(x))


@checked
def char_lm(*, vocabulary: Count = 96, width: Count = 32, heads: Count = 2, depth: Count = 1) -> Task:
    """A transformer that predicts the next character of a text; an example is a piece of it.

    The loss of an example is the mean over its places of $-\\log p(c_{t+1} \\mid c_1, \\dots, c_t)$, in nats. Measured:
    `loss`, and `accuracy`, the share of characters that get the largest probability.

    Args:
        vocabulary: how many characters there are; inputs of the data set are (n, length + 1) whole numbers below it,
            and labels are not read (static).
        width, heads, depth: of the transformer (static).
    References: Vaswani et al., NeurIPS 2017 (arXiv 1706.03762), with the normalisation before each layer.
    """
    module = Transformer(vocabulary, width, heads, depth)

    def logits(params, batch):
        text = batch.inputs.astype(jnp.int32)
        return module.apply({"params": params}, text[:, :-1]), text[:, 1:]

    def losses(params, constants, batch, key):
        predicted, following = logits(params, batch)
        return optax.softmax_cross_entropy_with_integer_labels(predicted, following).mean(axis=-1)

    def metrics(params, constants, batch):
        predicted, following = logits(params, batch)
        right = (predicted.argmax(axis=-1) == following).mean(axis=-1)
        return {"accuracy": right, "loss": losses(params, constants, batch, None)}

    def init(key, example):
        return module.init(key, example.inputs[:, :-1].astype(jnp.int32))["params"], ()

    return Task(init, losses, metrics)


SPEC = Spec(char_lm, source="Vaswani et al., NeurIPS 2017")
