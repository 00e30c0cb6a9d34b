"""Byzantine-robust distributed training as pure functions: rules, attacks, models, the engine and the grid."""

from sim import ops
from sim.aggregators import AGGREGATORS
from sim.api import aggregate, attack, simulate
from sim.attacks import ATTACKS
from sim.cell import Cell
from sim.engine import Data
from sim.grid import Curve
from sim.models import MODELS
from sim.modifiers import MODIFIERS
from sim.names import chain
from sim.pre_rules import PRE_RULES
from sim.register import register
from sim.robustness import Robustness, robustness
from sim.types import Aggregator, Attack, Entry, Info, Round

__all__ = [
    "AGGREGATORS",
    "ATTACKS",
    "MODELS",
    "MODIFIERS",
    "PRE_RULES",
    "Aggregator",
    "Attack",
    "Cell",
    "Curve",
    "Data",
    "Entry",
    "Info",
    "Robustness",
    "Round",
    "aggregate",
    "attack",
    "chain",
    "ops",
    "register",
    "robustness",
    "simulate",
]
