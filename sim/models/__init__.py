"""Models. To add one: a file here that ends in `SPEC = Spec(...)`, and its name in this import list.

A model's factory takes `n_classes` (the number of outputs) and its own keyword-only options, and makes a Flax linen
module, a function nnx.Rngs -> NNX module, or an object with init and apply; see `Model`. Ours map images (n, h, w) or
(n, h, w, c), uint8 from 0 to 255, to logits (n, n_classes); inputs with a decimal point are taken as they are.
Of a linen module's collections `params` is trained; others stay as `init` makes them.
"""

from byzsim.models import lenet, mlp, resnet20, softmax
from byzsim.models._model import Model, as_model
from byzsim.types import Spec

__all__ = ["MODELS", "Model", "as_model"]

MODELS: dict[str, Spec] = {name: module.SPEC for name, module in list(vars().items()) if hasattr(module, "SPEC")}
"""The models: name -> `Spec`."""
