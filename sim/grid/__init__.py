"""Many runs with one compiled program: distributed over devices, on each device one at a time or several under vmap.

`planning`: groups runs by the program that they share; `programs`: compiles the start and the epoch; `placement`: moves
arrays to devices and back, also with several processes; `running`: trains batches of runs epoch by epoch; `memory`:
computes how many runs fit on a device; `snapshots`: a run's state, from which it can be resumed; `history`: a run's
measurements.
"""

from byzsim.engine import DynamicConfig
from byzsim.grid.history import History
from byzsim.grid.memory import largest_fitting, planned_runs_per_device
from byzsim.grid.placement import replicate
from byzsim.grid.planning import Call, Group, Run, Source, call, grouped, plan, resolve, source_of, task_call
from byzsim.grid.running import run
from byzsim.grid.snapshots import Snapshot, snapshot_spec

__all__ = [
    "Call",
    "DynamicConfig",
    "Group",
    "History",
    "Run",
    "Snapshot",
    "Source",
    "call",
    "grouped",
    "largest_fitting",
    "plan",
    "planned_runs_per_device",
    "replicate",
    "resolve",
    "run",
    "snapshot_spec",
    "source_of",
    "task_call",
]
