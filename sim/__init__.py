"""Byzantine-robust distributed training as pure functions: rules, attacks, models, the engine and the grid.

Names are imported when they are first used. So the command line shows `--help` and most error messages without the
time to import JAX.
"""

if __name__ != "byzsim":
    raise ImportError(
        "this folder has the source of the package byzsim: run `pip install .` here, then `import byzsim`"
    )

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byzsim import ops
    from byzsim.aggregators import AGGREGATORS
    from byzsim.api import aggregate, forge, simulate
    from byzsim.attacks import ATTACKS
    from byzsim.engine import Data
    from byzsim.grid import History
    from byzsim.kappa import Robustness, robustness
    from byzsim.models import MODELS
    from byzsim.modifiers import MODIFIERS
    from byzsim.names import chain
    from byzsim.preaggregators import PREAGGREGATORS
    from byzsim.registration import register
    from byzsim.run_config import RunConfig
    from byzsim.types import Aggregator, Attack, Context, Info, Spec, Variant

HOMES = {
    "AGGREGATORS": "aggregators",
    "ATTACKS": "attacks",
    "Aggregator": "types",
    "Attack": "types",
    "Context": "types",
    "Data": "engine",
    "History": "grid",
    "Info": "types",
    "MODELS": "models",
    "MODIFIERS": "modifiers",
    "PREAGGREGATORS": "preaggregators",
    "Robustness": "kappa",
    "RunConfig": "run_config",
    "Spec": "types",
    "Variant": "types",
    "aggregate": "api",
    "chain": "names",
    "forge": "api",
    "ops": "",
    "register": "registration",
    "robustness": "kappa",
    "simulate": "api",
}
"""{public name: its module}; the text is empty if the name is itself a module."""

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
