"""Attacks. To add one: a file here that ends in `ENTRY = Entry(...)`, and its name in this import list."""

from sim.attacks import (
    alie,
    byzmean,
    delayed_gradient,
    fang_krum,
    fang_trim,
    gaussian,
    hidden_vulnerability,
    inner_product,
    label_flip,
    learned,
    negation,
    none,
    rop,
    safeguard_attack,
    scaling,
)
from sim.types import Entry

ATTACKS: dict[str, Entry] = {name: module.ENTRY for name, module in list(vars().items()) if hasattr(module, "ENTRY")}
