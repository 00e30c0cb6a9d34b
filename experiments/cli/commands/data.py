"""`byzsim data`: load data sets into the cache and print their sources."""

import dataclasses
from pathlib import Path

import tyro
from byzsim.experiments import arguments
from byzsim.experiments.cli.output import log
from byzsim.experiments.datasets import DATASETS, describe
from byzsim.experiments.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """Load data sets into the cache and print their sources."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """data sets to load; default: all of them"""
    data_dir: Path | None = None
    """folder with the original files"""


def main(args: list[str]) -> None:
    """Load data sets and print their sources."""
    options = arguments.parse_args(Data, args, prog="byzsim data")
    names, failed = arguments.split(options.names), []
    for name in names or DATASETS:
        try:
            print(describe(name, data_dir=options.data_dir, log=log))
        except UserError as error:
            if len(names) == 1:
                raise
            failed.append(str(error))
    if failed:
        raise UserError("\n".join(failed))
