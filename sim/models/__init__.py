"""Models (Flax). To add one: a file here that ends in `SPEC = Spec(...)`, and its name in this import list.

A model's factory takes `n_classes` and its own keyword-only options. The module maps images (n, h, w) or (n, h, w, c),
uint8 from 0 to 255, to logits (n, n_classes). Only the collection `params` is trained; other variables stay as `init`
makes them.
"""

from byzsim.models import lenet, mlp, resnet20, softmax
from byzsim.types import Spec

MODELS: dict[str, Spec] = {name: module.SPEC for name, module in list(vars().items()) if hasattr(module, "SPEC")}
