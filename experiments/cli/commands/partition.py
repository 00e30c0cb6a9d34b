"""`byzsim partition`: how much each worker has of each class."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tyro
from byzsim.experiments import arguments, files, plugins
from byzsim.experiments.errors import UserError
from byzsim.experiments.partitioning import partition_table
from byzsim.experiments.plan.options import by_name, parse
from byzsim.experiments.report import plot


@dataclasses.dataclass(frozen=True, kw_only=True)
class Partition:
    """Print how many training examples of each class each worker has."""

    partition: tyro.conf.Positional[str] = "iid"
    """a name of `byzsim list`, such as dirichlet"""
    options: tuple[str, ...] = ()
    """its options: dirichlet.alpha=0.1"""
    data: str = "fashion_mnist"
    """data set"""
    m: int = 20
    """workers"""
    n_byz: int = 0
    """Byzantine workers, the first ones; they matter where --byzantine-data is none"""
    byzantine_data: Literal["own", "none"] = "own"
    """none: data are dealt to honest workers only, and each Byzantine worker sees the shard of one of them"""
    seed: int = 0
    """of the run, or its data_seed"""
    output: Path | None = None
    """also write the table (.csv) or the picture (.png, .svg, .pdf) to this file"""
    data_dir: Path | None = None
    """folder with the data set's original files"""
    plugins: tuple[str, ...] = ()
    """modules with your own partitions and data sets"""


def main(args: list[str]) -> None:
    """Print the table, and write it or its picture."""
    options = arguments.parse_args(Partition, args, prog="byzsim partition")
    if options.output:
        files.check_output(options.output)
        _check_kind(options.output)
    plugins.load(options.plugins)
    known = {field: getattr(options, field) for field in ("data", "m", "n_byz", "seed", "byzantine_data", "data_dir")}
    table = partition_table(options.partition, **known, **_options(options.partition, options.options))
    sizes, classes = table.sum(axis=1), (table > 0).sum(axis=1)
    print(table.assign(examples=sizes, classes=classes).to_string())
    if options.output:
        if options.output.suffix == ".csv":
            files.write_output(options.output, table.to_csv())
        else:
            plot.partition(table).savefig(options.output, dpi=200)


def _check_kind(path: Path) -> None:
    if path.suffix not in (".csv", ".png", ".svg", ".pdf"):
        raise UserError(f"--output {path}: expected a name that ends in .csv, .png, .svg or .pdf")


def _options(partition: str, texts: Sequence[str]) -> dict[str, Any]:
    """The options of the partition.

    Raises:
        UserError: for an option of another one, or several values of one option.
    """
    given = parse(texts)
    if several := [name for name, values in given.items() if len(values) > 1]:
        raise UserError(f"--options {several[0]} has several values; byzsim partition shows one partition")
    named = by_name({name: value for name, (value,) in given.items()})
    if others := sorted(named.keys() - {partition}):
        raise UserError(
            f"--options {others[0]}: the partition is {partition}; its options are {partition}.OPTION=VALUE"
        )
    return named.get(partition, {})
