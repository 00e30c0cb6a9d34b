"""Byzantine-robust distributed training as pure functions: rules, attacks, models, the engine and the grid.

Names are imported when they are first used, so that the command line answers slips and `--help` without JAX.
"""

if __name__ != "byzsim":
    raise ImportError("this folder is the source of the package byzsim: `pip install .` here, then `import byzsim`")

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byzsim import ops, testing
    from byzsim.aggregators import AGGREGATORS
    from byzsim.api import aggregate, forge, simulate
    from byzsim.attacks import ATTACKS
    from byzsim.grid import History
    from byzsim.kappa import Robustness, robustness
    from byzsim.models import MODELS, Model
    from byzsim.modifiers import MODIFIERS
    from byzsim.names import chain
    from byzsim.partitions import PARTITIONS, Partition
    from byzsim.preaggregators import PREAGGREGATORS
    from byzsim.registration import register
    from byzsim.run_config import RunConfig
    from byzsim.task import Data, Generated, Task, make_task
    from byzsim.tasks import TASKS
    from byzsim.types import Aggregator, Attack, Context, Info, Spec, Variant

HOMES = {
    "AGGREGATORS": "aggregators",
    "ATTACKS": "attacks",
    "MODELS": "models",
    "MODIFIERS": "modifiers",
    "Model": "models",
    "PARTITIONS": "partitions",
    "Partition": "partitions",
    "PREAGGREGATORS": "preaggregators",
    "Aggregator": "types",
    "Attack": "types",
    "RunConfig": "run_config",
    "History": "grid",
    "Data": "task",
    "Generated": "task",
    "Spec": "types",
    "TASKS": "tasks",
    "Task": "task",
    "Info": "types",
    "Robustness": "kappa",
    "Context": "types",
    "Variant": "types",
    "aggregate": "api",
    "forge": "api",
    "make_task": "task",
    "chain": "names",
    "ops": "",
    "register": "registration",
    "robustness": "kappa",
    "simulate": "api",
    "testing": "",
}
"""Each public name and its module; for a module that is public itself, nothing."""

__all__ = list(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'byzsim' has no attribute {name!r}")
    module = importlib.import_module(f"byzsim.{HOMES[name] or name}")
    value = getattr(module, name) if HOMES[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
