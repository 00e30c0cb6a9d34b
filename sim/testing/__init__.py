"""Contracts that an author checks on members of their own; byzsim's own members are tested by the same functions.

    import byzsim
    byzsim.testing.check_rule(my_rule)       # a factory, a Spec, or the name under which it is registered

A check returns the promises that are kept, as {name: promise}, and raises `BrokenPromise` otherwise: an AssertionError
that names each broken promise, with an input that breaks it as numbers to paste. So it reads well in a notebook, and is
a test when it is called by one.
"""

from byzsim.testing._contract import BrokenPromise
from byzsim.testing.attacks import ATTACK_PROMISES, check_attack, forge
from byzsim.testing.partitions import PARTITION_PROMISES, check_partition
from byzsim.testing.rules import RULE_PROMISES, aggregate, check_rule
from byzsim.testing.tasks import TASK_PROMISES, check_task

__all__ = [
    "ATTACK_PROMISES",
    "PARTITION_PROMISES",
    "RULE_PROMISES",
    "TASK_PROMISES",
    "BrokenPromise",
    "aggregate",
    "check_attack",
    "check_partition",
    "check_rule",
    "check_task",
    "forge",
]
