"""Modifiers of attacks. To add one: a file here that ends in `SPEC = Spec(...)`, and its name in this import list."""

from byzsim.modifiers import (
    burst,
)
from byzsim.types import Spec

MODIFIERS: dict[str, Spec] = {name: module.SPEC for name, module in list(vars().items()) if hasattr(module, "SPEC")}
"""The modifiers, which make an attack of an attack, as in "burst+alie": name -> `Spec`."""
