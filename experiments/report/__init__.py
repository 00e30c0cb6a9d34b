"""Records as tables and pictures.

`summary`: one row a cell. `text`, `latex`, `figures`: the summary as printed. `page`: all files of a report.
`settings`: title, published numbers and labels, as they follow from what was changed about a table.
"""

from byzsim.experiments.report.page import build, inject
from byzsim.experiments.report.summary import provenance, summarise
from byzsim.experiments.report.text import NEVER, accuracy_text, grid, print_table
