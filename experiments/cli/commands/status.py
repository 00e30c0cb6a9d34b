"""`byzsim status`: list which runs are done, failed, stale or missing, and why; nothing is run."""

import dataclasses
import functools
from pathlib import Path

from byzsim.experiments import arguments, plugins, records
from byzsim.experiments.cli import options as table_options
from byzsim.experiments.cli import planned
from byzsim.experiments.cli.options import PartOptions
from byzsim.experiments.cli.output import log
from byzsim.experiments.datasets import fingerprint
from byzsim.experiments.plan.runs import further_fields
from byzsim.experiments.records import status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Status(PartOptions):
    """List which runs are done, failed, stale or missing, and why; run nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overview:
    """One line for each results folder."""

    results: Path = Path("results")
    """the folder that holds all results folders"""
    plugins: tuple[str, ...] = ()
    """files or modules with members of your own that the records name"""


def main(args: list[str]) -> None:
    """List the runs of a table with their states; without a table, one line for each results folder."""
    if not args or args[0].startswith("-"):
        given = arguments.parse_args(Overview, args, prog="byzsim status")
        plugins.load(given.plugins)
        for line in status.overview(given.results):
            log(line)
        return
    request = table_options.read("status", Status, args)
    found = records.read(request.folder / "runs.jsonl", log)
    data = functools.cache(lambda name: fingerprint(name, data_dir=request.options.data_dir, log=log))
    asked = [records.identity(config, name, data(name)) for name, config in planned.everything(request, found)]
    further = further_fields(request.table)
    title = f"{request.table.name} in {request.folder}"
    for line in status.lines(title, asked, found, status.read_failures(request.folder), further):
        log(line)
