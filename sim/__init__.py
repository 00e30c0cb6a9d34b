"""Byzantine-robust distributed training as pure functions: rules, attacks, models, the engine and the grid.

Names are imported when they are first used. So the command line shows `--help` and most error messages without the
time to import JAX.
"""

if __name__ != "byzsim":
    raise ImportError(
        "this folder has the source of the package byzsim: run `pip install .` here, then `import byzsim`"
    )

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byzsim import ops, testing
    from byzsim.aggregators import AGGREGATORS
    from byzsim.api import aggregate, forge, simulate
    from byzsim.attacks import ATTACKS
    from byzsim.factories import *
    from byzsim.grid import History
    from byzsim.kappa import Robustness, robustness
    from byzsim.models import MODELS, Model
    from byzsim.modifiers import MODIFIERS
    from byzsim.names import chain
    from byzsim.oneshot import init_state
    from byzsim.optax_adapter import as_optax
    from byzsim.partitions import PARTITIONS, Partition
    from byzsim.pmean import Reduced, robust_pmean
    from byzsim.preaggregators import PREAGGREGATORS
    from byzsim.registration import register
    from byzsim.run_config import RunConfig
    from byzsim.task import Data, Generated, Task, make_task
    from byzsim.tasks import TASKS
    from byzsim.types import Aggregator, Attack, Context, Info, Spec, Variant

HOMES = {
    "AGGREGATORS": "aggregators",
    "ATTACKS": "attacks",
    "Aggregator": "types",
    "Attack": "types",
    "Context": "types",
    "Data": "task",
    "Generated": "task",
    "History": "grid",
    "Info": "types",
    "MODELS": "models",
    "MODIFIERS": "modifiers",
    "Model": "models",
    "PARTITIONS": "partitions",
    "PREAGGREGATORS": "preaggregators",
    "Partition": "partitions",
    "Reduced": "pmean",
    "Robustness": "kappa",
    "RunConfig": "run_config",
    "Spec": "types",
    "TASKS": "tasks",
    "Task": "task",
    "Variant": "types",
    "aggregate": "api",
    "as_optax": "optax_adapter",
    "chain": "names",
    "forge": "api",
    "init_state": "oneshot",
    "make_task": "task",
    "ops": "",
    "register": "registration",
    "robust_pmean": "pmean",
    "robustness": "kappa",
    "simulate": "api",
    "testing": "",
}
"""{public name: its module}; the text is empty if the name is itself a module."""

FACTORIES = {
    each.name: f"{kind}.{each.name}"
    for kind in ("aggregators", "attacks", "modifiers", "preaggregators")
    for each in pkgutil.iter_modules([f"{__path__[0]}/{kind}"])
    if not each.name.startswith("_")
}
"""{factory of a rule, attack, modifier or preaggregator: its module}; they are public too, as `byzsim.krum`"""

__all__ = list(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES and name not in FACTORIES:
        raise AttributeError(f"module 'byzsim' has no attribute {name!r}")
    home = HOMES.get(name, FACTORIES.get(name))
    module = importlib.import_module(f"byzsim.{home or name}")
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *FACTORIES]
