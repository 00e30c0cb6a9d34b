"""Preaggregators. To add one: a file here that ends in `SPEC = Spec(...)`, and its name in this import list."""

from byzsim.preaggregators import (
    arc,
    bucketing,
    clipping,
    median_clipping,
    nnm,
)
from byzsim.types import Spec

PREAGGREGATORS: dict[str, Spec] = {
    name: module.SPEC for name, module in list(vars().items()) if hasattr(module, "SPEC")
}
"""The preaggregators, which make a rule of a rule, as in "nnm+krum": name -> `Spec`."""
