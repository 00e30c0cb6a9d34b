"""Modifiers of attacks. To add one: a file here that ends in `ENTRY = Entry(...)`, and its name in this import list."""

from byzsim.modifiers import (
    burst,
)
from byzsim.types import Entry

MODIFIERS: dict[str, Entry] = {name: module.ENTRY for name, module in list(vars().items()) if hasattr(module, "ENTRY")}
