"""Tables and the runs that follow from them.

`table`: what a table is. `runs`: its positions, and the `RunConfig` at each. `settings`: what the command line changes
of it. `options`: NAME.OPTION=VALUE. `alphas`: fractions of workers. `published`: numbers of papers.
"""

from byzsim.experiments.plan import published
from byzsim.experiments.plan.runs import Planned, check, expand, runs
from byzsim.experiments.plan.settings import changed, override, settings, shortened
from byzsim.experiments.plan.table import (
    NO_LABELS,
    SEEDS,
    WORST,
    Axis,
    Claim,
    Label,
    Labels,
    Ours,
    Picture,
    Position,
    Published,
    Table,
    axis,
    label,
)
