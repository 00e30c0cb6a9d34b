"""One run's training as pure functions: `start`, and `epoch`, which does all steps up to the next measurement.

    batches -> labels (attack) -> what workers compute (m, d) -> worker momentum -> forged rows (attack)
            -> aggregate (d,) -> server optimizer

Everything of a run that can be an array is in `DynamicConfig`, so one compiled program serves every run that differs
only there; what shapes the program is in `StaticConfig`. `start` and `epoch` consist of parts that a grid compiles by
themselves: all but the steps, and the states of rule and attack, are the same for every rule and attack.

`configs`: both, and random streams; `batches`: who computes on which examples; `workers`: losses, gradients, local
steps; `measures`: what is measured; `steps`: all of it together; `repetitions`: the
same run with several seeds at once.
"""

from byzsim.engine.configs import NUMERICS, DynamicConfig, Local, StaticConfig, Stream
from byzsim.engine.measures import EpochMetrics, StepMetrics, Trace
from byzsim.engine.repetitions import (
    epoch,
    measure,
    order,
    start,
    start_of_members,
    start_without_members,
    train_steps,
)
from byzsim.engine.steps import TrainState, step
from byzsim.task import Data

__all__ = [
    "NUMERICS",
    "Data",
    "DynamicConfig",
    "EpochMetrics",
    "Local",
    "StaticConfig",
    "StepMetrics",
    "Stream",
    "Trace",
    "TrainState",
    "epoch",
    "measure",
    "order",
    "start",
    "start_of_members",
    "start_without_members",
    "step",
    "train_steps",
]
