"""Many cells through one compiled program: spread over devices, on each one at a time, or several under vmap.

`planning`: which cells share a program, and what varies between them; `programs`: the compiled start and epoch;
`placement`: arrays on devices and processes; `running`: batches of cells, epoch after epoch; `memory`: how many cells
fit on a device; `snapshots`: a run's state to go on from; `history`: its measurements as a curve.
"""

from byzsim.engine import Knobs
from byzsim.grid.history import Curve
from byzsim.grid.memory import chunk_within, largest_fitting
from byzsim.grid.placement import everywhere
from byzsim.grid.planning import Call, Group, call, plan
from byzsim.grid.running import run
from byzsim.grid.snapshots import Snapshot, template

__all__ = [
    "Call",
    "Curve",
    "Group",
    "Knobs",
    "Snapshot",
    "call",
    "chunk_within",
    "everywhere",
    "largest_fitting",
    "plan",
    "run",
    "template",
]
