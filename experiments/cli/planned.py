"""The runs that a command is asked for: of a table that chooses, first those by which it chooses."""

from collections.abc import Sequence
from typing import Any

from byzsim import RunConfig
from byzsim.experiments import records
from byzsim.experiments.cli.options import Request
from byzsim.experiments.plan import runs
from byzsim.experiments.report import choice

Runs = list[tuple[str, RunConfig]]


def held_out(request: Request[Any]) -> Runs:
    """The runs by which a table chooses, on held-out examples; none for a table that does not choose."""
    return runs(request.table.validation(), _only(request)) if request.table.choose else []


def main(request: Request[Any], found: Sequence[records.Record]) -> Runs:
    """The runs of the table itself; of a table that chooses, those whose setting is chosen by the records."""
    table = request.table
    return runs(table, _only(request), choice.choose(table, found) if table.choose else None)


def every_part(request: Request[Any], found: Sequence[records.Record]) -> Runs:
    """All runs of the whole table that are known so far, whatever --only says."""
    table = request.table
    if not table.choose:
        return runs(table)
    return runs(table.validation()) + runs(table, chosen=choice.choose(table, found))


def everything(request: Request[Any], found: Sequence[records.Record]) -> Runs:
    """All runs that are asked for, as far as they are known."""
    return held_out(request) + main(request, found)


def _only(request: Request[Any]) -> Sequence[str]:
    return getattr(request.options, "only", ())
