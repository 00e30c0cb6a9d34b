"""Pre-rules. To add one: a file here that ends in `ENTRY = Entry(...)`, and its name in this import list."""

from byzsim.pre_rules import (
    arc,
    bucketing,
    clipping,
    nnm,
)
from byzsim.types import Entry

PRE_RULES: dict[str, Entry] = {name: module.ENTRY for name, module in list(vars().items()) if hasattr(module, "ENTRY")}
