"""From a name to its zoo and to its reference loop."""

import importlib

from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PRE_RULES

ZOOS = {"aggregators": AGGREGATORS, "attacks": ATTACKS, "pre_rules": PRE_RULES, "modifiers": MODIFIERS}


def of(kind):
    return ZOOS[kind]


def reference(kind, name):
    """The module with the member's float64 loop."""
    return importlib.import_module(f"reference.{kind}.{name}")
