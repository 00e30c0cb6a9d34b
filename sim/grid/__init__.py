"""Many runs through one compiled program: spread over devices, on each one at a time, or several under vmap.

`planning`: which runs share a program, and what varies between them; `programs`: the compiled start and epoch;
`placement`: arrays on devices and processes; `running`: batches of runs, epoch after epoch; `memory`: how many runs
fit on a device; `snapshots`: a run's state to go on from; `history`: its measurements as a curve.
"""

from byzsim.engine import DynamicConfig
from byzsim.grid.history import History
from byzsim.grid.memory import largest_fitting, planned_runs_per_device
from byzsim.grid.placement import replicate
from byzsim.grid.planning import Call, Group, call, plan
from byzsim.grid.running import run
from byzsim.grid.snapshots import Snapshot, snapshot_spec

__all__ = [
    "Call",
    "DynamicConfig",
    "Group",
    "History",
    "Snapshot",
    "call",
    "largest_fitting",
    "plan",
    "planned_runs_per_device",
    "replicate",
    "run",
    "snapshot_spec",
]
