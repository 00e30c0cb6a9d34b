"""`byzsim export`: the valid records of a results folder as CSV."""

import dataclasses
import sys
from pathlib import Path

import pandas as pd
import tyro
from byzsim.experiments import arguments, files, records


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """Write the valid records of a results folder as CSV, one row for each rule, attack, alpha and seed."""

    folder: tyro.conf.Positional[Path]
    """a results folder, or its runs.jsonl"""
    file: tyro.conf.Positional[Path | None] = None
    """the file to write, instead of the terminal"""


def main(args: list[str]) -> None:
    """Write the valid records as CSV."""
    options = arguments.parse_args(Export, args, prog="byzsim export")
    if options.file:
        files.check_output(options.file)
    found = records.valid(options.folder, lambda line: print(line, file=sys.stderr))
    table = files.csv(pd.DataFrame(found))
    if options.file:
        files.write_output(options.file, table)
    else:
        print(table, end="")
