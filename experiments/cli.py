"""The command `byzsim`: run a table, report it, list what there is, get the data."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console

from experiments import harm, records, report, runner, zoo
from experiments.config import Config, Table, cells
from experiments.datasets import DATASETS, describe
from experiments.errors import UserError, unknown
from experiments.tables import TABLES
from sim import AGGREGATORS, ATTACKS, MODELS, MODIFIERS, PRE_RULES

USAGE = """\
byzsim: Byzantine-robust distributed training, and the papers' tables.

  byzsim run TABLE [options]      run what has no record yet, then report; stop and start again at will
  byzsim report TABLE [options]   make the table and the figures from the records
  byzsim list                     rules, attacks, models, data sets and tables, with their sources
  byzsim zoo [options]            measure every rule: kappa found by attacks, what becomes of NaN; all sources
  byzsim definitions [FILE]       names that stand for several definitions, side by side
  byzsim bench [--quick]          speed of ours and of the peers, in one run on this machine
  byzsim data [NAME ...]          get data sets into the cache and say where they come from

  byzsim run TABLE --help         everything that can be changed about a table

A first look, without any network:    byzsim run smoke
One cell of a table, one epoch:       byzsim run brsgd_table1 --only rule=krum,attack=gaussian --epochs 1

Results go to results/TABLE. A run with overrides goes to a folder of its own, results/TABLE+what=value, so it never
mixes with the table's own results; more seeds, and parts of the table (--only), do go to results/TABLE.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Where:
    """Which cells, and where things lie."""

    config: Annotated[Config, tyro.conf.OmitArgPrefixes]
    quick: bool = False
    """walk the whole path with little training, in a folder of its own, marked as quick everywhere"""
    results: Path = Path("results")
    """folder of all results"""


Given = TypeVar("Given", bound=Where)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Where):
    """Run every cell that has no record yet, then report."""

    only: tuple[str, ...] = ()
    """part of the table: KEY=VALUE with the keys rule, attack, alpha, seed; several of one key are alternatives"""
    data_dir: Path | None = None
    """folder with the data set's original files"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(Where):
    """Make the table and the figures from the records."""

    inject: Path | None = None
    """also put the table into this file, between its marks <!-- TABLE:NAME --> and <!-- /TABLE -->"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """Get data sets into the cache and say where they come from."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """which; none: all of them"""
    data_dir: Path | None = None
    """folder with the original files"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Zoo(zoo.Size):
    """Measure every aggregation rule, and list all members with their sources."""

    results: Path = Path("results")
    """folder of all results"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definitions:
    """Names that stand for several definitions, side by side."""

    file: tyro.conf.Positional[Path | None] = None
    """write the page here instead of printing it"""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 2 for what the user can mend, 130 for Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        _command(args)
    except UserError as error:
        Console(stderr=True).print(f"byzsim: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Finished cells are recorded; the same command goes on with the rest.", file=sys.stderr)
        return 130
    return 0


def _command(args: list[str]) -> None:
    commands = {
        "run": _run,
        "report": _report,
        "list": _list,
        "zoo": _zoo,
        "definitions": _definitions,
        "bench": _bench,
        "data": _data,
    }
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE)
        return
    name, *rest = args
    if name not in commands:
        raise unknown("command", name, commands)
    commands[name](rest)


def _run(args: list[str]) -> None:
    table, given = _given("run", Run, args)
    runner.use_all_cores()
    folder = _folder(table, given)
    runner.run(table, given.config, folder, only=given.only, quick=given.quick, data_dir=given.data_dir, say=_say)
    _write(table, given, folder)


def _report(args: list[str]) -> None:
    table, given = _given("report", Report, args)
    folder = _folder(table, given)
    if not (folder / "runs.jsonl").exists():
        raise UserError(f"no records in {folder}: run `byzsim run {table.name}` first, with the same options")
    text = _write(table, given, folder)
    if given.inject:
        try:
            report.write_whole(given.inject, report.inject(given.inject.read_text(), table.name, text).encode())
        except OSError as error:
            raise UserError(f"cannot put the table into {given.inject}: {error.strerror}") from None


def _write(table: Table, given: Where, folder: Path) -> str:
    """All of the report's files, and the table on the terminal."""
    config = given.config
    found = records.matching(records.read(folder / "runs.jsonl", _say), cells(config), config.data)
    common: dict[str, Any] = {
        "rules": config.rules,
        "attacks": config.attacks,
        "alphas": config.alphas,
        "published": table.paper(),
        "verdict": table.verdict,
    }
    text = report.build(
        title=table.title,
        source=table.source,
        records=found,
        folder=folder,
        quick=given.quick,
        labels=table.labels,
        swap=table.swap,
        **common,
    )
    report.print_table(report.summarise(found, **common), Console(), quick=given.quick, labels=table.labels)
    _say(f"written: {folder}/README.md, table.md, table.csv, table.tex, figures as .png and .svg")
    return text


def _given(command: str, kind: type[Given], args: list[str]) -> tuple[Table, Given]:
    """The table named first, and its options, with the table's own config (or its quick one) as defaults."""
    if not args or args[0].startswith("-"):
        raise UserError(f"which table? byzsim {command} TABLE, with TABLE one of {', '.join(TABLES)}")
    if args[0] not in TABLES:
        raise unknown("table", args[0], TABLES)
    table = TABLES[args[0]]
    default = kind(config=_base(table, "--quick" in args))
    return table, tyro.cli(kind, args=args[1:], default=default, prog=f"byzsim {command} {table.name}")


def _base(table: Table, quick: bool) -> Config:
    return dataclasses.replace(table.config, **table.quick) if quick else table.config


def _folder(table: Table, given: Where) -> Path:
    """results/TABLE, with what was changed about the table behind its name; more seeds change nothing about it."""
    base = _base(table, given.quick)
    changed = ["quick"] if given.quick else []
    for field in dataclasses.fields(Config):
        value = getattr(given.config, field.name)
        if field.name != "seeds" and value != getattr(base, field.name):
            text = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
            changed.append(f"{field.name}={text}".replace("/", "_"))
    return given.results / "+".join([table.name, *changed])


def _list(args: list[str]) -> None:
    if args:
        raise UserError(f"byzsim list takes nothing, got {' '.join(args)}")
    zoos = {
        "aggregation rules": AGGREGATORS,
        "pre-rules, as in nnm+krum": PRE_RULES,
        "attacks": ATTACKS,
        "modifiers of attacks, as in burst+alie": MODIFIERS,
        "models": MODELS,
        "data sets": DATASETS,
    }
    rows = {kind: [(name, e.summary, e.source) for name, e in zoo.items()] for kind, zoo in zoos.items()}
    rows["tables"] = [(name, table.title, table.source) for name, table in TABLES.items()]
    for kind, members in rows.items():
        print(kind)
        for name, summary, source in members:
            print(f"  {name:<27}{summary.rstrip('.')}  [{source}]")


def _zoo(args: list[str]) -> None:
    given = tyro.cli(Zoo, args=args, prog="byzsim zoo")
    if not (given.m >= 3 and 1 <= given.f <= (given.m - 1) // 2 and given.d >= 1):
        raise UserError(f"m={given.m}, f={given.f}, d={given.d}: expected 1 <= f <= (m - 1) // 2 and d >= 1")
    facts = zoo.measure(given, _say)
    zoo.write(facts, given, given.results / "rules")
    print(facts.drop(columns=["traits", "found by"]).fillna("").to_string(index=False))
    harm.write(harm.compare(given, _say), given, given.results / "rules")
    _say(f"written: {given.results / 'rules'}/README.md, rules.csv, learned.md, .csv, .png, .svg")


def _definitions(args: list[str]) -> None:
    given = tyro.cli(Definitions, args=args, prog="byzsim definitions")
    page = zoo.definitions()
    if given.file is None:
        print(page)
        return
    try:
        report.write_whole(given.file, page.encode())
    except OSError as error:
        raise UserError(f"cannot write {given.file}: {error.strerror}") from None


def _bench(args: list[str]) -> None:
    from experiments import bench  # only here: other commands need none of it

    bench.run(tyro.cli(bench.Options, args=args, prog="byzsim bench"), _say)


def _data(args: list[str]) -> None:
    given = tyro.cli(Data, args=args, prog="byzsim data")
    failed = []
    for name in given.names or tuple(DATASETS):
        try:
            print(describe(name, data_dir=given.data_dir, say=_say))
        except UserError as error:
            if len(given.names) == 1:
                raise
            failed.append(str(error))
    if failed:
        raise UserError("\n".join(failed))


def _say(line: str) -> None:
    print(line, flush=True)
