"""From a name to its zoo, to its reference loop, and to a program that is cheap to compile."""

import functools
import importlib

import jax
from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PREAGGREGATORS, grid
from byzsim.options import options as checked_options

ZOOS = {"aggregators": AGGREGATORS, "attacks": ATTACKS, "preaggregators": PREAGGREGATORS, "modifiers": MODIFIERS}


def of(kind):
    return ZOOS[kind]


def reference(kind, name):
    """The module with the member's float64 loop."""
    return importlib.import_module(f"reference.{kind}.{name}")


AS_USERS: dict = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
if jax.__version_info__ < (0, 11):
    AS_USERS["xla_cpu_use_fusion_emitters"] = True
as_users_do = functools.partial(jax.jit, compiler_options=AS_USERS)
"""`jax.jit` without the flags of `conftest`. What is shipped, the defaults of each member, is compiled with it too."""


def called(kind, name, options):
    """(factory with its static options, the traced ones), as in a run: option sets with equal static parts are one
    program."""
    spec = of(kind)[name]
    return grid.call(spec.factory, checked_options(name, spec, options))


def known_answers(kind):
    """(name, known answer, whether it goes through JAX too) of every member of a zoo.

    All are compared with the float64 loop, and JAX with the loop for each of the member's OPTIONS; so through JAX goes
    one answer of each member, and what has other options.
    """
    for name in of(kind):
        module = reference(kind, name)
        for i, golden in enumerate(getattr(module, "GOLDEN", [])):
            yield name, golden, i == 0 or golden["options"] not in module.OPTIONS
