"""`byzsim diff`: compare two results folders run by run."""

import dataclasses
from pathlib import Path

import tyro
from byzsim.experiments import arguments, files, records
from byzsim.experiments.cli.output import log
from byzsim.experiments.records import diff


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diff:
    """Compare two results folders run by run."""

    a: tyro.conf.Positional[Path]
    """a results folder, or its runs.jsonl"""
    b: tyro.conf.Positional[Path]
    """the folder to compare with, or its runs.jsonl"""
    csv: Path | None = None
    """also write one row for each run to this file"""


def main(args: list[str]) -> int:
    """Compare two folders. Return 1 if they differ, as the program diff does."""
    options = arguments.parse_args(Diff, args, prog="byzsim diff")
    if options.csv:
        files.check_output(options.csv)
    further = tuple(dict.fromkeys([*records.further_fields(options.a), *records.further_fields(options.b)]))
    table = diff.compare(records.read_folder(options.a), records.read_folder(options.b), further)
    for line in diff.lines(table, further):
        log(line)
    if options.csv:
        files.write_output(options.csv, files.csv(table))
    return 0 if diff.same(table) else 1
