"""Byzantine-robust distributed training as pure functions: rules, attacks, models, the engine and the grid."""

from sim.aggregators import AGGREGATORS
from sim.api import aggregate, simulate
from sim.attacks import ATTACKS
from sim.cell import Cell
from sim.engine import Data
from sim.grid import Curve
from sim.models import MODELS
from sim.types import Aggregator, Attack, Entry, Info, Round

__all__ = [
    "AGGREGATORS",
    "ATTACKS",
    "MODELS",
    "Aggregator",
    "Attack",
    "Cell",
    "Curve",
    "Data",
    "Entry",
    "Info",
    "Round",
    "aggregate",
    "simulate",
]
