"""Records as tables and figures.

`summary`: one row for each cell. `text`, `latex`, `figures`: the summary as printed. `page`: all files of a report.
`settings`: title and labels, as they follow from the changed settings of a table. `choice`: the best setting of an
axis.
"""

from byzsim.experiments.report.page import build, excerpt, inject
from byzsim.experiments.report.summary import provenance, summarise
from byzsim.experiments.report.text import NEVER, Wording, ours_text, print_table, printed_grids
